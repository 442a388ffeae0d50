"""The arithmetic of a quantity, step by step (rules 12 to 14): every number that a reader needs to check it by hand."""

from collections.abc import Iterable, Iterator

from billing.audit.explanation import DayPart, DaySum, Total
from schemas.entitlements import Interval
from streams.core.day_map import DayMap
from streams.core.grid import MICRODAYS_PER_DAY, microday

#: A group within an account: (location, item).
Group = tuple[str | None, str]


def day_parts(interval: Interval, first_day: int, last_day: int) -> list[DayPart]:
    """An interval's part on each day of a range that it touches on the grid, in order."""
    start = microday(interval.start_ms)
    end = (last_day + 1) * MICRODAYS_PER_DAY if interval.end_ms is None else microday(interval.end_ms)
    first = max(first_day, start // MICRODAYS_PER_DAY)
    last = min(last_day, (end - 1) // MICRODAYS_PER_DAY)
    parts = []
    for day in range(first, last + 1):
        since = max(start, day * MICRODAYS_PER_DAY)
        until = min(end, (day + 1) * MICRODAYS_PER_DAY)
        if since < until:
            parts.append(DayPart(day, since, until, until - since))
    return parts


def day_sums(parts: Iterable[DayPart]) -> list[DaySum]:
    """The days on which something is held, and how much."""
    sums: dict[int, int] = {}
    for part in parts:
        sums[part.day] = sums.get(part.day, 0) + part.quantity_microdays
    return [DaySum(day, quantity) for day, quantity in sorted(sums.items())]


def totals_of(amounts: Iterable[tuple[str, str | None, int]]) -> list[Total]:
    """Sums by item and location of (item, location, microdays), those of nothing left out."""
    sums: dict[tuple[str, str | None], int] = {}
    for item, location_id, quantity in amounts:
        sums[item, location_id] = sums.get((item, location_id), 0) + quantity
    ordered = sorted(sums.items(), key=lambda entry: (entry[0][0], entry[0][1] or ""))
    return [Total(item, location_id, quantity) for (item, location_id), quantity in ordered if quantity]


def group_days(
    intervals: Iterable[Interval], orders: Iterable[tuple[Group, int, int]], first_day: int, last_day: int
) -> Iterator[tuple[Group, int, int, int]]:
    """(group, day, microdays, licences active at its close) as the core counts them, for every day of the range.

    `orders`: (group, day, microdays) of each that counts.
    """
    maps: dict[Group, DayMap] = {}
    for interval in intervals:
        day_map = maps.setdefault((interval.location_id, interval.item), DayMap())
        day_map.add_point(microday(interval.start_ms), 1)
        if interval.end_ms is not None:
            day_map.add_point(microday(interval.end_ms), -1)
    for group, day, quantity in orders:
        maps.setdefault(group, DayMap()).add_quantity(day, quantity)
    for group, day_map in maps.items():
        for day, quantity, active in day_map.usage(first_day, last_day):
            yield group, day, quantity, active
