"""Whether the tables say what the raw events say, and add up: every check, its counts, and a record of each run."""
