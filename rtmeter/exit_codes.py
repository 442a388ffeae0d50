"""What a command's end says, the same for all commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """`REFUSALS`: done, but something was refused or differs, and was said."""

    DONE = 0
    REFUSALS = 1
    USAGE = 2
    FAILED = 3
