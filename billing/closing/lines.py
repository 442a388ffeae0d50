"""Lines of an invoice: what a period's usage is worth now, less what was invoiced of it before (rule 25).

An invoice's own lines and the corrections of earlier periods are made by this one formula; of the own period nothing
was invoiced before. Amounts telescope: of each owner org, subscription and service the amounts of all lines of a
period add up to the amount of its whole quantity, rounded once. So a correction's amount may differ from its own
quantity × price by the rounding of the lines before it: that is the residue, and it is part of the amount.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from billing.closing.money import amount_text, monthly_amount, one_time_amount
from billing.closing.period import Period
from billing.closing.prices import ONE_TIME, Price, Unpriced
from schemas.instants import day_text

#: Names how lines are made and written; another number where that changes, so that old hashes can be told apart.
RULES = "1"


class UsageKey(Struct, frozen=True, order=True):
    """Whose usage of what, on which purchase order."""

    owner_id: str
    subscription_id: str
    service: str


#: Usage of a period, in microdays.
Quantities = dict[UsageKey, int]
#: The price of (subscription, service) in a period that nothing was priced in yet.
PriceOf = Callable[[str, str], Price | Unpriced]


class Line(Struct, frozen=True):
    """One line. `corrects`: the number of the invoice of its period, None if that is the line's own.

    Without a price there is no amount, but the reason in `unpriced`. `residue_minor` is the part of the amount that is
    not the line's own quantity × price, rounded.
    """

    period: Period
    corrects: int | None
    key: UsageKey
    price: Price | None
    unpriced: str
    quantity_microdays: int
    amount_minor: int | None
    residue_minor: int


class _Invoiced:
    """What earlier lines say of one key."""

    __slots__ = ("amount_minor", "priced", "unpriced")

    def __init__(self) -> None:
        self.priced = 0
        self.unpriced = 0
        self.amount_minor = 0


def amount_of(price: Price, quantity_microdays: int, days: int) -> int:
    """What a quantity costs where a month has so many days, in minor units of the price's currency."""
    if price.kind == ONE_TIME:
        return one_time_amount(price.unit_price, quantity_microdays, price.currency)
    return monthly_amount(price.unit_price, quantity_microdays, days, price.currency)


def lines_of(
    period: Period, corrects: int | None, now: Quantities, before: Iterable[Line], price_of: PriceOf
) -> list[Line]:
    """The lines that bring what was invoiced of a period, `before`, to what its usage is worth `now`; in order.

    A price that a line of the period has stays that of its subscription and service for the period. What had no price
    and now has one is taken back as unpriced, and invoiced.
    """
    invoiced: dict[UsageKey, _Invoiced] = {}
    pinned: dict[tuple[str, str], Price] = {}
    for line in before:
        sums = invoiced.setdefault(line.key, _Invoiced())
        if line.price is None or line.amount_minor is None:
            sums.unpriced += line.quantity_microdays
        else:
            sums.priced += line.quantity_microdays
            sums.amount_minor += line.amount_minor
            pinned.setdefault((line.key.subscription_id, line.key.service), line.price)
    lines = []
    for key in sorted({*now, *invoiced}):
        sums = invoiced.get(key, _Invoiced())
        price = pinned.get((key.subscription_id, key.service)) or price_of(key.subscription_id, key.service)
        quantity = now.get(key, 0)
        if isinstance(price, Unpriced):
            if quantity != sums.unpriced:
                lines.append(Line(period, corrects, key, None, price.why, quantity - sums.unpriced, None, 0))
            continue
        if sums.unpriced:
            lines.append(Line(period, corrects, key, None, "has a price now", -sums.unpriced, None, 0))
        if quantity != sums.priced:
            amount = amount_of(price, quantity, period.priced_days) - sums.amount_minor
            own = amount_of(price, quantity - sums.priced, period.priced_days)
            lines.append(Line(period, corrects, key, price, "", quantity - sums.priced, amount, amount - own))
    return lines


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """Amounts by currency, in minor units, currencies in order. Without taxes: there are none here."""
    sums: dict[str, int] = {}
    for line in lines:
        if line.price is not None and line.amount_minor is not None:
            sums[line.price.currency] = sums.get(line.price.currency, 0) + line.amount_minor
    return dict(sorted(sums.items()))


def written(lines: Iterable[Line]) -> list[bytes]:
    """Each line as the bytes that are hashed: a JSON array, in the order of docs/closing.md."""
    return [msgspec.json.encode(_cells(number, line)) for number, line in enumerate(lines, start=1)]


def sha256_of(lines: Sequence[Line]) -> str:
    """The hash of the lines as written, one a row."""
    return hashlib.sha256(b"".join(row + b"\n" for row in written(lines))).hexdigest()


def _cells(number: int, line: Line) -> list[object]:
    price, amount = line.price, line.amount_minor
    priced = price is not None and amount is not None
    return [
        number,
        day_text(line.period.first_day),
        day_text(line.period.last_day),
        line.corrects,
        line.key.owner_id,
        line.key.subscription_id,
        line.key.service,
        line.quantity_microdays,
        line.period.priced_days,
        *([price.kind, price.unit_price, price.currency, price.sku, price.description, price.version] if price else []),
        *([amount_text(amount, price.currency), amount_text(line.residue_minor, price.currency)] if priced else []),  # type: ignore[arg-type, union-attr]
        line.unpriced,
    ]
