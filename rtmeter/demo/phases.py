"""What the demo is doing: a line a phase, with a bar where there is a terminal."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.progress import TaskID

from rtmeter.output import console, progress_bar, say


class Phase:
    """One phase under way. On a terminal its counts are a bar; elsewhere nobody would want them."""

    def __init__(self, phases: "Phases", task: TaskID) -> None:
        self._phases = phases
        self._task = task

    def show(self, done: int, total: int) -> None:
        self._phases.bar.update(self._task, completed=done, total=total)


class Phases:
    """Phases, one after the other, on standard error, and how long each took."""

    def __init__(self) -> None:
        self.bar = progress_bar()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Time a phase; its line says so when it is over."""
        if not console.is_terminal:
            say(f"{name} ...")
        task = self.bar.add_task(name, total=None)
        started = time.monotonic()
        try:
            yield Phase(self, task)
        finally:
            seconds = self.seconds[name] = time.monotonic() - started
            self.bar.update(task, visible=False)
        say(f"{name}: {seconds:.1f} s" if console.is_terminal else f"... {seconds:.1f} s")
