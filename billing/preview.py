"""What a set of events would change before it is sent: reports, months that are open, and months that are closed.

Each customer's events are judged after all that the store has of the customer, by the core itself; nothing is written.
The state of one customer at a time is in memory, and of each what changes by day.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from billing.audit.raw_events import events_of_customer
from billing.closing.invoices import Invoice
from billing.closing.period import Period
from billing.closing.schedule import FirstDay, scheduled_period
from billing.foresight import AccountChange, Fate, Judged, foresee
from schemas.catalog import decode_catalog
from schemas.instants import day_number, day_text
from schemas.reasons import Refused
from schemas.routing import route_of
from schemas.topics import CATALOG, TopicNames
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState

#: An offset after every one that there is.
_AFTER_ALL = 1 << 62


class Refusal(Struct, frozen=True):
    """A line, counted from 1, that would become a dead letter."""

    line: int
    reason: str
    detail: str


class Touched(Struct, frozen=True):
    """Usage of one org and service in one period that would change. `invoice`: the number of the period's, if it is closed.

    `internal_microdays`: the part of internal customers, which no invoice has.
    """

    partner_id: str
    owner_id: str
    service: str
    period: Period
    invoice: int | None
    difference_microdays: int
    internal_microdays: int
    customers: int


class ForeseenLines(Struct, frozen=True):
    """`fates`: lines by what would become of them. `accounts`: what would change; `refused` in the order of the lines."""

    fates: dict[Fate, int]
    refused: list[Refusal]
    accounts: list[AccountChange]
    catalog_entries: int
    day_closes: int


class Calendar(Struct, frozen=True):
    """Whose invoice an org's usage is on, and in which period a day is. `invoices`, `first_days`: by partner."""

    catalog: CatalogState
    invoices: Mapping[str, Sequence[Invoice]]
    first_days: Mapping[str, Sequence[FirstDay]]

    def partner_of(self, owner_id: str) -> str:
        """The partner on whose invoice the org's usage is (rule 24)."""
        return partner_of(self.catalog, owner_id)

    def billed_from(self, owner_id: str) -> int | None:
        """The day before which an org's usage is neither reported nor billed (rule 23)."""
        entry = self.catalog.partners.get(owner_id)
        if entry is None or entry.parent_org_id is None or entry.billing_start_date is None:
            return None
        return day_number(entry.billing_start_date)

    def period_of_day(self, partner_id: str, day: int) -> tuple[Period, int | None]:
        """The period with a day, and the number of its invoice if it is closed."""
        for invoice in self.invoices.get(partner_id, ()):
            if invoice.period.first_day <= day <= invoice.period.last_day:
                return invoice.period, invoice.number
        choices = self.first_days.get(partner_id, ())
        period = scheduled_period(choices, day_text(day)[:7])
        if day < period.first_day:
            period = scheduled_period(choices, day_text(period.first_day - 31)[:7])
        return period, None


def partner_of(catalog: CatalogState, owner_id: str) -> str:
    """The parent of a sub-partner, and of any other org itself."""
    entry = catalog.partners.get(owner_id)
    return owner_id if entry is None or entry.parent_org_id is None else entry.parent_org_id


def foresee_lines(
    store: ReadableStore, names: TopicNames, lines: Iterable[bytes], now_ms: int, last_day: int
) -> ForeseenLines:
    """Judge lines as if they were sent now, in order. `last_day`: what still runs is counted to its end."""
    by_key: dict[bytes | None, list[tuple[int, bytes]]] = {}
    fates: Counter[Fate] = Counter()
    refused: list[Refusal] = []
    catalog = load_catalog(store)
    entries = day_closes = 0
    for number, line in enumerate(lines, start=1):
        route = route_of(line)
        if route.topic == CATALOG:
            judged = _judged_entry(catalog, line, route.key, now_ms)
            _count(judged, number, fates, refused)
            entries += judged.fate is Fate.METERED
        else:
            day_closes += route.every_partition
            by_key.setdefault(route.key, []).append((number, line))
    accounts: list[AccountChange] = []
    topic = names.package_assignments
    for key, same in by_key.items():
        events = [] if key is None else list(events_of_customer(store, topic, key.decode("utf-8", "replace")))
        foreseen = foresee(events, [(key, line) for _, line in same], topic, now_ms, last_day)
        for (number, _), judged in zip(same, foreseen.judged, strict=True):
            _count(judged, number, fates, refused)
        accounts += foreseen.accounts
    return ForeseenLines(dict(fates), sorted(refused, key=lambda one: one.line), accounts, entries, day_closes)


def touched_by(accounts: Iterable[AccountChange], calendar: Calendar) -> list[Touched]:
    """The sums of what would change in reports, by partner, period, org and service, in this order. Pure."""
    sums: dict[tuple[str, Period, str, str], list[int]] = {}
    customers: dict[tuple[str, Period, str, str], set[str]] = {}
    closed: dict[tuple[str, Period], int | None] = {}
    for account in accounts:
        partner_id, billed_from = calendar.partner_of(account.partner_id), calendar.billed_from(account.partner_id)
        for change in account.changes:
            if billed_from is not None and change.day < billed_from:
                continue
            period, invoice = calendar.period_of_day(partner_id, change.day)
            closed[partner_id, period] = invoice
            key = (partner_id, period, account.partner_id, change.place.item)
            both = sums.setdefault(key, [0, 0])
            both[0] += change.difference_microdays
            both[1] += change.difference_microdays if account.internal else 0
            customers.setdefault(key, set()).add(account.customer_id)
    return [
        Touched(partner, owner, service, period, closed[partner, period], all_, internal, len(customers[key]))
        for key, (all_, internal) in sorted(sums.items())
        for partner, period, owner, service in [key]
    ]


def _count(judged: Judged, number: int, fates: Counter[Fate], refused: list[Refusal]) -> None:
    fates[judged.fate] += 1
    if judged.fate is Fate.REFUSED:
        refused.append(Refusal(number, judged.reason, judged.detail))


def _judged_entry(catalog: CatalogState, line: bytes, key: bytes | None, now_ms: int) -> Judged:
    try:
        added = catalog.add(decode_catalog(line, key, now_ms, _AFTER_ALL))
    except Refused as refused:
        return Judged(Fate.REFUSED, refused.reason, refused.detail)
    return Judged(Fate.METERED if added else Fate.DUPLICATE)
