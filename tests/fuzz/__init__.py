"""Byte strings that nobody would send, a million of them, through the decoder: `python -m tests.fuzz`, or `make fuzz`."""
