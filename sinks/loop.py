"""What a sink does with what it reads, at least once, and harmless, because a repeated row is the same row.

Step by step, and what a crash after each step leaves:

1. Read records; make the blocks of each Kafka partition.        Nothing.
2. Insert each block, until it is stored.                        Rows that will be inserted again: the same rows.
3. Insert the position of each partition.                        Done: the position lives with the rows.
4. Commit the group offsets.                                     Only monitoring reads them.

Refused catalog records become dead letters in step 1, acknowledged before any row says that they were read.
Where Kafka, the store and the waiting come from is the caller's: `sinks.sink` has the real ones.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from schemas.catalog import CatalogVersion, decode_catalog
from schemas.reasons import Refused
from schemas.topics import TopicNames
from sinks import rows
from sinks.catalog import Answers, load_catalog
from sinks.positions import stored_positions
from sinks.whole_runs import WholeRuns
from streams.core.catalog import CatalogState


class Position(NamedTuple):
    """Everything of a partition below `offset` is stored."""

    topic: str
    partition: int
    offset: int


class SinkStore(Answers, Protocol):
    """What a sink needs of the store: `sinks.store.Store`. Its calls raise StoreFailed: then try again."""

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None: ...


class DeadLetterLog(Protocol):
    """What a sink needs of the log: `streams.log.Log` has it."""

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None: ...
    def wait(self) -> None: ...


class Group(Protocol):
    """The consumer group."""

    def commit(self, positions: Sequence[Position]) -> None:
        """Tell the group how far the store is; a failure is nobody's loss, and not raised."""


#: Calls a statement of the store until it works, however long that takes; raises only when asked to stop.
#: `block`: what is inserted, or None for a question.
Persistence = Callable[[Callable[[], Any], rows.Block | None], Any]


class SinkLoop:
    """The steps of one sink. Its calls come one at a time."""

    def __init__(
        self, names: TopicNames, store: SinkStore, log: DeadLetterLog, group: Group, persist: Persistence
    ) -> None:
        self._names = names
        self._store = store
        self._log = log
        self._group = group
        self._persist = persist
        self._catalog = CatalogState()
        self._runs: defaultdict[int, WholeRuns] = defaultdict(WholeRuns)
        #: Append time of the last record taken of each (topic, partition). For monitoring.
        self.taken_ms: dict[tuple[str, int], int] = {}
        self._builders: dict[str, rows.Builder] = {
            names.package_assignments: rows.raw_event_blocks,
            names.entitlements: rows.entitlement_blocks,
            names.daily_usage: rows.daily_usage_blocks,
            names.dead_letters: rows.dead_letter_blocks,
            names.catalog: self._catalog_blocks,
        }

    @property
    def topics(self) -> list[str]:
        """All that a sink reads."""
        return list(self._builders)

    @property
    def transactional(self) -> tuple[str, str]:
        """The topics that others write, perhaps in transactions."""
        return self._names.package_assignments, self._names.catalog

    def begin(self, assigned: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Where to read each newly assigned (topic, partition) on; those that the store has nothing of are left out."""
        found = self._persist(lambda: stored_positions(self._store), None)
        # What waits was not stored: it is read again.
        self._runs.clear()
        if (self._names.catalog, 0) in assigned:
            # Identities are judged by all versions before the position, not by those that were read here: another
            # sink may have had the topic meanwhile. And after the position, so that none between can be missed.
            self._catalog = self._persist(lambda: load_catalog(self._store), None)
        return {key: offset for key, offset in found.items() if key in assigned}

    def skip_to(self, position: Position) -> None:
        """Go on here though there are no records before it."""
        self._insert(rows.position_block([position]))

    def store(self, records: Sequence[rows.SinkRecord]) -> None:
        """Steps 1 to 4 for records that follow on what was read before, of any partitions."""
        by_partition: dict[tuple[str, int], list[rows.SinkRecord]] = defaultdict(list)
        for record in records:
            by_partition[(record.topic, record.partition)].append(record)
        positions = []
        for (topic, partition), some in by_partition.items():
            last = some[-1]
            next_offset = last.offset + 1
            if topic == self._names.entitlements:
                runs = self._runs[partition]
                some = runs.take(some)
                next_offset = runs.position(next_offset)
            for block in self._builders[topic](some):
                self._insert(block)
            positions.append(Position(topic, partition, next_offset))
            self.taken_ms[(topic, partition)] = last.append_time_ms
        if positions:
            self._insert(rows.position_block(positions))
            self._group.commit(positions)

    def _insert(self, block: rows.Block) -> None:
        if block.columns:
            self._persist(lambda: self._store.insert(block.table, block.names, block.columns), block)

    def _catalog_blocks(self, records: Sequence[rows.SinkRecord]) -> list[rows.Block]:
        """Catalog records are raw events, versions, and dead letters where they are refused.

        The letters' rows come first, though the topic brings them too: so a redriven record of the catalog that is
        stored and is no dead letter was taken (`billing.dead_letters`).
        """
        versions: list[CatalogVersion] = []
        letters: list[rows.SinkRecord] = []
        for record in records:
            try:
                version = decode_catalog(record.value, record.key, record.append_time_ms, record.offset)
                if self._catalog.add(version):
                    versions.append(version)
            except Refused as refused:
                letters.append(self._refuse(record, refused))
        self._log.wait()
        blocks = rows.dead_letter_blocks(letters) if letters else []
        blocks += rows.raw_event_blocks(records)
        return blocks + rows.catalog_blocks(versions) if versions else blocks

    def _refuse(self, record: rows.SinkRecord, refused: Refused) -> rows.SinkRecord:
        letter = rows.refused_record(record, refused)
        headers = list(letter.headers)
        self._log.write_with_headers(self._names.dead_letters, 0, letter.key, letter.value, headers)  # type: ignore[arg-type]
        return letter
