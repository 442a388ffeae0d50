"""The demo's billing reports: from the store to files, and held to what the core makes of the same lines."""

import csv
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct

from billing.export import export_csv
from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from rtmeter.demo.owners import TOP_PARTNERS
from rtmeter.output import write_result
from sinks.store import ReadableStore
from streams.core.grid import MICRODAYS_PER_DAY

_TYPES: Final = (ReportType.PARTNER, ReportType.CUSTOMER, ReportType.USER)


class Report(Struct, frozen=True):
    """One report that was written."""

    request: ReportRequest
    file: Path


#: Quantity in microdays, by service and top partner.
Totals = dict[str, dict[str, int]]


def write_reports(store: ReadableStore, folder: Path, first_day: int, last_day: int) -> list[Report]:
    """Every report type of every top partner as CSV, as `rtmeter report` writes it."""
    folder.mkdir()
    reports = []
    for partner in TOP_PARTNERS:
        for report_type in _TYPES:
            request = ReportRequest(report_type, partner.org_id, None, first_day, last_day)
            file = folder / f"{partner.org_id}-{report_type.lower()}.csv"
            write_result(export_csv(store, request), file)
            reports.append(Report(request, file))
    return reports


def differing(reports: list[Report], lines: Iterable[bytes], received_at_ms: int) -> list[Report]:
    """The reports that are not byte for byte what `rtmeter meter` makes of the lines: there must be none."""
    metered = Metered(lines, received_at_ms)
    return [report for report in reports if report.file.read_bytes() != b"".join(metered.report(report.request))]


def totals_of(reports: list[Report]) -> Totals:
    """What the PARTNER reports say, a sub-partner's rows with its parent's (rule 24)."""
    totals: Totals = {}
    for report in reports:
        if report.request.report_type is not ReportType.PARTNER:
            continue
        with report.file.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                by_partner = totals.setdefault(row["SERVICE_NAME"], {})
                quantity = int(Decimal(row["QUANTITY"]) * MICRODAYS_PER_DAY)
                by_partner[report.request.partner_id] = by_partner.get(report.request.partner_id, 0) + quantity
    return totals
