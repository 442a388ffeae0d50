"""A billing report out of the store."""

from collections.abc import Iterator

from billing.queries import PROGRESS, report_query
from billing.report import ReportRequest, UsageRow, owners_of, write_csv
from schemas.instants import day_text
from sinks.catalog import load_catalog
from sinks.store import ReadableStore


def report_from_store(store: ReadableStore, request: ReportRequest) -> Iterator[bytes]:
    """The CSV of a report, in pieces. NotAChild if the sub-partner is none of the partner's."""
    catalog = load_catalog(store)
    query = report_query(request, owners_of(request, catalog))
    rows = (UsageRow(*row) for block in store.stream(query.sql, query.parameters) for row in block)
    return write_csv(request, rows, catalog)


def open_days(store: ReadableStore, request: ReportRequest) -> str | None:
    """What a reader of the report must know: that days of its period are not closed in every partition yet."""
    closed_through = [row[2] for row in store.query(PROGRESS)]
    unclosed = sum(day is None or day < request.last_day for day in closed_through)
    if not unclosed:
        return None
    return (
        f"{unclosed} of {len(closed_through)} partitions have not closed all days through "
        f"{day_text(request.last_day)}; PARTNER and CUSTOMER reports hold closed days only"
    )
