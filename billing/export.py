"""A report out of the store, as CSV, and what its reader must know."""

import itertools
from collections.abc import Iterator

from billing.csv_lines import csv_lines, header
from billing.queries import DEAD_LETTERS_OF_OWNERS, PROGRESS, report_query
from billing.report import ReportRequest, owners_of
from schemas.instants import day_text
from sinks.catalog import load_catalog
from sinks.store import ReadableStore


def export_csv(store: ReadableStore, request: ReportRequest) -> Iterator[bytes]:
    """The CSV of a billing report (rule 32), in pieces. NotAChild if the sub-partner is none of the partner's."""
    catalog = load_catalog(store)
    owners = owners_of(request, catalog)
    lines = csv_lines(report_query(request, owners), request, owners, catalog)
    return itertools.chain([header(request.report_type)], store.stream_text(lines.sql, lines.parameters))


def report_notes(store: ReadableStore, request: ReportRequest) -> list[str]:
    """What a reader of the report must know: days of its period that are not closed, and refused events."""
    notes = []
    closed_through = [row[2] for row in store.query(PROGRESS)]
    unclosed = sum(day is None or day < request.last_day for day in closed_through)
    if unclosed:
        notes.append(
            f"{unclosed} of {len(closed_through)} partitions have not closed all days through "
            f"{day_text(request.last_day)}; PARTNER and CUSTOMER reports hold closed days only"
        )
    owners = [owner.org_id for owner in owners_of(request, load_catalog(store))]
    ((refused,),) = store.query(DEAD_LETTERS_OF_OWNERS, {"owners": owners})
    if refused:
        notes.append(f"{refused} events of the partner were refused and are not in the report")
    return notes
