"""Which corrections stand on the next invoice, and which wait for a person.

A correction is all that changed in one closed period: value now − value at the cut − corrections issued. It is issued
whole or not at all. One that is larger than a share of the invoice of its period waits until somebody approves it;
what has come since then may be larger than what was approved by that share again.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from billing.closing.lines import Line, PriceOf, Quantities, lines_of, totals
from billing.closing.period import Period

#: Per cent of the invoice of the period.
DEFAULT_LIMIT_PERCENT = 10


class Approval(Struct, frozen=True):
    """A person's decision on a correction, as it stood then. `amounts`: by currency, the sum of its lines' sizes."""

    id: int
    period: Period
    lines: tuple[Line, ...]
    approved_by: str
    reason: str
    approved_ms: int


class ClosedPeriod(Struct, frozen=True):
    """A period with its invoice's number, and every line that was issued of it, corrections included."""

    period: Period
    number: int
    lines: tuple[Line, ...]

    @property
    def original(self) -> list[Line]:
        """The lines of the invoice of the period itself."""
        return [line for line in self.lines if line.corrects is None]


class Correction(Struct, frozen=True):
    """What a closed period's next correction is. `waits`: it is larger than anybody approved."""

    period: Period
    number: int
    lines: tuple[Line, ...]
    waits: bool
    approval: Approval | None = None


def correction_of(
    closed: ClosedPeriod, now: Quantities, price_of: PriceOf, approvals: Iterable[Approval], limit_percent: int
) -> Correction | None:
    """The correction of a closed period, from its usage as it is now; None where nothing changed.

    `approvals`: those of the period that no invoice has used.
    """
    lines = tuple(lines_of(closed.period, closed.number, now, closed.lines, price_of))
    if not lines:
        return None
    limits = _sizes(closed.original)
    if _within(_sizes(lines), limits, limit_percent):
        return Correction(closed.period, closed.number, lines, waits=False)
    for approval in approvals:
        if approval.period == closed.period and _within(_apart(lines, approval.lines), limits, limit_percent):
            return Correction(closed.period, closed.number, lines, waits=False, approval=approval)
    return Correction(closed.period, closed.number, lines, waits=True)


def _sizes(lines: Iterable[Line]) -> dict[str, int]:
    """By currency, the sum of the lines' amounts without their signs: a charge and a credit do not hide one another."""
    sizes: dict[str, int] = {}
    for line in lines:
        if line.price is not None and line.amount_minor is not None:
            sizes[line.price.currency] = sizes.get(line.price.currency, 0) + abs(line.amount_minor)
    return sizes


def _apart(lines: Sequence[Line], approved: Sequence[Line]) -> dict[str, int]:
    """By currency, how far two corrections of a period are apart."""
    apart: dict[str, int] = {}
    for key in {line.key for line in (*lines, *approved)}:
        ours = totals(line for line in lines if line.key == key)
        theirs = totals(line for line in approved if line.key == key)
        for currency in {*ours, *theirs}:
            difference = abs(ours.get(currency, 0) - theirs.get(currency, 0))
            apart[currency] = apart.get(currency, 0) + difference
    return apart


def _within(sizes: dict[str, int], limits: dict[str, int], limit_percent: int) -> bool:
    return all(100 * size <= limit_percent * limits.get(currency, 0) for currency, size in sizes.items())
