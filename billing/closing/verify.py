"""Whether an invoice is what the raw events of its cut give, and whether its lines are those that were hashed."""

from collections.abc import Sequence

from msgspec import Struct

from billing.closing.close import Books
from billing.closing.corrections import Approval
from billing.closing.draft import draft_invoice
from billing.closing.invoices import Invoice, closed_periods
from billing.closing.lines import RULES, Line, sha256_of, written
from billing.closing.recomputed import catalog_at, usage_recomputed


class CannotVerify(Exception):
    """There is no such invoice, or it was made by rules that this release does not have."""


class Verified(Struct, frozen=True):
    """What became of it. `stored`: the hash of the lines as they stand in the register; `recomputed`: from raw events."""

    invoice: Invoice
    stored: str
    recomputed: str
    difference: str

    @property
    def holds(self) -> bool:
        """Whether all three hashes are one."""
        return self.invoice.sha256 == self.invoice.manifest.sha256 == self.stored == self.recomputed


def verify_invoice(books: Books, issued: Sequence[Invoice], number: int) -> Verified:
    """Make an invoice again from the raw events at its cut; RawEventsMissing, CannotVerify. `issued`: all of its partner.

    The lines of the partner's invoices before it are taken as they are stored: verify those as well.
    """
    invoice = next((one for one in issued if one.number == number), None)
    if invoice is None:
        raise CannotVerify(f"there is no invoice {number}")
    partner_id = invoice.partner_id
    if invoice.manifest.rules != RULES:
        raise CannotVerify(f"invoice {number} was made by rules {invoice.manifest.rules}; this release has {RULES}")
    before = [one for one in issued if one.number < number]
    catalog = catalog_at(books.store, books.names, invoice.cut.catalog)
    periods = [invoice.period, *(one.period for one in before)]
    prices_before = {one.period: one.prices_before_ms for one in (*before, invoice)}
    used: list[Approval] = books.invoices.approvals(partner_id, used_by=number)
    draft = draft_invoice(
        invoice.period,
        usage_recomputed(books.store, books.names, invoice.cut, catalog.state, partner_id, periods),
        closed_periods(before),
        catalog.prices,
        prices_before.__getitem__,
        used,
        invoice.limit_percent,
    )
    return Verified(invoice, sha256_of(invoice.lines), sha256_of(draft.lines), _difference(invoice, draft.lines))


def _difference(invoice: Invoice, lines: tuple[Line, ...]) -> str:
    """The first line that is not the same, as stored and as recomputed; '' if there is none."""
    stored, again = written(invoice.lines), written(lines)
    for n in range(max(len(stored), len(again))):
        ours = stored[n].decode() if n < len(stored) else "no line"
        theirs = again[n].decode() if n < len(again) else "no line"
        if ours != theirs:
            return f"line {n + 1}: stored {ours}, recomputed {theirs}"
    return ""
