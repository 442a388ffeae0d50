"""An invoice beside the reports of its period: at its cut they say the same, and since then they say what has changed."""

from collections.abc import Iterable

from msgspec import Struct

from billing.closing.close import Books
from billing.closing.evidence import moment_of
from billing.closing.invoices import Invoice
from billing.closing.lines import Line, Quantities, UsageKey
from billing.closing.recomputed import catalog_at, usage_recomputed
from billing.closing.usage import billed_owners, usage_by_days


class Beside(Struct, frozen=True):
    """One org, subscription and service, in microdays.

    `invoiced`: on the invoice of the period; `at_cut`: in the PARTNER report at its cut; `now`: in that of now;
    `corrected`: on later invoices.
    """

    key: UsageKey
    invoiced: int
    at_cut: int
    now: int
    corrected: int

    @property
    def agrees(self) -> bool:
        """Whether the report at the cut is what was invoiced."""
        return self.invoiced == self.at_cut

    @property
    def still_to_correct(self) -> int:
        """What the next invoice has of it."""
        return self.now - self.invoiced - self.corrected


def beside_reports(books: Books, invoice: Invoice) -> list[Beside]:
    """Every service that the invoice, or a report of its period, has; RawEventsMissing.

    Of an invoice that was just made by one query; of an older one the raw events before its cut are metered again.
    """
    moment = moment_of(books.store, books.engine, books.names)
    owners = billed_owners(moment.catalog.state, invoice.partner_id, invoice.period)
    now = usage_by_days(books.store, moment.cut, owners, invoice.period)
    at_cut = now
    if invoice.cut != moment.cut:
        # Not from the history: in a store that was filled anew, no run need have ended at the cut, and then it has no row
        # of it. It has one of the moment's, which is where its last run ended.
        then = catalog_at(books.store, books.names, invoice.cut.catalog).state
        whole = (books.store, books.names, invoice.cut, then, invoice.partner_id, [invoice.period])
        at_cut = usage_recomputed(*whole)[invoice.period]
    issued = books.invoices.of_partner(invoice.partner_id)
    return beside(invoice, (line for one in issued for line in one.lines), at_cut, now)


def beside(invoice: Invoice, issued: Iterable[Line], at_cut: Quantities, now: Quantities) -> list[Beside]:
    """The same from the lines of all invoices of the partner. Pure."""
    invoiced: Quantities = {}
    corrected: Quantities = {}
    for line in issued:
        if line.period == invoice.period:
            sums = invoiced if line.corrects is None else corrected
            sums[line.key] = sums.get(line.key, 0) + line.quantity_microdays
    return [
        Beside(key, invoiced.get(key, 0), at_cut.get(key, 0), now.get(key, 0), corrected.get(key, 0))
        for key in sorted({*invoiced, *at_cut, *now, *corrected})
    ]
