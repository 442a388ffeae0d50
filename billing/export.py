"""A report out of the store, as CSV, and what its reader must know."""

import itertools
from collections.abc import Callable, Iterator, Sequence

from billing.csv_lines import csv_lines, header
from billing.dead_letters import OpenLetters, open_letters
from billing.dismissals import Dismissed
from billing.queries import PROGRESS, report_query
from billing.report import ReportRequest, owners_of
from schemas.dead_letters import Origin
from schemas.instants import day_text
from sinks.catalog import load_catalog
from sinks.store import ReadableStore


def export_csv(store: ReadableStore, request: ReportRequest) -> Iterator[bytes]:
    """The CSV of a billing report (rule 32), in pieces. NotAChild if the sub-partner is none of the partner's."""
    catalog = load_catalog(store)
    owners = owners_of(request, catalog)
    lines = csv_lines(report_query(request, owners), request, owners, catalog)
    return itertools.chain([header(request.report_type)], store.stream_text(lines.sql, lines.parameters))


def report_notes(store: ReadableStore, request: ReportRequest, dismissed: Sequence[Origin]) -> list[str]:
    """What a reader of the report must know: days of its period that are not closed, and open refused events."""
    notes = []
    closed_through = [row[2] for row in store.query(PROGRESS)]
    unclosed = sum(day is None or day < request.last_day for day in closed_through)
    if unclosed:
        notes.append(
            f"{unclosed} of {len(closed_through)} partitions have not closed all days through "
            f"{day_text(request.last_day)}; PARTNER and CUSTOMER reports hold closed days only"
        )
    notes += letter_notes(open_letters_of(store, request, dismissed))
    return notes


def notes_with(dismissed: Dismissed) -> Callable[[ReadableStore, ReportRequest], list[str]]:
    """`report_notes`, asking for the dismissed letters each time."""
    return lambda store, request: report_notes(store, request, dismissed())


def open_letters_of(store: ReadableStore, request: ReportRequest, dismissed: Sequence[Origin]) -> OpenLetters:
    """The open dead letters that a report misses, or may miss. NotAChild as for the report."""
    owners = [owner.org_id for owner in owners_of(request, load_catalog(store))]
    return open_letters(store, owners, request.first_day, request.last_day, dismissed)


def letter_notes(letters: OpenLetters) -> list[str]:
    """The open dead letters of a report in words; nothing where there are none."""
    notes = []
    if letters.of_period:
        notes.append(f"{_counted(letters.of_period)} of this period, refused and not in the report")
    if letters.before:
        notes.append(f"{_counted(letters.before)} of before this period, refused and perhaps missing in the report")
    return notes


def _counted(letters: int) -> str:
    return "1 open dead letter" if letters == 1 else f"{letters} open dead letters"
