"""One rebuild: the steps of `sinks.rebuild`, in their order; who calls decides whether it goes on to the switch."""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum

from schemas.topics import PACKAGE_ASSIGNMENTS, TopicNames, prefixed
from sinks.positions import forget_positions, stored_positions
from sinks.rebuild.difference import Difference, difference
from sinks.rebuild.from_topics import Held, TopicReader
from sinks.rebuild.raw_events import Extent, extents, extents_of_catalog
from sinks.rebuild.recompute import Recompute
from sinks.rebuild.tables import FED_BY, create_beside, drop_beside, exchange, rebuilt, shape_of
from sinks.rows import Block
from sinks.store import Store

#: Told how many records of how many were taken.
Progress = Callable[[int, int], None]


class Source(StrEnum):
    """What a table is made from."""

    TOPICS = "topics"
    RAW_EVENTS = "raw-events"


class Rebuild:
    """Some tables made again from one source. `notes`: what whoever reads the differences must know."""

    def __init__(self, store: Store, topic_prefix: str, tables: Collection[str]) -> None:
        self._store = store
        self._prefix = topic_prefix
        self._names = TopicNames.with_prefix(topic_prefix)
        # In the order of the definitions, so that history is switched before what it explains.
        self.tables = [table for table in FED_BY if table in tables]
        self.notes: list[str] = []
        #: Tables whose source no longer holds all that it held: a row that only the old one has need not be wrong.
        self.partial: set[str] = set()
        self._cuts: dict[int, list[int]] | None = None
        # Conditions for rows of the old tables that are beyond what was rebuilt.
        self._beyond: dict[str, list[str]] = {}

    def fill_from_raw_events(self, progress: Progress) -> None:
        """Steps 1 to 3, by recomputing. RawEventsIncomplete if that would give another state than was metered."""
        assignments = extents(self._store, self._names.package_assignments)
        catalog = extents_of_catalog(self._store, self._names.catalog)
        self._create()
        recompute = Recompute(self._store, self._names, self.tables)
        counted = _Counted(progress, sum(extent.cut - extent.first for extent in [*assignments, *catalog]))
        for extent in assignments:
            self._insert(recompute.partition(extent, counted.advance))
            self._note_beyond(extent)
            if extent.end > extent.cut:
                self.notes.append(
                    f"partition {extent.partition}: {extent.end - extent.cut} raw events are beyond the stored state; "
                    "what follows from them is not in the rebuilt tables, and comes with the next run of the sink"
                )
        for extent in catalog:
            self._insert(recompute.catalog(extent, counted.advance))
            self._note_beyond_catalog(extent)
        self._cuts = recompute.closes

    def fill_from_topics(self, bootstrap_servers: str, progress: Progress) -> None:
        """Steps 1 to 3, from what the topics still hold of what was stored. LogFailed if they cannot be read."""
        reader = TopicReader(bootstrap_servers, self._prefix, stored_positions(self._store))
        try:
            wanted = {name: reader.held(name) for name in dict.fromkeys(n for t in self.tables for n in FED_BY[t])}
            self._create()
            everything = [held for parts in wanted.values() for held in parts]
            counted = _Counted(progress, sum(held.end - held.begin for held in everything))
            for name, parts in wanted.items():
                self._insert(reader.blocks(name, parts, counted.advance))
        finally:
            reader.close()
        self._take_over_older_raw_events(everything)
        for name, parts in wanted.items():
            begins = [f"[{held.partition}] at {held.begin}" for held in parts if held.begin > 0]
            if begins:
                self.notes.append(f"{parts[0].topic} does not begin at offset 0 any more: {', '.join(begins)}")
                self.partial |= {table for table in self.tables if name in FED_BY[table]} - {"raw_events"}
        # Their topic is compacted: what was superseded is gone.
        self.partial |= {table for table in self.tables if table in ("customers_history", "timelines_history")}

    def differences(self) -> list[Difference]:
        """Step 4: what each table and its twin say differently."""
        topic = prefixed(self._prefix, PACKAGE_ASSIGNMENTS)
        return [difference(self._store, shape_of(self._store, table), self._cuts, topic) for table in self.tables]

    def switch(self, *, keep: bool) -> list[str]:
        """Steps 5 to 7; the topics that the sink will read from their beginning again. No sink may run."""
        behind = sorted({topic for table in self.tables if self._is_ahead(table) for topic in FED_BY[table]})
        for name in behind:
            topic = prefixed(self._prefix, name)
            forget_positions(self._store, [key for key in stored_positions(self._store) if key[0] == topic])
        for table in self.tables:
            exchange(self._store, table, keep=keep)
        return [prefixed(self._prefix, name) for name in behind]

    def drop(self) -> None:
        """Drop the twins: nothing was asked for but the differences."""
        for table in self.tables:
            drop_beside(self._store, table)

    def _create(self) -> None:
        for table in self.tables:
            create_beside(self._store, table)

    def _insert(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            if block.table in self.tables and block.columns:
                self._store.insert(rebuilt(block.table), block.names, block.columns)

    def _take_over_older_raw_events(self, held: Sequence[Held]) -> None:
        """Raw events are kept for years, their topic for 400 days: older ones can only be taken as they are."""
        if "raw_events" not in self.tables:
            return
        for part in held:
            if part.begin > 0:
                self._store.command(
                    f"INSERT INTO {rebuilt('raw_events')} SELECT * FROM raw_events FINAL "
                    "WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset < {begin:Int64}",
                    {"topic": part.topic, "partition": part.partition, "begin": part.begin},
                )

    def _note_beyond(self, extent: Extent) -> None:
        partition, cut = extent.partition, extent.cut
        topic = self._names.package_assignments
        for table in ("customers", "timelines"):
            for name in (table, f"{table}_history"):
                self._beyond.setdefault(name, []).append(f"partition = {partition} AND revision > {cut}")
        for name in ("daily_usage", "daily_usage_history"):
            customers = f"SELECT assumeNotNull(key) FROM raw_events WHERE topic = '{topic}' AND partition = {partition}"
            self._beyond.setdefault(name, []).append(f"revision > {cut} AND customer_id IN ({customers})")
        self._beyond.setdefault("dead_letters", []).append(
            f"topic = '{topic}' AND partition = {partition} AND offset >= {cut}"
        )

    def _note_beyond_catalog(self, extent: Extent) -> None:
        topic = f"topic = '{self._names.catalog}' AND offset >= {extent.cut}"
        self._beyond.setdefault("dead_letters", []).append(topic)
        self._beyond.setdefault("catalog_versions", []).append(f"offset >= {extent.cut}")

    def _is_ahead(self, table: str) -> bool:
        """Whether the old table has rows of a part of the input that was not recomputed."""
        return any(
            self._store.query(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1")
            for condition in self._beyond.get(table, ())
        )


class _Counted:
    """Adds up what was taken."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._taken = 0

    def advance(self, records: int) -> None:
        self._taken += records
        self._progress(self._taken, self._total)
