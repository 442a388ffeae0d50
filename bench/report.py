"""What the benchmark found, as a value (written as JSON) and as tables."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.limits import Limit
from bench.measured import Measured
from bench.race import Run
from bench.sides import ROOT
from bench.state import Memory, Restored

_MOST_BYTES_PER_SUBSCRIBER = 600
# Below, what a process needs once is a large part of what each subscriber seems to need.
_FEWEST_SUBSCRIBERS_TO_JUDGE = 300_000
_MIB = 1024 * 1024


class Machine(Struct, frozen=True):
    """Where it ran. `load`: processes that wanted a processor before it began, over a minute; high is noise."""

    processor: str
    cores: int
    python: str
    load: float
    commit: str
    at: str


class SideResult(Struct, frozen=True):
    """One side's runs, each of them correct."""

    name: str
    title: str
    runs: list[Run]

    def measured(self, measure: str) -> Measured | None:
        """Of one property of `Run`, over the runs."""
        return Measured.of(getattr(run, measure) for run in self.runs)


class Results(Struct):
    """Everything that was measured; what was left out by `--only` is empty."""

    machine: Machine
    sides: list[SideResult] = []
    decode: list[Limit] = []
    consume: list[Limit] = []
    memory: Memory | None = None
    restores: list[Restored] = []


def this_machine() -> Machine:
    """The machine as it is now."""
    models = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return Machine(
        models[0].partition(":")[2].strip() if models else platform.machine(),
        len(os.sched_getaffinity(0)),
        platform.python_version(),
        os.getloadavg()[0],
        commit.stdout.strip(),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_json(results: Results, path: Path) -> None:
    """Write all of it, every run and the medians."""
    document = msgspec.to_builtins(results)
    for side, shown in zip(results.sides, document["sides"], strict=True):
        for measure in ("events_per_second", "cpu_seconds_per_million", "whole_events_per_second", "peak_bytes"):
            shown[measure] = msgspec.to_builtins(side.measured(measure))
    write_results(document, path)


def write_results(results: object, path: Path) -> None:
    """Write what a benchmark found as JSON; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(msgspec.to_builtins(results), indent=2) + "\n", encoding="utf-8")


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    machine = results.machine
    console.print(
        f"{machine.processor}, {machine.cores} cores, Python {machine.python}, load {machine.load:.1f} at the start, "
        f"commit {machine.commit}, {machine.at}",
        highlight=False,
    )
    if results.sides:
        console.print(_sides_table(results.sides))
    if results.decode or results.consume or results.memory or results.restores:
        console.print(_ours_table(results))


def _sides_table(sides: Sequence[SideResult]) -> Table:
    table = Table(title="Metering the same events, every run correct: median (least – most)")
    table.add_column("side")
    for title in ("events", "runs", "events/s", "CPU s per million", "peak MiB", "events/s, whole run",
                  "ours is faster", "ours needs of its CPU"):  # fmt: skip
        table.add_column(title, justify="right")
    ours = next((side for side in sides if side.name == "ours"), None)
    for side in sides:
        table.add_row(
            side.title,
            f"{side.runs[0].events:,}",
            str(len(side.runs)),
            _spread(side.measured("events_per_second"), 0),
            _spread(side.measured("cpu_seconds_per_million"), 1),
            _spread(Measured.of(run.peak_bytes / _MIB for run in side.runs), 0),
            _spread(side.measured("whole_events_per_second"), 0),
            *(("", "") if ours is None or side is ours else _ratios(ours, side)),
        )
    return table


def _ratios(ours: SideResult, other: SideResult) -> tuple[str, str]:
    """How many times as fast ours is, and what part of the processor time it takes, by the medians."""
    speed, other_speed = ours.measured("events_per_second"), other.measured("events_per_second")
    cpu, other_cpu = ours.measured("cpu_seconds_per_million"), other.measured("cpu_seconds_per_million")
    return (
        f"{speed.median / other_speed.median:.1f} ×" if speed and other_speed else "–",
        f"1/{other_cpu.median / cpu.median:.1f}" if cpu and other_cpu and cpu.median else "–",
    )


def _ours_table(results: Results) -> Table:
    table = Table(title="Limits, and what our state costs")
    table.add_column("measure")
    table.add_column("of", justify="right")
    table.add_column("value", justify="right")
    for title, limits in (
        ("limit: decoding alone (schemas.decode), one core", results.decode),
        ("limit: confluent-kafka consumer alone", results.consume),
    ):
        if limits:
            table.add_row(f"{title}, events/s", f"{limits[0].events:,} events", _spread(_rates(limits), 0))
            table.add_row(f"{title}, CPU s per million", "", _spread(_cpu(limits), 2))
    if results.memory is not None:
        memory = results.memory
        size = f"{memory.bytes_per_subscriber:.0f}"
        if memory.subscribers < _FEWEST_SUBSCRIBERS_TO_JUDGE:
            size += " (too few to tell)"
        elif memory.bytes_per_subscriber > _MOST_BYTES_PER_SUBSCRIBER:
            size += f" (wanted: {_MOST_BYTES_PER_SUBSCRIBER} at most)"
        table.add_row(
            "state: resident bytes per subscriber",
            f"{memory.events:,} events, {memory.subscribers:,} subscribers",
            size,
        )
    if results.restores:
        first = results.restores[0]
        table.add_row(
            "state: restore of all partitions, seconds",
            f"{first.subscribers:,} subscribers",
            _spread(Measured.of(one.seconds for one in results.restores), 2),
        )
        table.add_row(
            "state: resident bytes per subscriber after it", "",
            _spread(Measured.of(one.bytes_per_subscriber for one in results.restores), 0),
        )  # fmt: skip
    return table


def _rates(limits: Sequence[Limit]) -> Measured | None:
    return Measured.of(limit.events / limit.seconds if limit.events else None for limit in limits)


def _cpu(limits: Sequence[Limit]) -> Measured | None:
    return Measured.of(1e6 * limit.cpu_seconds / limit.events if limit.events else None for limit in limits)


def _spread(measured: Measured | None, digits: int) -> str:
    if measured is None:
        return "too short to tell"
    if measured.least == measured.most:
        return f"{measured.median:,.{digits}f}"
    return f"{measured.median:,.{digits}f} ({measured.least:,.{digits}f} – {measured.most:,.{digits}f})"
