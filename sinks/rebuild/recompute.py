"""The rows that follow from the raw events: the real core on them, and the real builders of rows on what it gives.

History is recomputed in runs of one record: then each fact has a revision of its own, and "as known at" is exact at
any offset. The live workers write it in runs of some hundred, which is exact at the end of each run: a cut that was
taken then, as that of a closed month, is answered by the rebuilt history as well. The price is time, and a row for each
day that a late fact restates. Where no history is wanted the runs are those of the workers.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from schemas.daily_usage import daily_row_key, encode_daily_row
from schemas.dead_letters import headers_of
from schemas.entitlements import WATERMARK_KEY, encode_record
from schemas.topics import TopicNames
from sinks import rows
from sinks.rebuild.catalog import CatalogRows
from sinks.rebuild.raw_events import Extent, read_pages
from sinks.rebuild.tables import HISTORY
from sinks.rows import Block, SinkRecord
from sinks.store import ReadableStore
from streams.core.partition import Applied, PartitionState
from streams.ledger import RECORDS_PER_RUN

#: Called with how many records more were taken.
Advance = Callable[[int], None]

_ROWS_PER_BLOCK = 50_000


class Recompute:
    """The rows of some tables, from the raw events up to each partition's cut."""

    def __init__(self, store: ReadableStore, names: TopicNames, tables: Collection[str]) -> None:
        self._store = store
        self._names = names
        self._run = 1 if any(table.endswith(HISTORY) for table in tables) else RECORDS_PER_RUN
        # What nobody wants is not even made.
        self._daily = any(table.startswith("daily_usage") for table in tables)
        self._letters = "dead_letters" in tables
        self._entitlements = any(table.startswith(("customers", "timelines")) for table in tables)
        #: Per partition, the offsets of the records that closed days: there every history has the same cut.
        self.closes: dict[int, list[int]] = {}

    def partition(self, extent: Extent, advance: Advance) -> Iterator[Block]:
        """The rows of one partition of `package-assignments`. One partition's state is in memory."""
        topic = self._names.package_assignments
        state = PartitionState(topic, extent.partition)
        closes = self.closes.setdefault(extent.partition, [])
        made = _Records(extent.partition)
        for page in read_pages(self._store, topic, extent):
            taken = 0
            while taken < len(page):
                before = state.watermark
                applied = state.apply(page[taken : taken + self._run])
                if applied.watermark.closed_through_day != before.closed_through_day:
                    closes.append(page[taken].offset)
                taken += applied.taken
                yield from self._add(made, applied)
            advance(len(page))
        watermark = encode_record(state.watermark.next_offset, state.watermark)
        made.entitlements.append(made.record(WATERMARK_KEY, watermark))
        yield from made.blocks()

    def catalog(self, extent: Extent, advance: Advance) -> Iterator[Block]:
        """The rows of the catalog: its versions, and the dead letters of those that are refused."""
        topic = self._names.catalog
        build = CatalogRows()
        for page in read_pages(self._store, topic, extent):
            yield from build([SinkRecord(topic, e.partition, e.offset, e.timestamp, e.key, e.value) for e in page])
            advance(len(page))

    def _add(self, made: "_Records", applied: Applied) -> Iterator[Block]:
        """Take what a run did; give blocks when there is enough for them."""
        if self._entitlements:
            made.entitlements += [made.record(output["key"], output["value"]) for output in applied.entitlements]
        if self._letters:
            made.letters += [
                made.record(letter.key, letter.value, headers_of(letter)) for letter in applied.dead_letters
            ]
        # A first close of a long history gives more rows at once than memory should hold as records.
        daily_rows = applied.daily_rows if self._daily else []
        for start in range(0, max(1, len(daily_rows)), _ROWS_PER_BLOCK):
            piece = daily_rows[start : start + _ROWS_PER_BLOCK]
            made.daily_rows += [made.record(daily_row_key(row), encode_daily_row(row)) for row in piece]
            if made.count >= _ROWS_PER_BLOCK:
                yield from made.blocks()


class _Records:
    """Records as the topics would bring them, until they are enough for blocks."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self.entitlements: list[SinkRecord] = []
        self.daily_rows: list[SinkRecord] = []
        self.letters: list[SinkRecord] = []

    @property
    def count(self) -> int:
        return len(self.entitlements) + len(self.daily_rows) + len(self.letters)

    def record(self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> SinkRecord:
        return SinkRecord("", self._partition, 0, 0, key, value, list(headers))

    def blocks(self) -> Iterator[Block]:
        for build, records in (
            (rows.entitlement_blocks, self.entitlements),
            (rows.daily_usage_blocks, self.daily_rows),
            (rows.dead_letter_blocks, self.letters),
        ):
            if records:
                yield from build(records)
                records.clear()
