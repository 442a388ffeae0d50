"""Reports as they were known at a cut: recomputed from the raw events before it, by the core of `rtmeter meter`.

Not from the history tables: which revisions these hold depends on how the input was cut into runs, and after a rebuild
they may be other ones. The first records of a partition are always the same, so the bytes are. As in a report of that
moment, PARTNER and CUSTOMER hold the days that were closed at it, USER what was held.

Partition by partition, so that the state of one at a time is in memory, and the rows of the report.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from billing.audit.raw_events import AsOf
from billing.closing.invoices import Cut
from billing.closing.recomputed import catalog_at, check_whole, state_at
from billing.offline import sum_rows, usage_rows
from billing.report import ReportRequest, ReportType, UsageRow, owners_of, write_csv
from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState

_STORED_UNTIL = """
SELECT topic, partition, toInt64(maxIf(offset + 1, append_time <= fromUnixTimestamp64Milli({until:Int64}))),
       max(append_time) > fromUnixTimestamp64Milli({until:Int64})
FROM raw_events WHERE topic IN {topics:Array(String)} GROUP BY topic, partition ORDER BY topic, partition
"""


class KnownAt(Struct, frozen=True):
    """A cut, and the partitions that have no record after it yet: there more may still come that arrived before it."""

    cut: Cut
    open_partitions: tuple[str, ...] = ()


def known_at_time(store: ReadableStore, names: TopicNames, time_ms: int) -> KnownAt:
    """What had arrived at a time, in ms since the epoch: of each partition the records up to the last one by then."""
    topics = [names.package_assignments, names.catalog]
    until_ms = min(max(time_ms, 0), AsOf().until_ms)
    rows = store.query(_STORED_UNTIL, {"topics": topics, "until": until_ms})
    ends = {(topic, partition): end for topic, partition, end, _ in rows}
    partitions = {partition: end for (topic, partition), end in ends.items() if topic == names.package_assignments}
    open_ones = tuple(f"{topic}/{partition}" for topic, partition, _, more in rows if not more)
    return KnownAt(Cut(partitions, ends.get((names.catalog, 0), 0)), open_ones)


def report_as_known(store: ReadableStore, names: TopicNames, cut: Cut, request: ReportRequest) -> Iterator[bytes]:
    """The CSV of a report at a cut, in pieces; NotAChild by the catalog of then, RawEventsMissing."""
    catalog = catalog_at(store, names, cut.catalog).state
    return write_csv(request, _rows(store, names, cut, request, catalog), catalog)


def _rows(
    store: ReadableStore, names: TopicNames, cut: Cut, request: ReportRequest, catalog: CatalogState
) -> list[UsageRow]:
    orgs = [owner.org_id for owner in owners_of(request, catalog)]
    rows: dict[tuple[str, ...], UsageRow] = {}
    for partition, length in sorted(cut.partitions.items()):
        check_whole(store, names.package_assignments, partition, length)
        state = state_at(store, names.package_assignments, partition, length, orgs)
        asked = request
        if request.report_type is not ReportType.USER:
            closed = state.watermark.closed_through_day
            last_day = request.first_day - 1 if closed is None else min(request.last_day, closed)
            asked = msgspec.structs.replace(request, last_day=last_day)
        for row in usage_rows(asked, state.accounts.values(), catalog):
            known = rows.get(row.order)
            rows[row.order] = row if known is None else sum_rows(known, row)
    return [rows[order] for order in sorted(rows)]
