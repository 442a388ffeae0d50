"""An invoice as it would be made: its own lines, the corrections of the periods closed before, and what waits."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from billing.closing.corrections import Approval, ClosedPeriod, Correction, correction_of
from billing.closing.lines import Line, Quantities, lines_of
from billing.closing.period import Period
from billing.closing.prices import Price, PriceBook, Unpriced

#: The instant before which a subscription's version must lie to be in force in a period, in ms since the epoch.
PricesBefore = Callable[[Period], int]


class Draft(Struct, frozen=True):
    """Own lines first, then corrections by period. `waiting`: corrections that are not on it."""

    period: Period
    lines: tuple[Line, ...]
    waiting: tuple[Correction, ...]
    used: tuple[Approval, ...]

    @property
    def unpriced(self) -> list[Line]:
        """Usage that no amount stands for: what a close must be told to accept."""
        return [line for line in self.lines if line.price is None and line.quantity_microdays > 0]


def draft_invoice(
    period: Period,
    usage: Mapping[Period, Quantities],
    closed: Iterable[ClosedPeriod],
    prices: PriceBook,
    prices_before: PricesBefore,
    approvals: Sequence[Approval],
    limit_percent: int,
) -> Draft:
    """The invoice of a period that is not closed. `usage`: of it and of every closed one, all at one cut."""
    lines = lines_of(period, None, usage[period], (), _prices_of(period, prices, prices_before))
    found = corrections_of(usage, closed, prices, prices_before, approvals, limit_percent)
    waiting = tuple(correction for correction in found if correction.waits)
    for correction in found:
        if not correction.waits:
            lines += correction.lines
    used = tuple(correction.approval for correction in found if correction.approval is not None)
    return Draft(period, tuple(lines), waiting, used)


def corrections_of(
    usage: Mapping[Period, Quantities],
    closed: Iterable[ClosedPeriod],
    prices: PriceBook,
    prices_before: PricesBefore,
    approvals: Sequence[Approval],
    limit_percent: int,
) -> list[Correction]:
    """What is to be corrected of closed periods, in their order: what an invoice has of it, and what waits."""
    found = []
    for one in sorted(closed, key=lambda one: one.period):
        price_of = _prices_of(one.period, prices, prices_before)
        correction = correction_of(one, usage[one.period], price_of, approvals, limit_percent)
        if correction is not None:
            found.append(correction)
    return found


def _prices_of(
    period: Period, prices: PriceBook, prices_before: PricesBefore
) -> Callable[[str, str], Price | Unpriced]:
    before_ms = prices_before(period)
    return lambda subscription_id, service: prices.price(subscription_id, service, before_ms)
