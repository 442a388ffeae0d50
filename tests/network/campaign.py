"""Months that are stored and read through a line on which things go wrong, and compared with what they must be."""

import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from confluent_kafka import TopicPartition

from billing.export import export_csv
from billing.report import ReportRequest
from sinks import rows, sink, store
from sinks.metrics import SinkMetrics
from sinks.migrations import Placement, migrate
from sinks.rows import Block
from sinks.sink import Sink, SinkSettings
from sinks.store import QueryLimits, Store, StoreFailed, StoreTimeouts, StoreUnavailable
from tests.network.clickhouse_http import clickhouse
from tests.network.fault_proxy import Deck, Fault, FaultProxy
from tests.pipeline.harness import requests
from tests.store_process import blocks_of

_T = TypeVar("_T")

_TIMEOUTS = StoreTimeouts(connect_seconds=1, open_seconds=1.5, statement_seconds=1, query_margin_seconds=0.5)
_LIMITS = QueryLimits(seconds=1)
_ROWS_PER_INSERT = 120
_REFERENCE = "reference"
#: The only column that says when.
_COMPARED = {"schema_migrations": "name"}


@dataclass
class Outcome:
    """What happened. `longest`: by kind of call, the seconds it took at most, and its time-out."""

    dealt: Counter[Fault] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    longest: dict[str, tuple[float, float]] = field(default_factory=dict)
    months: int = 0
    rows: int = 0


class _Timed(Store):
    """A store that notes how long its calls take, from outside."""

    def __init__(self, dsn: str, outcome: Outcome) -> None:
        self._outcome = outcome
        started = time.monotonic()
        try:
            super().__init__(dsn, limits=_LIMITS, timeouts=_TIMEOUTS)
        except StoreUnavailable:
            outcome.failed["open"] += 1
            raise
        finally:
            self._note("open", started, _TIMEOUTS.open_seconds)

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None:
        started = time.monotonic()
        try:
            super().insert(table, names, columns)
        except StoreFailed:
            self._outcome.failed["insert"] += 1
            raise
        finally:
            self._note("insert", started, _TIMEOUTS.statement_seconds)

    def command(self, sql: str, parameters: dict[str, object] | None = None) -> None:
        started = time.monotonic()
        try:
            super().command(sql, parameters)
        except StoreFailed:
            self._outcome.failed["statement"] += 1
            raise
        finally:
            self._note("statement", started, _TIMEOUTS.statement_seconds)

    def _blocks(self, ask: Callable[[], Any]) -> Iterator[Any]:
        started = time.monotonic()
        try:
            yield from super()._blocks(ask)
        except StoreFailed:
            self._outcome.failed["query"] += 1
            raise
        finally:
            self._note("query", started, _LIMITS.seconds + _TIMEOUTS.query_margin_seconds)

    def _note(self, call: str, started: float, timeout: float) -> None:
        took = time.monotonic() - started
        self._outcome.calls[call] += 1
        self._outcome.longest[call] = max(self._outcome.longest.get(call, (0.0, timeout)), (took, timeout))


