"""Usage as the page shows it: by day and service, by service, by sub-partner. Sums of integers, and nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from billing.daily import DailyUsage
from billing.stacked_columns import Series, largest_first
from streams.core.customer import EXPRESS, STANDARD

#: Of the day of an order: no licences in use, so they are no part of the chart (rule 18).
ONE_TIME = (EXPRESS, STANDARD)


class DayShown(Struct, frozen=True):
    """A day, its quantity by series of the chart, and all of them together, in microdays."""

    day: int
    quantities: list[int]
    total: int


class ServiceShown(Struct, frozen=True):
    """A service over all days. `licences`: active at the close of the last day that has usage."""

    name: str
    quantity_microdays: int
    licences: int
    one_time: bool


class OwnerShown(Struct, frozen=True):
    """An org whose customers used something; `name` empty if the catalog has none."""

    org_id: str
    name: str
    quantity_microdays: int


class UsageShown(Struct, frozen=True):
    """All that the page says. `quantity_microdays` is of all services, the one-time ones included, as in a report."""

    series: list[Series]
    days: list[DayShown]
    services: list[ServiceShown]
    owners: list[OwnerShown]
    quantity_microdays: int
    last_used_day: int | None


def usage_shown(rows: Sequence[DailyUsage], days: range, names: Mapping[str, str]) -> UsageShown:
    """What is to be said of daily rows of these days. `names`: of orgs, by id."""
    quantities: dict[str, Counter[int]] = {}
    owners: Counter[str] = Counter()
    last_used_day = max((row.day for row in rows), default=None)
    licences: Counter[str] = Counter()
    for row in rows:
        quantities.setdefault(row.item, Counter())[row.day] += row.quantity_microdays
        owners[row.owner_id] += row.quantity_microdays
        if row.day == last_used_day:
            licences[row.item] += row.active_licences
    series = largest_first(
        [Series(item, [of_day[day] for day in days]) for item, of_day in quantities.items() if item not in ONE_TIME]
    )
    columns = [[one.quantities[place] for one in series] for place in range(len(days))]
    return UsageShown(
        series,
        [DayShown(day, column, sum(column)) for day, column in zip(days, columns, strict=True)],
        [
            ServiceShown(item, of_day.total(), licences[item], item in ONE_TIME)
            for item, of_day in sorted(quantities.items(), key=lambda pair: (-pair[1].total(), pair[0]))
        ],
        [
            OwnerShown(org_id, names.get(org_id, ""), quantity)
            for org_id, quantity in sorted(owners.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        owners.total(),
        last_used_day,
    )
