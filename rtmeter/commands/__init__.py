"""The commands, a file for each use: options in, one call, what happened on standard error, an exit code."""
