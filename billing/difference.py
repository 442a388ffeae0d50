"""What changes between two states of an account: usage by service, subscriber and day, in microdays. Pure.

The states may be of any two sets of facts: without and with a corrected event, before and after a file, at two cuts.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from msgspec import Struct

from schemas.entitlements import Interval, Order
from schemas.instants import day_text
from streams.core.account import Account
from streams.core.grid import MICRODAYS_PER_DAY, microday

#: Usage of one place, by day.
_Days = dict[int, int]


class Held(Struct, frozen=True):
    """What an account held, kept apart from the account, which goes on changing: intervals by subscriber, and orders."""

    intervals: dict[str, tuple[Interval, ...]] = {}
    orders: tuple[Order, ...] = ()


class Place(Struct, frozen=True, order=True):
    """Where usage stands: `subscriber_id` '' for one-time items, `location_id` '' for none."""

    item: str
    subscriber_id: str
    location_id: str


class Change(Struct, frozen=True, order=True):
    """One day of one place whose usage is not the same in both states. `day`: days since the epoch."""

    place: Place
    day: int
    before_microdays: int
    after_microdays: int

    @property
    def difference_microdays(self) -> int:
        """Positive: the second state has more."""
        return self.after_microdays - self.before_microdays


class Stretch(Struct, frozen=True):
    """Days in a row on which a place changes by the same amounts a day."""

    place: Place
    first_day: int
    last_day: int
    before_microdays: int
    after_microdays: int

    @property
    def difference_microdays(self) -> int:
        """Of all its days together."""
        return (self.last_day - self.first_day + 1) * (self.after_microdays - self.before_microdays)


def held_of(account: Account | None) -> Held:
    """What an account holds; nothing for an account that does not exist."""
    if account is None:
        return Held()
    customer = account.customer_record()
    intervals = {subscriber: tuple(record.intervals) for subscriber, record in account.subscriber_records()}
    return Held(intervals, () if customer is None else tuple(customer.orders))


def changes_between(before: Held, after: Held, last_day: int) -> list[Change]:
    """Every day up to `last_day` whose usage differs, in order. What still runs is counted to the end of that day."""
    changed = {
        subscriber
        for subscriber in before.intervals.keys() | after.intervals.keys()
        if before.intervals.get(subscriber, ()) != after.intervals.get(subscriber, ())
    }
    old, new = _usage(before, changed, last_day), _usage(after, changed, last_day)
    found = []
    for place in old.keys() | new.keys():
        old_days, new_days = old.get(place, {}), new.get(place, {})
        for day in old_days.keys() | new_days.keys():
            change = Change(place, day, old_days.get(day, 0), new_days.get(day, 0))
            if change.difference_microdays:
                found.append(change)
    return sorted(found)


def total_microdays(changes: Iterable[Change]) -> int:
    """How much more usage the second state has, over all."""
    return sum(change.difference_microdays for change in changes)


def totals_by_item(changes: Iterable[Change]) -> dict[str, int]:
    """The same by service."""
    totals: dict[str, int] = {}
    for change in changes:
        totals[change.place.item] = totals.get(change.place.item, 0) + change.difference_microdays
    return totals


def months_of(changes: Iterable[Change]) -> list[str]:
    """The months with a day that changes, YYYY-MM, in order."""
    return sorted({day_text(change.day)[:7] for change in changes})


def stretches(changes: Iterable[Change]) -> Iterator[Stretch]:
    """The changes, with days in a row that are alike put together. `changes` in their order."""
    # Of days in a row, day less position is the same.
    numbered = enumerate(changes)
    for _, alike in groupby(
        numbered,
        key=lambda entry: (
            entry[1].place,
            entry[1].day - entry[0],
            entry[1].before_microdays,
            entry[1].after_microdays,
        ),
    ):
        days = [change for _, change in alike]
        first = days[0]
        yield Stretch(first.place, first.day, days[-1].day, first.before_microdays, first.after_microdays)


def _usage(held: Held, subscribers: set[str], last_day: int) -> dict[Place, _Days]:
    usage: dict[Place, _Days] = {}
    for subscriber in subscribers:
        for interval in held.intervals.get(subscriber, ()):
            days = usage.setdefault(Place(interval.item, subscriber, interval.location_id or ""), {})
            for day, quantity in _days_of(interval, last_day):
                days[day] = days.get(day, 0) + quantity
    for order in held.orders:
        if order.day <= last_day:
            days = usage.setdefault(Place(order.item, "", order.location_id or ""), {})
            days[order.day] = days.get(order.day, 0) + order.quantity_microdays
    return usage


def _days_of(interval: Interval, last_day: int) -> Iterator[tuple[int, int]]:
    """(day, microdays) of an interval, cut at multiples of a day (rule 14)."""
    start = microday(interval.start_ms)
    end = (last_day + 1) * MICRODAYS_PER_DAY
    if interval.end_ms is not None:
        end = min(end, microday(interval.end_ms))
    while start < end:
        day = start // MICRODAYS_PER_DAY
        until = min(end, (day + 1) * MICRODAYS_PER_DAY)
        yield day, until - start
        start = until