class _Assigned:
    """As much of a consumer as a sink needs to find its positions."""

    def __init__(self) -> None:
        self.offsets: dict[tuple[str, int], int] = {}

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0, *, cached: bool = False
    ) -> tuple[int, int]:
        return 0, 1_000

    def commit(self, **_: object) -> None:
        """Step 4."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.offsets = {(part.topic, part.partition): part.offset for part in partitions}


class Campaign:
    """Months of `lines` through a faulty line, until all faults are dealt."""

    def __init__(self, folder: Path, lines: Sequence[bytes], counts: dict[Fault, int], seed: int) -> None:
        self._folder = folder
        self._blocks = [piece for block in blocks_of(lines) for piece in _pieces(block)]
        self._positions = [
            rows.position_block([("package-assignments", n % 3, 10 + n)]) for n in range(0, len(self._blocks), 4)
        ]
        self._deck = Deck(counts, seed)
        self.outcome = Outcome()

    def run(self, monkeypatch: pytest.MonkeyPatch) -> Outcome:
        """AssertionError if a row is lost, doubled or wrong, or an answer is; else what happened."""
        monkeypatch.setattr(sink, "_FIRST_RETRY_SECONDS", 0.01)
        monkeypatch.setattr(store, "_FIRST_WAIT_SECONDS", 0.01)
        monkeypatch.setattr(sink, "_LONGEST_RETRY_SECONDS", 0.1)
        longest = _LIMITS.seconds + _TIMEOUTS.query_margin_seconds
        with (
            # Something that listens, so that a sink's clients of Kafka keep quiet.
            socket.create_server(("127.0.0.1", 0)) as listening,
            clickhouse(self._folder) as port,
            FaultProxy(port, self._deck, 3 * longest) as proxy,
        ):
            self._no_kafka = SinkSettings(f"127.0.0.1:{listening.getsockname()[1]}")
            straight = f"http://127.0.0.1:{port}"
            with Store(straight) as truth:
                truth.command(f"CREATE DATABASE {_REFERENCE}")
                with Store(f"{straight}/{_REFERENCE}") as reference:
                    migrate(reference, Placement())
                    for block in [*self._blocks, *self._positions]:
                        reference.insert(block.table, block.names, block.columns)
                    # Every type, and every fourth of the reports: all of them would take most of the time.
                    reports = {request: b"".join(export_csv(reference, request)) for request in requests()[::4]}
                expected = _contents(truth, _REFERENCE)
                while self._deck.left:
                    month = f"month_{self.outcome.months}"
                    truth.command(f"CREATE DATABASE {month}")
                    self._fill(f"http://127.0.0.1:{proxy.port}/{month}")
                    self._read(f"http://127.0.0.1:{proxy.port}/{_REFERENCE}", expected, reports)
                    found = _contents(truth, month)
                    assert found.keys() == expected.keys()
                    for table in expected:
                        assert found[table] == expected[table], f"{month}.{table} differs"
                    self.outcome.rows += sum(len(content) for content, _ in found.values())
                    self.outcome.months += 1
                    truth.command(f"DROP DATABASE {month}")
        self.outcome.dealt = self._deck.dealt
        return self.outcome

    def _fill(self, dsn: str) -> None:
        """A month as a sink fills it: migrations, the catalog, rows, positions. What has no retry is started again."""
        with _until_it_works(lambda: _Timed(dsn, self.outcome)) as faulty:
            _until_it_works(lambda: migrate(faulty, Placement()))
            filler = _until_it_works(lambda: Sink(self._no_kafka, faulty, SinkMetrics()))
            for block in self._blocks:
                filler._loop._insert(block)
            stored: dict[tuple[str, int], int] = {}
            for block in self._positions:
                filler._loop._insert(block)
                ((topic,), (partition,), (offset,)) = block.columns
                stored[topic, partition] = offset  # type: ignore[index, assignment]
            consumer = _Assigned()
            partitions = [TopicPartition("package-assignments", n) for n in range(4)]
            real, filler._consumer = filler._consumer, consumer  # type: ignore[assignment]
            filler._begin(consumer, partitions)  # type: ignore[arg-type]
            assert consumer.offsets == {**stored, ("package-assignments", 3): 0}
            real.close()

    def _read(self, dsn: str, expected: dict[str, tuple[list[Any], int]], reports: dict[ReportRequest, bytes]) -> None:
        """What is read is right, or a failure: never less than all of it."""
        with _until_it_works(lambda: _Timed(dsn, self.outcome)) as faulty:
            for request, report in reports.items():
                try:
                    assert b"".join(export_csv(faulty, request)) == report, request
                except StoreFailed:
                    continue
            for table, (content, _) in expected.items():
                try:
                    assert list(_rows(faulty, _REFERENCE, table)) == content, table
                except StoreFailed:
                    continue


def _until_it_works(what: Callable[[], _T]) -> _T:
    """As a supervisor starts a process again."""
    while True:
        try:
            return what()
        except (StoreFailed, StoreUnavailable):
            continue


def _pieces(block: Block) -> Iterator[Block]:
    for start in range(0, len(block.columns[0]), _ROWS_PER_INSERT):
        yield Block(block.table, block.names, [column[start : start + _ROWS_PER_INSERT] for column in block.columns])


def _contents(straight: Store, database: str) -> dict[str, tuple[list[Any], int]]:
    """By table: its rows after FINAL, and how many keys are different among all that it has."""
    tables = straight.query(
        "SELECT name, sorting_key FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
        {"database": database},
    )
    assert len(tables) > 12
    found = {}
    for table, key in tables:
        ((keys,),) = straight.query(f"SELECT uniqExact({key}) FROM {database}.{table}")
        found[table] = (list(_rows(straight, database, table)), keys)
        assert len(found[table][0]) == keys, f"{database}.{table} has a key more than once"
    return found


def _rows(one: Store, database: str, table: str) -> Iterator[tuple[Any, ...]]:
    columns = _COMPARED.get(table, "*")
    for block in one.stream_binary(f"SELECT {columns} FROM {database}.{table} FINAL ORDER BY ALL"):
        yield from block


def by_kind(counts: Counter[Fault]) -> dict[str, int]:
    """The counts in the order of the kinds, none left out."""
    ordered: dict[str, int] = defaultdict(int)
    for fault in Fault:
        ordered[fault.value] = counts[fault]
    return dict(ordered)
