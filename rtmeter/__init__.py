"""The command line, and the embedded pipeline that it runs."""
