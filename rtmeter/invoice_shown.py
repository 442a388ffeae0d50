"""Invoices as people and programs read them: tables, JSON, CSV."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from billing.closing.invoices import GateSeen, Invoice
from billing.closing.lines import Line
from billing.closing.money import amount_text
from billing.closing.reconciliation import Beside
from billing.report import csv_line, safe_text, signed_quantity_text
from schemas.instants import day_text, time_text

_COLUMNS = (
    "INVOICE",
    "LINE",
    "FIRST_DAY",
    "LAST_DAY",
    "CORRECTS_INVOICE",
    "OWNER_ORG_ID",
    "SUBSCRIPTION_ID",
    "SERVICE_NAME",
    "SKU",
    "DESCRIPTION",
    "KIND",
    "QUANTITY",
    "DAYS_IN_PERIOD",
    "UNIT_PRICE",
    "CURRENCY",
    "AMOUNT",
    "ROUNDING_RESIDUE",
    "UNPRICED",
)


def gates_table(gates: Iterable[GateSeen]) -> Table:
    """One row for each gate."""
    table = Table("gate", "holds", "what was seen", "accepted", title="before the close")
    for gate in gates:
        table.add_row(*map(Text, (gate.name, "yes" if gate.holds else "NO", gate.saw, gate.accepted)))
    return table


def invoice_table(invoice: Invoice) -> list[Table]:
    """The lines, the corrections, and the totals."""
    title = f"invoice {invoice.number} of {invoice.partner_id}, {invoice.period}"
    tables = [lines_table([line for line in invoice.lines if line.corrects is None], title)]
    corrections = [line for line in invoice.lines if line.corrects is not None]
    if corrections:
        tables.append(lines_table(corrections, "corrections of earlier invoices"))
    totals = Table("currency", "total without taxes", title=f"sha256 {invoice.sha256}")
    for currency, amount in invoice.manifest.totals.items():
        totals.add_row(currency, amount)
    return [*tables, totals]


def lines_table(lines: Sequence[Line], title: str) -> Table:
    """One row for each line."""
    table = Table(
        "month", "corrects", "org", "subscription", "service", "quantity", "days", "price", "amount", title=title
    )
    for line in lines:
        price = "-" if line.price is None else f"{line.price.unit_price} {line.price.currency}"
        cells = [line.period.month, "" if line.corrects is None else f"invoice {line.corrects}"]
        cells += [line.key.owner_id, line.key.subscription_id, line.key.service]
        cells += [
            signed_quantity_text(line.quantity_microdays),
            str(line.period.priced_days),
            price,
            _amount(line) or f"UNPRICED: {line.unpriced}",
        ]
        # Ids are anybody's: as plain text, for brackets would be taken for markup.
        table.add_row(*map(Text, cells))
    return table


def beside_table(rows: Iterable[Beside], period: str) -> Table:
    """One row for each service: what was invoiced, what reports of the period say, and what has changed since."""
    table = Table(
        *["org", "subscription", "service", "invoiced", "report at the cut", "report now", "changed since"],
        *["on later invoices", "still to correct"],
        title=f"reports of {period}",
    )
    for row in rows:
        quantities = (row.invoiced, row.at_cut, row.now, row.now - row.invoiced, row.corrected, row.still_to_correct)
        shown = [signed_quantity_text(quantity) if quantity else "" for quantity in quantities]
        if not row.agrees:
            shown[1] = f"DIFFERS: {signed_quantity_text(row.at_cut)}"
        table.add_row(*map(Text, (row.key.owner_id, row.key.subscription_id, row.key.service, *shown)))
    return table


def invoice_csv(invoice: Invoice) -> Iterator[bytes]:
    """One row a line, RFC 4180; ids and texts as in reports, so that no spreadsheet takes them for formulas."""
    yield csv_line(_COLUMNS).encode()
    for number, line in enumerate(invoice.lines, start=1):
        yield csv_line([invoice.number, number, *_cells(line)]).encode()


def invoice_json(invoice: Invoice) -> bytes:
    """Everything that is stored of an invoice; quantities in days and amounts as texts, so that no digit is lost."""
    shown = {
        "partnerOrgId": invoice.partner_id,
        "number": invoice.number,
        "firstDay": day_text(invoice.period.first_day),
        "lastDay": day_text(invoice.period.last_day),
        "totals": invoice.manifest.totals,
        "sha256": invoice.sha256,
        "closedBy": invoice.closed_by,
        "closedAt": time_text(invoice.closed_ms),
        "pricesBefore": time_text(invoice.prices_before_ms),
        "cut": {"partitions": invoice.cut.partitions, "catalog": invoice.cut.catalog},
        "correctionLimitPercent": invoice.limit_percent,
        "manifest": invoice.manifest,
        "lines": [{"line": number, **_named(line)} for number, line in enumerate(invoice.lines, start=1)],
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"


def _named(line: Line) -> dict[str, object]:
    price = line.price
    return {
        "firstDay": day_text(line.period.first_day),
        "lastDay": day_text(line.period.last_day),
        "correctsInvoice": line.corrects,
        "ownerOrgId": line.key.owner_id,
        "subscriptionId": line.key.subscription_id,
        "service": line.key.service,
        "quantity": signed_quantity_text(line.quantity_microdays),
        "daysInPeriod": line.period.priced_days,
        "price": price,
        "amount": _amount(line) or None,
        "roundingResidue": _residue(line) or None,
        "unpriced": line.unpriced or None,
    }


def _cells(line: Line) -> list[object]:
    """The cells of a line, in the order of `_COLUMNS` after the first two."""
    price = line.price
    return [
        day_text(line.period.first_day),
        day_text(line.period.last_day),
        "" if line.corrects is None else line.corrects,
        safe_text(line.key.owner_id),
        safe_text(line.key.subscription_id),
        safe_text(line.key.service),
        "" if price is None else safe_text(price.sku),
        "" if price is None else safe_text(price.description),
        "" if price is None else price.kind,
        signed_quantity_text(line.quantity_microdays),
        line.period.priced_days,
        "" if price is None else price.unit_price,
        "" if price is None else price.currency,
        _amount(line),
        _residue(line),
        safe_text(line.unpriced),
    ]


def _amount(line: Line) -> str:
    return (
        "" if line.price is None or line.amount_minor is None else amount_text(line.amount_minor, line.price.currency)
    )


def _residue(line: Line) -> str:
    return "" if line.price is None else amount_text(line.residue_minor, line.price.currency)
