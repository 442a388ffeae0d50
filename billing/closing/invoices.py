"""The register of invoices: made in one transaction, read back, never changed."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, Row, insert, select
from sqlalchemy.exc import IntegrityError

from billing.closing.corrections import Approval, ClosedPeriod
from billing.closing.first_days import is_scheduled, lock_schedule
from billing.closing.lines import Line, UsageKey
from billing.closing.period import Period
from billing.closing.prices import Price
from billing.relational.connect import writing
from billing.relational.schema import correction_approvals, correction_approvals_used, invoice_lines, invoices


class Cut(Struct, frozen=True):
    """What was known: the length of each partition's input prefix, and of the catalog's."""

    partitions: dict[int, int]
    catalog: int


class GateSeen(Struct, frozen=True):
    """What a gate saw at the close. `accepted`: the reason that a person gave for closing all the same, or ''."""

    name: str
    holds: bool
    saw: str
    accepted: str = ""


class PriceVersion(Struct, frozen=True):
    """The version of a subscription that prices came from: its offset in the catalog, and its identity."""

    subscription_id: str
    offset: int
    source: str
    id: str
    time_ms: int


class WaitingCorrection(Struct, frozen=True):
    """A correction that was left out, with its amounts by currency, as texts."""

    period: Period
    number: int
    amounts: dict[str, str]


class Manifest(Struct, frozen=True):
    """What is said of an invoice as a whole. Amounts are texts by currency, without taxes."""

    rules: str
    lines: int
    corrections: int
    unpriced: int
    quantity_microdays: int
    totals: dict[str, str]
    sha256: str
    prices: tuple[PriceVersion, ...]
    gates: tuple[GateSeen, ...]
    waiting: tuple[WaitingCorrection, ...]


class Invoice(Struct, frozen=True):
    """A closed month. `number` counts the partner's invoices from 1, in the order in which they were made."""

    partner_id: str
    number: int
    period: Period
    prices_before_ms: int
    cut: Cut
    limit_percent: int
    lines: tuple[Line, ...]
    sha256: str
    manifest: Manifest
    closed_by: str
    closed_ms: int


#: By service, the usage of each day of a period in microdays, in order: what a chart shows.
Daily = dict[str, list[int]]


class MadeMeanwhile(Exception):
    """Another invoice of the partner was made, or its periods were moved, since these were read: read again."""


# All but the usage by day, which is wanted for a chart alone.
_HEAD = [column for column in invoices.c if column.name != "daily"]


