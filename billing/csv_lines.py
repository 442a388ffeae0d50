"""Lines of CSV, written by the engine: SQL that makes of a report's row what `billing.report.write_csv` makes of it.

The engine formats a million lines in the time in which Python would format a tenth of them. A property test holds the
two to the same bytes.
"""

from collections.abc import Sequence

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
    """A line. Hardly any text needs care, and asking that of all of them first takes half the time."""
    cells = _cells(report_type)
    texts = [cell for cell in cells if isinstance(cell, _Text)]
    needs_care = " OR ".join(f"{_is_formula(text)} OR {_needs_quotes(text)}" for text in texts)
    careful = [_cell(cell) if isinstance(cell, _Text) else cell for cell in cells]
    return f"if({needs_care}, {_joined(careful)}, {_joined(cells)})"


def _joined(cells: Sequence[str]) -> str:
    return "concat(" + ", ',', ".join(cells) + r", '\r\n')"


class _Text(str):
    """A column that holds anybody's text; all other cells are safe as they are."""

    __slots__ = ()


def _cells(report_type: ReportType) -> list[str]:
    """What a line of this type has, in order, as SQL."""
    cells = ["transform(owner_id, {owners:Array(String)}, {owner_cells:Array(String)}, '')"]
    if report_type is not ReportType.PARTNER:
        cells += [_Text("customer_shown"), _Text("external")]
    cells += [
        _Text("subscription"),
        _Text("service"),
        f"transform({_SERVICE_KEY}, {{service_keys:Array(String)}}, {{service_cells:Array(String)}}, ',')",
        "toString(toDate32(first_used))",
        "toString(toDate32(last_used))",
        # The text of a decimal has no trailing zeros.
        "toString(reinterpret(toInt128(total), 'Decimal(38, 6)'))",
    ]
    if report_type is not ReportType.PARTNER:
        cells.append(_Text("location_shown"))
    if report_type is ReportType.USER:
        cells += [_Text("subscriber"), _Text("user"), _Text("workspace")]
    return cells


def _cell(text: str) -> str:
    """A text as a cell: no formula, and in quotes where it must be."""
    safe = rf"if({_is_formula(text)}, concat('\'', {text}), {text})"
    quoted = rf"""concat('"', replaceAll({safe}, '"', '""'), '"')"""
    return f"if({_needs_quotes(text)}, {quoted}, {safe})"


def _is_formula(text: str) -> str:
    starts = ", ".join(f"'{_ESCAPED.get(start, start)}'" for start in FORMULA_STARTS)
    return f"substringUTF8({text}, 1, 1) IN ({starts})"


def _needs_quotes(text: str) -> str:
    # One by one: the engine's search for several at once is three times as slow.
    return "(" + " OR ".join(f"position({text}, '{_ESCAPED.get(found, found)}')" for found in ',"\r\n') + ")"


_ESCAPED = {"\t": r"\t", "\r": r"\r", "\n": r"\n"}
