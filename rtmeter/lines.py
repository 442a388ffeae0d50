"""Lines of event files: JSON Lines, `-` for standard input."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line without its line end; `number` counts from 1."""

    file: str
    number: int
    value: bytes


def read_lines(files: Iterable[Path]) -> Iterator[FileLine]:
    """The lines of the files in order; empty lines are no records and are left out. OSError if a file is not there."""
    for file in files:
        stream = sys.stdin.buffer if file == STDIN else file.open("rb")
        try:
            for number, line in enumerate(stream, start=1):
                value = line.removesuffix(b"\n").removesuffix(b"\r")
                if value:
                    yield FileLine("standard input" if file == STDIN else str(file), number, value)
        finally:
            if stream is not sys.stdin.buffer:
                stream.close()
