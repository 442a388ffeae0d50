"""The life of a report: asked for, made by a job, kept as a file, deleted."""
