"""What the demo found, and how its daily usage becomes a chart's series."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from billing.stacked_columns import Series, largest_first
from rtmeter.demo.figures import DailyUsage, Figures
from rtmeter.demo.offers import ONE_TIME
from rtmeter.demo.reports import Report, Totals

_ONE_TIME: Final = {offer.service for offer in ONE_TIME}


class Shown(Struct, frozen=True):
    """All that is printed. `first_closed` is the daily usage before the late facts; `seconds` from the first event
    sent until the late ones were metered and stored, `all_seconds` the whole demo's.
    """

    folder: Path
    chart: Path
    events_sent: int
    figures: Figures
    first_closed: DailyUsage
    daily: DailyUsage
    restatements: int
    restated_days: int
    totals: Totals
    reports: list[Report]
    differing: list[Report]
    seconds: float
    all_seconds: float

    @property
    def all_accounted_for(self) -> bool:
        """Every event sent is metered, a duplicate or refused: nothing is dropped quietly."""
        figures = self.figures
        return self.events_sent == figures.metered + figures.duplicates + figures.refused_events


def chart_series(usage: DailyUsage, days: range) -> list[Series]:
    """The largest services, largest first, and the rest as one; one-time services are no licences in use."""
    return largest_first(running_services(usage, days))


def running_services(usage: DailyUsage, days: range) -> list[Series]:
    """Every service that is no one-time service, by name."""
    names = sorted({service for by_service in usage.values() for service in by_service} - _ONE_TIME)
    return [Series(name, [_of(usage, day).get(name, 0) for day in days]) for name in names]


def day_totals(usage: DailyUsage, days: range) -> list[int]:
    """All running services together, in microdays a day."""
    return [sum(quantity for name, quantity in _of(usage, day).items() if name not in _ONE_TIME) for day in days]


def _of(usage: DailyUsage, day: int) -> Mapping[str, int]:
    return usage.get(day, {})
