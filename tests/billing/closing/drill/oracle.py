"""What the invoices must be, from the facts alone: by the second implementation of the rules, and in decimals.

Each customer is metered by `tests.oracle`, which looks backwards from each fact and carries no state. Its holdings are
integrated over a whole month at once, where the close sums days. Money is a `Decimal` of the whole quantity of a month.
Nothing here comes from the code that closes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import chain, islice

import orjson

from tests.billing.closing.drill.world import CURRENCIES, MONTHS, period_days
from tests.oracle.metering import (
    CATALOG_FIELDS,
    EPOCH,
    MICRO,
    PARTNER,
    SUBSCRIPTION,
    Account,
    Fact,
    accept,
    catalog_identity,
    grid,
    latest_versions,
    meter,
)

_EXACT = Context(prec=60)
_CUSTOMERS_AT_ONCE = 200
_FIELDS = {month: period_days(month) for month in MONTHS}


@dataclass(frozen=True, order=True)
class Key:
    """Whose usage of what, in which month, on which purchase order, and on whose invoice (rules 22, 24 and 25)."""

    partner: str
    month: str
    owner: str
    subscription: str
    service: str


@dataclass(frozen=True)
class Price:
    """What the purchase order says: by the version in force at the month's end."""

    kind: str
    currency: str
    unit_price: str
    sku: str
    description: str


@dataclass(frozen=True)
class Known:
    """What is known at a cut: microdays of each key that has any, and each key's price."""

    quantities: dict[Key, int]
    prices: dict[tuple[str, str, str], Price]

    def price(self, key: Key) -> Price:
        """That of a key's month, subscription and service."""
        return self.prices[key.month, key.subscription, key.service]

    def worth_minor(self, key: Key) -> int:
        """The key's whole quantity, priced and rounded once, in minor units."""
        return amount_minor(self.price(key), self.quantities.get(key, 0), key.month)


def amount_minor(price: Price, microdays: int, month: str) -> int:
    """Rule 25: price × quantity / days of the month, a one-time item price × quantity; half to even."""
    first, last = _FIELDS[month]
    parts = MICRO * (1 if price.kind == "one-time" else (last - first).days + 1)
    exact = _EXACT.divide(_EXACT.multiply(Decimal(price.unit_price), microdays), parts)
    digits = CURRENCIES[price.currency]
    return int(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, _EXACT).scaleb(digits))


class Oracle:
    """Learns what arrives, stage by stage; only the customers that something came of are metered again."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._catalog: list[bytes] = []
        self._lines: defaultdict[Account, list[bytes]] = defaultdict(list)
        self._usage: dict[Account, _Usage] = {}

    def learn(self, catalog: Iterable[bytes], events: Iterable[bytes], received_at_ms: int) -> Known:
        """What is known once these have arrived too."""
        self._catalog += catalog
        touched = set()
        for line in events:
            data = orjson.loads(line)["data"]
            account = data["partnerOrgId"], data["customerOrgId"]
            self._lines[account].append(line)
            touched.add(account)
        order = sorted(touched)
        work = ((self._lines[account], received_at_ms) for account in order)
        for account, usage in zip(order, self._metered(work), strict=True):
            self._usage[account] = usage
        return self._known(received_at_ms)

    def _metered(self, work: Iterable[tuple[list[bytes], int]]) -> Iterator["_Usage"]:
        pieces = iter(lambda: list(islice(work, _CUSTOMERS_AT_ONCE)), [])
        work = iter(work)
        if self._processes < 2:
            yield from chain.from_iterable(map(_usages, pieces))
            return
        with ProcessPoolExecutor(self._processes) as pool:
            yield from chain.from_iterable(pool.map(_usages, pieces))

    def _known(self, received_at_ms: int) -> Known:
        versions = accept(self._catalog, CATALOG_FIELDS, catalog_identity, received_at_ms).facts
        partners = latest_versions(versions, PARTNER, "partnerOrgId")
        quantities: Counter[Key] = Counter()
        for (owner, _), usage in self._usage.items():
            if usage.internal:
                continue
            entry = partners[owner]
            partner = entry.get("parentOrgId", owner)
            begins = date.fromisoformat(entry.get("billingStartDate", "1970-01-01")) if partner != owner else EPOCH
            subscription = usage.subscription or partners[partner]["subscriptionId"]
            for month in MONTHS:
                for service, microdays in usage.of_month(month, begins).items():
                    quantities[Key(partner, month, owner, subscription, service)] += microdays
        return Known({key: microdays for key, microdays in quantities.items() if microdays}, _prices(versions))


@dataclass(frozen=True)
class _Usage:
    """One customer: what ran from when to when, on the grid (None: still), its one-time items, and what describes it."""

    held: list[tuple[str, int, int | None]]
    ordered: list[tuple[str, date, int]]
    subscription: str | None
    internal: bool

    def of_month(self, month: str, begins: date) -> Counter[str]:
        """Microdays of each service in a month, from a sub-partner's billing start on (rules 14, 18 and 23)."""
        first, last = _FIELDS[month]
        since, until = ((day - EPOCH).days * MICRO for day in (max(first, begins), last + timedelta(days=1)))
        sums: Counter[str] = Counter()
        for item, start, end in self.held:
            sums[item] += max(0, (until if end is None else min(end, until)) - max(start, since))
        for item, day, microdays in self.ordered:
            if max(first, begins) <= day <= last:
                sums[item] += microdays
        return sums


def _usages(customers: list[tuple[list[bytes], int]]) -> list[_Usage]:
    return [_usage(lines, received_at_ms) for lines, received_at_ms in customers]


def _usage(lines: list[bytes], received_at_ms: int) -> _Usage:
    metered = meter([], lines, received_at_ms=received_at_ms)
    if metered.refused:
        raise ValueError(f"the oracle refuses {lines[metered.refused[0][0]]!r}: {metered.refused[0][1]}")
    described = next(iter(metered.customers.values()), {})
    return _Usage(
        [(one.item, grid(one.start_ms), None if one.end_ms is None else grid(one.end_ms)) for one in metered.holdings],
        [(order.item, order.day, order.microdays) for order in metered.orders],
        described.get("subscriptionId"),
        described.get("internal", False),
    )


def _prices(versions: list[Fact]) -> dict[tuple[str, str, str], Price]:
    """By month, subscription and service: of the latest version whose time is before the month's end."""
    prices: dict[tuple[str, str, str], Price] = {}
    for month, (_, last) in _FIELDS.items():
        end_ms = ((last - EPOCH).days + 1) * 86_400_000
        in_force = latest_versions([one for one in versions if one.time_ms < end_ms], SUBSCRIPTION, "subscriptionId")
        for name, data in in_force.items():
            for entry in data["services"]:
                price = Price(entry["kind"], data["currency"], entry["unitPrice"], entry["sku"], entry["description"])
                prices.setdefault((month, name, entry["service"].upper()), price)
    return prices
