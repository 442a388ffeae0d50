"""One run of one side: fill its topics, start it, watch it to its end, check what it wrote.

The side's progress is the number of records in its output topic, looked at ten times a second together with its
processor time. The clock runs from the first look that finds any output to the first that finds all of it, and
counts the events of that stretch: the share of the output that was written in it. So neither start-up nor the
wait for a last commit is in it, whoever is measured. The whole run, from the process's start until its group's
offsets are at the end, is given beside it.
"""

import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.broker import Record, RunTopics, read_to_end
from bench.process_usage import usage
from bench.reference import Held, Timelines, WrongResult, check
from bench.sides import Side, environment

_LOOK_SECONDS = 0.1
_LOOKS_PER_COMMIT_LOOK = 5
_STALLED_SECONDS = 90.0
_SETTLED_SECONDS = 0.5
_STOP_SECONDS = 20.0
_SHOWN_LOG_BYTES = 4000


class RunFailed(Exception):
    """A side ended, stood still, or wrote something wrong: nothing of the run counts."""


class Look(Struct, frozen=True):
    """What a side had done at one time. `seconds` since its start; `output`: records in its output topic."""

    seconds: float
    output: int
    cpu_seconds: float
    peak_bytes: int


class Run(Struct, frozen=True):
    """What one run took. The two measures of the stretch are None where all output came between two looks."""

    side: str
    events: int
    counted_events: int
    counted_seconds: float
    counted_cpu_seconds: float
    start_up_seconds: float
    whole_seconds: float
    whole_cpu_seconds: float
    peak_bytes: int

    @property
    def events_per_second(self) -> float | None:
        return self.counted_events / self.counted_seconds if self.counted_events else None

    @property
    def cpu_seconds_per_million(self) -> float | None:
        return 1e6 * self.counted_cpu_seconds / self.counted_events if self.counted_events else None

    @property
    def whole_events_per_second(self) -> float:
        return self.events / self.whole_seconds


def run_side(side: Side, bootstrap: str, events: Sequence[Record], expected: Timelines, folder: Path) -> Run:
    """One run over `events`, correct to the last interval; RunFailed otherwise."""
    topics = RunTopics(bootstrap, f"bench-{uuid.uuid4().hex[:8]}-")
    topics.create()
    try:
        topics.fill(events)
        with tempfile.TemporaryDirectory(dir=folder) as working_folder:
            looks, all_committed = _watch(side, topics, Path(working_folder))
        try:
            check(expected, _output(side, topics))
        except WrongResult as wrong:
            raise RunFailed(f"{side.title}: {wrong}") from wrong
    finally:
        topics.delete()
    return measure(side.name, len(events), looks, all_committed)


def measure(side: str, events: int, looks: Sequence[Look], all_committed: Look) -> Run:
    """What a run took, from all looks at it and the one that found its group's offsets at the end."""
    written = looks[-1].output
    first_output = next(look for look in looks if look.output > 0)
    all_output = next(look for look in looks if look.output == written)
    return Run(
        side,
        events,
        round(events * (1 - first_output.output / written)),
        all_output.seconds - first_output.seconds,
        all_output.cpu_seconds - first_output.cpu_seconds,
        first_output.seconds,
        all_committed.seconds,
        all_committed.cpu_seconds,
        looks[-1].peak_bytes,
    )


def _watch(side: Side, topics: RunTopics, folder: Path) -> tuple[list[Look], Look]:
    """Start the side and stop it when everything is committed and no more output comes.

    All looks at it, and the one that found its group's offsets at the end.
    """
    group, output = topics.prefix + side.group, topics.names.entitlements
    ends = topics.ends(topics.names.package_assignments)
    looks: list[Look] = []
    committed: list[int] = []
    all_committed: Look | None = None
    with _process(side, topics, folder) as process:
        started = moved = time.monotonic()
        while True:
            spent = usage(process.pid)
            look = Look(time.monotonic() - started, sum(topics.ends(output)), spent.cpu_seconds, spent.peak_bytes)
            if process.poll() is not None:
                raise RunFailed(f"{side.title} ended with code {process.returncode}:\n{_log_end(folder)}")
            if looks and look.output > looks[-1].output:
                moved = time.monotonic()
            looks.append(look)
            if all_committed is None and len(looks) % _LOOKS_PER_COMMIT_LOOK == 0:
                before, committed = committed, topics.committed(group)
                if committed != before:
                    moved = time.monotonic()
                if committed == ends:
                    all_committed = look
            quiet_seconds = time.monotonic() - moved
            if all_committed is not None and quiet_seconds > _SETTLED_SECONDS:
                return looks, all_committed
            if quiet_seconds > _STALLED_SECONDS:
                raise RunFailed(
                    f"{side.title} stood still at {sum(committed)} of {sum(ends)} events, "
                    f"{look.output} records written:\n{_log_end(folder)}"
                )
            time.sleep(_LOOK_SECONDS)


@contextmanager
def _process(side: Side, topics: RunTopics, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The side's process, stopped at the end: asked first, then killed."""
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            side.command(topics.bootstrap, topics.prefix),
            cwd=folder,
            env=environment(topics.bootstrap, topics.prefix),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _log_end(folder: Path) -> str:
    return (folder / "log.txt").read_bytes()[-_SHOWN_LOG_BYTES:].decode(errors="replace")


def _output(side: Side, topics: RunTopics) -> dict[str, tuple[Held, ...]]:
    """The last timeline of each subscriber in the output."""
    last: dict[bytes, bytes] = {}
    for messages in read_to_end(topics.bootstrap, topics.names.entitlements):
        for message in messages:
            key, value = message.key(), message.value()
            if key is not None and value is not None:
                last[key] = value  # type: ignore[index, assignment]
    return dict(entry for key, value in last.items() if (entry := side.read_output(key, value)) is not None)
