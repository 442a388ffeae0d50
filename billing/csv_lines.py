"""Lines of CSV, written by the engine: SQL that makes of a report's row what `billing.report.write_csv` makes of it.

The engine formats a million lines in the time in which Python would format a tenth of them. A property test holds the
two to the same bytes.
"""

from billing.queries import ORDER, Query
from billing.report import COLUMNS, FORMULA_STARTS, Owner, ReportRequest, ReportType, csv_line, safe_text
from streams.core.catalog import CatalogState

# The length keeps two pairs with the same text apart.
_SERVICE_KEY = "concat(toString(length(subscription)), ':', subscription, service)"


def header(report_type: ReportType) -> bytes:
    """The first line."""
    return csv_line(COLUMNS[report_type]).encode()


def csv_lines(rows: Query, request: ReportRequest, owners: list[Owner], catalog: CatalogState) -> Query:
    """The lines of a report, in its order, as one column. `rows` has the columns of `queries.ROW`."""
    services = {
        f"{len(subscription_id.encode())}:{subscription_id}{entry.service.upper()}": entry
        for subscription_id, subscription in catalog.subscriptions.items()
        for entry in reversed(subscription.services)  # of two entries of a service the first one counts
    }
    return Query(
        f"SELECT {_line(request.report_type)} AS line FROM ({rows.sql}) ORDER BY {ORDER}",
        {
            **rows.parameters,
            "owner_cells": [
                csv_line((safe_text(owner.name), safe_text(owner.org_id))).rstrip("\r\n") for owner in owners
            ],
            # No row has an empty key: the engine wants one element at least.
            "service_keys": ["", *services],
            "service_cells": [
                ",",
                *(csv_line((safe_text(e.sku), safe_text(e.description))).rstrip("\r\n") for e in services.values()),
            ],
        },
    )


def _line(report_type: ReportType) -> str:
    cells = ["transform(owner_id, {owners:Array(String)}, {owner_cells:Array(String)}, '')"]
    if report_type is not ReportType.PARTNER:
        cells += [_cell("customer_shown"), _cell("external")]
    cells += [
        _cell("subscription"),
        _cell("service"),
        f"transform({_SERVICE_KEY}, {{service_keys:Array(String)}}, {{service_cells:Array(String)}}, ',')",
        "toString(toDate32(first_used))",
        "toString(toDate32(last_used))",
        # The text of a decimal has no trailing zeros.
        "toString(reinterpret(toInt128(total), 'Decimal(38, 6)'))",
    ]
    if report_type is not ReportType.PARTNER:
        cells.append(_cell("location_shown"))
    if report_type is ReportType.USER:
        cells += [_cell("subscriber"), _cell("user"), _cell("workspace")]
    return "concat(" + ", ',', ".join(cells) + r", '\r\n')"


def _cell(text: str) -> str:
    """A text as a cell: no formula, and in quotes where it must be."""
    starts = ", ".join(f"'{_ESCAPED.get(start, start)}'" for start in FORMULA_STARTS)
    safe = rf"if(substringUTF8({text}, 1, 1) IN ({starts}), concat('\'', {text}), {text})"
    quoted = rf"""concat('"', replaceAll({safe}, '"', '""'), '"')"""
    return rf"""if(multiSearchAny({text}, [',', '"', '\r', '\n']), {quoted}, {safe})"""


_ESCAPED = {"\t": r"\t", "\r": r"\r", "\n": r"\n"}
