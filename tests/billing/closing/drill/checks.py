"""The register held to the oracle. Each check gives the differences that it found, in words; the first ones are shown.

1. `wrong_sums`: over all invoices, each month's quantity of each key is the oracle's in the end, and its amounts are that
   quantity priced and rounded once.
2. `wrong_lines`: each invoice by itself has what the oracle knew at its cut: its own month, and of each earlier one what
   is not on the invoices before it, whole, or not at all where it is too large and nobody approved it.
3. `wrong_invoices`: each partner has one whole invoice of each month, numbered in order.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.billing.closing.drill.oracle import Key, Known, Price, amount_minor
from tests.billing.closing.drill.register import Invoice, Line
from tests.billing.closing.drill.world import MONTHS

_LIMIT_PERCENT = 10


def wrong_sums(invoices: Iterable[Invoice], known: Known) -> Iterator[str]:
    """Check 1. Money is compared by kind and currency too: a line in the wrong one does not hide in a sum."""
    quantities: Counter[Key] = Counter()
    amounts: Counter[tuple[Key, str | None, str | None]] = Counter()
    for line in (line for invoice in invoices for line in invoice.lines):
        quantities[line.key] += line.quantity_microdays
        amounts[line.key, line.kind, line.currency] += line.amount_minor or 0
    for key in sorted({*quantities, *known.quantities}):
        expected = known.quantities.get(key, 0)
        if quantities[key] != expected:
            yield f"{key}: {quantities[key]} microdays on all invoices, {expected} by the oracle"
    expected_amounts: Counter[tuple[Key, str | None, str | None]] = Counter()
    for key in known.quantities:
        price = known.price(key)
        expected_amounts[key, price.kind, price.currency] = known.worth_minor(key)
    for which in {*amounts, *expected_amounts}:
        if amounts[which] != expected_amounts[which]:
            key, kind, currency = which
            shown = f"{amounts[which]} minor units on all invoices, {expected_amounts[which]} by the oracle"
            yield f"{key}, {kind}, {currency}: {shown}"


def wrong_lines(invoices: Iterable[Invoice], at_cuts: Sequence[Known], approvals: Iterable[tuple[str, str, int]]) -> Iterator[str]:  # fmt: skip
    """Check 2. `at_cuts`: what was known at each close; `approvals`: partner, corrected month, and before which close."""
    unused: Counter[tuple[str, str, int] | None] = Counter(approvals)
    by_partner: defaultdict[str, list[Invoice]] = defaultdict(list)
    for invoice in invoices:
        by_partner[invoice.partner].append(invoice)
    of_partners = [_by_partner(known) for known in at_cuts]
    for partner, issued in by_partner.items():
        before: list[Line] = []
        for invoice in issued:
            cut = MONTHS.index(invoice.month)
            known, quantities = at_cuts[cut], of_partners[cut][partner]
            own = [line for line in invoice.lines if line.corrects is None]
            yield from _apart(invoice, invoice.month, own, _due(known, quantities, [], invoice.month, None))
            for number, month in enumerate(MONTHS[:cut], start=1):
                due = _due(known, quantities, before, month, number)
                found = [line for line in invoice.lines if line.corrects == number]
                large = _is_large(due, [line for line in before if line.key.month == month and line.corrects is None])
                if large and not found:
                    if month not in invoice.waiting:
                        yield f"{partner}, invoice {invoice.number}: the correction of {month} is left out in silence"
                    continue
                if large:
                    approval = next((one for n in range(cut + 1) if unused[one := (partner, month, n)]), None)
                    unused[approval] -= 1
                    if approval is None:
                        yield f"{partner}, invoice {invoice.number}: nobody approved the large correction of {month}"
                yield from _apart(invoice, month, found, due)
            before += invoice.lines


def wrong_invoices(invoices: Sequence[Invoice], partners: Iterable[str]) -> Iterator[str]:
    """Check 3."""
    seen = Counter((invoice.partner, invoice.number, invoice.month) for invoice in invoices)
    wanted = Counter((partner, n, month) for partner in partners for n, month in enumerate(MONTHS, start=1))
    for which in sorted({*seen, *wanted}):
        if seen[which] != wanted[which]:
            yield f"{which}: {seen[which]} invoices, not {wanted[which]}"
    yield from not_whole(invoices)


def not_whole(invoices: Iterable[Invoice]) -> Iterator[str]:
    """The part of check 3 that holds at any time, also just after a kill."""
    for invoice in invoices:
        if not invoice.whole:
            yield f"{invoice.partner}, invoice {invoice.number}: its lines are not those that were hashed"


def _by_partner(known: Known) -> defaultdict[str, dict[Key, int]]:
    found: defaultdict[str, dict[Key, int]] = defaultdict(dict)
    for key, quantity in known.quantities.items():
        found[key.partner][key] = quantity
    return found


def _due(known: Known, quantities: dict[Key, int], before: Iterable[Line], month: str, corrects: int | None) -> list[Line]:  # fmt: skip
    """The lines that bring what was invoiced of a month to what is known of it."""
    invoiced: Counter[Key] = Counter()
    paid: Counter[Key] = Counter()
    for line in before:
        if line.key.month == month:
            invoiced[line.key] += line.quantity_microdays
            paid[line.key] += line.amount_minor or 0
    due = []
    for key in sorted({*(key for key in quantities if key.month == month), *invoiced}):
        more = quantities.get(key, 0) - invoiced[key]
        if more:
            price = known.price(key)
            amount = known.worth_minor(key) - paid[key]
            due.append(_line(key, corrects, price, more, amount, amount - amount_minor(price, more, month)))
    return due


def _line(key: Key, corrects: int | None, price: Price, microdays: int, amount: int, residue: int) -> Line:
    named = (price.kind, price.unit_price, price.currency, price.sku, price.description)
    return Line(key, corrects, microdays, *named, amount, residue)


def _is_large(due: Iterable[Line], original: Iterable[Line]) -> bool:
    """docs/closing.md: in any currency larger than so much of the month's invoice, credits not set off against charges."""
    ours, theirs = (_sizes(lines) for lines in (due, original))
    return any(100 * size > _LIMIT_PERCENT * theirs[currency] for currency, size in ours.items())


def _sizes(lines: Iterable[Line]) -> Counter[str | None]:
    sizes: Counter[str | None] = Counter()
    for line in lines:
        sizes[line.currency] += abs(line.amount_minor or 0)
    return sizes


def _apart(invoice: Invoice, month: str, found: Iterable[Line], due: Iterable[Line]) -> Iterator[str]:
    ours, theirs = Counter(found), Counter(due)
    name = f"{invoice.partner}, invoice {invoice.number}, {month}"
    for line in ours - theirs:
        yield f"{name}: has {line}, which the oracle has not"
    for line in theirs - ours:
        yield f"{name}: lacks {line}, which the oracle has"
