"""What people see: messages and progress on standard error, so that standard output is the result alone."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from billing.meter import RefusedLine as MeterRefused
from rtmeter.emit import RefusedLine as EmitRefused

console = Console(stderr=True, highlight=False, soft_wrap=True)

_SHOWN_REFUSALS = 1000


def say(text: str) -> None:
    console.print(text, markup=False)


def progress_bar() -> Progress:
    """A bar with counts, shown while it runs where there is a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=not console.is_terminal,
        disable=not console.is_terminal,
    )


def write_result(pieces: Iterable[bytes], output: Path | None) -> None:
    """The bytes of a result, to a file (whole or not at all) or to standard output."""
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(output.name + ".part")
    with unfinished.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    unfinished.replace(output)


def list_refused(refused: list[EmitRefused] | list[MeterRefused]) -> None:
    """Each refused line with where it stands and why."""
    for entry in refused[:_SHOWN_REFUSALS]:
        if isinstance(entry, EmitRefused):
            say(f"{entry.line.file} line {entry.line.number}: {entry.refusal.reason}: {entry.refusal.detail}")
        else:
            say(f"line {entry.number}: {entry.reason}: {entry.detail}")
    if len(refused) > _SHOWN_REFUSALS:
        say(f"... and {len(refused) - _SHOWN_REFUSALS} more")
