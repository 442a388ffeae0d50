"""What being seen costs a worker: `python -m bench.seen_cost [--short]`.

A ledger on a log that takes everything applies events; what it tells its metrics is kept, and then told to other metrics on its
own, many times over, with the clock readings that go with it. The quotient of the two times is the share. Whole runs with
and without metrics cannot show it: they differ by more than that from one to the next.
"""

import argparse
import gc
import statistics
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.broker import PARTITIONS
from bench.fed_ledger import Input
from bench.workload import Workload, records
from schemas.entitlements import Watermark
from schemas.metrics.metric import Stage
from schemas.topics import TopicNames
from streams.core.partition import Applied
from streams.ledger import Ledger
from streams.log import Acknowledged
from streams.look import LOOK_SECONDS
from streams.metrics import BatchTimes, WorkerMetrics
from streams.worker_look import WorkerLook

_PER_FETCH = 10_000
_REPEATS = 20


class _DeepLog:
    """Takes everything, and acknowledges it at once."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], int] = {}

    def write(self, topic: str, partition: int, records: Sequence[Any]) -> None:
        self._ends[topic, partition] = self.end(topic, partition) + len(records)

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self.write(topic, partition, [value])

    def write_watermark(self, topic: str, partition: int, record: Any, then: Acknowledged) -> None:
        self.write(topic, partition, [record])
        then(partition, self.end(topic, partition) - 1)

    def read(self, topic: str, partition: int, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        return iter(())

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, self.end(topic, partition)

    def end(self, topic: str, partition: int) -> int:
        return self._ends.get((topic, partition), 0)

    def poll(self) -> None: ...

    def wait(self) -> None: ...


class _Kept(WorkerMetrics):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[Watermark, Applied]] = []
        self.batches: list[int] = []

    def applied(self, before: Watermark, applied: Applied) -> None:
        self.runs.append((before, applied))

    def batch(self, records: int, times: BatchTimes) -> None:
        self.batches.append(records)


def batches(events: int) -> list[tuple[int, list[Input]]]:
    """So many events as fetches of partitions, in order."""
    now_ms = int(time.time() * 1000)
    waiting: list[list[Input]] = [[] for _ in range(PARTITIONS)]
    lengths = [0] * PARTITIONS
    found: list[tuple[int, list[Input]]] = []
    for key, value in records(Workload(events)):
        partition = zlib.crc32(key) % PARTITIONS
        waiting[partition].append(Input(lengths[partition], now_ms, key, value))
        lengths[partition] += 1
        if len(waiting[partition]) == _PER_FETCH:
            found.append((partition, waiting[partition]))
            waiting[partition] = []
    return found + [(partition, rest) for partition, rest in enumerate(waiting) if rest]


class _Ends:
    """As `streams.topic_ends.TopicEnds`, without a broker: waiting for its answer costs no processor."""

    def read(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(keys, 1_000_000)


def _tell_again(kept: _Kept) -> float:
    """Seconds that it takes metrics to be told all of it, and the clock to be read as often as for it."""
    metrics = WorkerMetrics()
    started = time.process_time()
    for before, applied in kept.runs:
        times = BatchTimes()
        for stage in (Stage.FOLD, Stage.WRITE, Stage.ACKNOWLEDGE, Stage.WRITE, Stage.UNPACK):
            times.spent(stage)
        metrics.applied(before, applied)
    for count in kept.batches:
        metrics.batch(count, times)
    return time.process_time() - started


def measure(events: int) -> Table:
    """The share of being seen, as a table."""
    names = TopicNames.with_prefix("")
    kept = _Kept()
    ledger = Ledger(_DeepLog(), names, kept)
    ledger.own(range(PARTITIONS), 1)
    gc.freeze()
    gc.set_threshold(500_000, 10, 10)
    made = batches(events)
    started = time.process_time()
    for partition, batch in made:
        ledger.apply(partition, batch[0].offset, batch)
    seconds = time.process_time() - started
    told = [_tell_again(kept) for _ in range(_REPEATS)]
    look = WorkerLook(names.package_assignments, ledger, _Ends(), WorkerMetrics())  # type: ignore[arg-type]
    started = time.process_time()
    for _ in range(_REPEATS):
        look.look()
    look_seconds = (time.process_time() - started) / _REPEATS
    subscribers = sum(
        account.subscriber_count() for state in ledger.states().values() for account in state.accounts.values()
    )
    table = Table(title=f"What being seen costs a worker: {events:,} events, {len(kept.runs):,} runs")
    table.add_column("processor time of")
    table.add_column("measured", justify="right")
    table.add_column("share", justify="right")
    table.add_row("an event, without Kafka", f"{1e6 * seconds / events:.1f} µs", "")
    table.add_row(
        "counters and clocks, of an event",
        f"{1e6 * statistics.median(told) / events:.3f} µs",
        f"{statistics.median(told) / seconds:.2%} ({min(told) / seconds:.2%} to {max(told) / seconds:.2%})",
    )
    table.add_row(
        f"a look every {LOOK_SECONDS:.0f} s, at {subscribers:,} subscribers",
        f"{1e3 * look_seconds:.1f} ms",
        f"{look_seconds / LOOK_SECONDS:.2%}",
    )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all of it ran."""
    parser = argparse.ArgumentParser(prog="bench.seen_cost", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small counts: that it works, not what it costs")
    options = parser.parse_args(arguments)
    Console(width=None if sys.stdout.isatty() else 120).print(measure(60_000 if options.short else 600_000))
    return 0


if __name__ == "__main__":
    sys.exit(main())