class Invoices:
    """The register. Safe for any number of threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_partner(self, partner_id: str) -> list[Invoice]:
        """All invoices of a partner, in the order in which they were made."""
        return self.of_partners([partner_id])[partner_id]

    def of_partners(self, partner_ids: Sequence[str]) -> dict[str, list[Invoice]]:
        """The same of each of some partners."""
        # Heads first: an invoice that is made in between is then not seen, and none is seen without its lines.
        of_heads = select(*_HEAD).where(invoices.c.partner_id.in_(partner_ids)).order_by(invoices.c.number)
        of_lines = select(invoice_lines).where(invoice_lines.c.partner_id.in_(partner_ids))
        with self._engine.connect() as connection:
            heads = connection.execute(of_heads).all()
            rows = connection.execute(of_lines.order_by(invoice_lines.c.number, invoice_lines.c.line)).all()
        lines: dict[tuple[str, int], list[Line]] = {}
        for row in rows:
            lines.setdefault((row.partner_id, row.number), []).append(_line(row))
        found: dict[str, list[Invoice]] = {partner_id: [] for partner_id in partner_ids}
        for head in heads:
            found[head.partner_id].append(_invoice(head, lines.get((head.partner_id, head.number), [])))
        return found

    def daily(self, partner_id: str, number: int) -> Daily | None:
        """The usage by day that an invoice was closed with; None if it was not kept yet then."""
        wanted = select(invoices.c.daily).where(invoices.c.partner_id == partner_id, invoices.c.number == number)
        with self._engine.connect() as connection:
            kept = connection.execute(wanted).scalar_one()
        return None if kept is None else msgspec.json.decode(kept, type=Daily)

    def add(self, invoice: Invoice, used: Iterable[Approval], daily: Daily | None = None) -> None:
        """Keep a new invoice with its lines, all or nothing.

        MadeMeanwhile if its number or its period is taken, or its period is not one of the partner's (any more).
        """
        key = {"partner_id": invoice.partner_id, "number": invoice.number}
        head = {
            **key,
            "first_day": invoice.period.first_day,
            "last_day": invoice.period.last_day,
            "prices_before_ms": invoice.prices_before_ms,
            "cut": msgspec.json.encode(invoice.cut).decode(),
            "limit_percent": invoice.limit_percent,
            "line_count": len(invoice.lines),
            "sha256": invoice.sha256,
            "manifest": msgspec.json.encode(invoice.manifest).decode(),
            "closed_by": invoice.closed_by,
            "closed_ms": invoice.closed_ms,
            "daily": None if daily is None else msgspec.json.encode(daily).decode(),
        }
        rows = [{**key, "line": n, **_row(line)} for n, line in enumerate(invoice.lines, start=1)]
        approvals = [{**key, "approval_id": approval.id} for approval in used]
        try:
            with writing(self._engine) as connection:
                lock_schedule(connection, invoice.partner_id)
                if not is_scheduled(connection, invoice.partner_id, invoice.period):
                    raise MadeMeanwhile(
                        f"{invoice.period} is not a period of {invoice.partner_id}: it was moved meanwhile"
                    )
                connection.execute(insert(invoices).values(head))
                if rows:
                    connection.execute(insert(invoice_lines), rows)
                if approvals:
                    connection.execute(insert(correction_approvals_used), approvals)
        except IntegrityError:
            taken = [one for one in self.of_partner(invoice.partner_id) if one.number >= invoice.number]
            if not taken:
                raise
            raise MadeMeanwhile(f"invoice {taken[0].number} of {invoice.partner_id} was made meanwhile") from None

    def approve(
        self, partner_id: str, period: Period, lines: Sequence[Line], by: str, reason: str, now_ms: int
    ) -> None:
        """Let a correction through, as it stands; ValueError without a reason or a person."""
        if not reason.strip() or not by.strip():
            raise ValueError("an approval says why, and who decided it")
        row = {
            "partner_id": partner_id,
            "first_day": period.first_day,
            "last_day": period.last_day,
            "lines": msgspec.json.encode(lines).decode(),
            "approved_by": by.strip(),
            "reason": reason.strip(),
            "approved_ms": now_ms,
        }
        with writing(self._engine) as connection:
            connection.execute(insert(correction_approvals).values(row))

    def approvals(self, partner_id: str, *, used_by: int | None = None) -> list[Approval]:
        """The approvals of a partner that no invoice has used, or those that one has, in order."""
        if used_by is None:
            return self.unused_approvals([partner_id])[partner_id]
        of_invoice = select(correction_approvals_used.c.approval_id).where(
            correction_approvals_used.c.partner_id == partner_id, correction_approvals_used.c.number == used_by
        )
        wanted = select(correction_approvals).where(correction_approvals.c.id.in_(of_invoice))
        with self._engine.connect() as connection:
            return [_approval(row) for row in connection.execute(wanted.order_by(correction_approvals.c.id))]

    def unused_approvals(self, partner_ids: Sequence[str]) -> dict[str, list[Approval]]:
        """The approvals of each of some partners that no invoice has used, in order."""
        wanted = select(correction_approvals).where(
            correction_approvals.c.partner_id.in_(partner_ids),
            correction_approvals.c.id.not_in(select(correction_approvals_used.c.approval_id)),
        )
        found: dict[str, list[Approval]] = {partner_id: [] for partner_id in partner_ids}
        with self._engine.connect() as connection:
            for row in connection.execute(wanted.order_by(correction_approvals.c.id)):
                found[row.partner_id].append(_approval(row))
        return found


def closed_periods(issued: Sequence[Invoice]) -> list[ClosedPeriod]:
    """The periods of some invoices, each with every line that these invoices have of it."""
    lines: dict[Period, list[Line]] = {invoice.period: [] for invoice in issued}
    for line in (line for invoice in issued for line in invoice.lines):
        lines[line.period].append(line)
    return [ClosedPeriod(invoice.period, invoice.number, tuple(lines[invoice.period])) for invoice in issued]


def _row(line: Line) -> dict[str, object]:
    price = line.price
    return {
        "first_day": line.period.first_day,
        "last_day": line.period.last_day,
        "corrects": line.corrects,
        "owner_id": line.key.owner_id,
        "subscription_id": line.key.subscription_id,
        "service": line.key.service,
        "quantity_microdays": line.quantity_microdays,
        "kind": price and price.kind,
        "unit_price": price and price.unit_price,
        "currency": price and price.currency,
        "sku": price and price.sku,
        "description": price and price.description,
        "price_version": price and price.version,
        "amount_minor": line.amount_minor,
        "residue_minor": line.residue_minor,
        "unpriced": line.unpriced,
    }


def _line(row: Row[tuple[object, ...]]) -> Line:
    price = None
    if row.amount_minor is not None:
        price = Price(row.kind, row.currency, row.unit_price, row.sku, row.description, row.price_version)
    return Line(
        Period(row.first_day, row.last_day),
        row.corrects,
        UsageKey(row.owner_id, row.subscription_id, row.service),
        price,
        row.unpriced,
        row.quantity_microdays,
        row.amount_minor,
        row.residue_minor,
    )


def _invoice(row: Row[tuple[object, ...]], lines: Sequence[Line]) -> Invoice:
    return Invoice(
        row.partner_id,
        row.number,
        Period(row.first_day, row.last_day),
        row.prices_before_ms,
        msgspec.json.decode(row.cut, type=Cut),
        row.limit_percent,
        tuple(lines),
        row.sha256,
        msgspec.json.decode(row.manifest, type=Manifest),
        row.closed_by,
        row.closed_ms,
    )


def _approval(row: Row[tuple[object, ...]]) -> Approval:
    lines = msgspec.json.decode(row.lines, type=tuple[Line, ...])
    period = Period(row.first_day, row.last_day)
    return Approval(row.id, period, lines, row.approved_by, row.reason, row.approved_ms)
