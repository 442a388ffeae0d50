"""When things happen in the demo's month: on working days, in working hours, more towards its end."""

import random
from datetime import date, timedelta
from typing import Final

from schemas.instants import MS_PER_DAY, day_number

_HOUR_MS: Final = 3_600_000
#: Monday to Sunday: how busy a day is.
_WEEKDAYS: Final = (1.15, 1.25, 1.2, 1.0, 0.8, 0.12, 0.05)
_OPENING_DAYS: Final = 10
_WEEK = 7


class Calendar:
    """One calendar month, and the days before it in which the customers that it begins with came."""

    def __init__(self, month: date) -> None:
        if month.day != 1:
            raise ValueError(f"{month} is not the first day of a month")
        self.month = month
        self.first_day = day_number(month.isoformat())
        after = (month + timedelta(days=31)).replace(day=1)
        self.days = (after - month).days
        self.last_day = self.first_day + self.days - 1
        self.end_ms = (self.last_day + 1) * MS_PER_DAY
        self._weights = [_busy(day) * (1 + (day - self.first_day) / self.days) for day in self.every_day]
        self._opening = range(self.first_day - _OPENING_DAYS, self.first_day)

    @property
    def every_day(self) -> range:
        """Its days, in days since the epoch."""
        return range(self.first_day, self.last_day + 1)

    @property
    def start_ms(self) -> int:
        return self.first_day * MS_PER_DAY

    @property
    def migration_day(self) -> int:
        """The second Wednesday: whole customers are moved over in one night."""
        return next(day for day in self.every_day if day >= self.first_day + _WEEK and (day + 3) % _WEEK == 2)

    def before(self, rng: random.Random) -> int:
        """An instant shortly before the month, in ms since the epoch."""
        return _at(rng, rng.choices(self._opening, [_busy(day) for day in self._opening])[0])

    def within(self, rng: random.Random) -> int:
        """An instant of the month."""
        return _at(rng, rng.choices(self.every_day, self._weights)[0])

    def later(self, rng: random.Random, than_ms: int) -> int | None:
        """An instant of the month after another; None if hardly any of it is left."""
        first = max(self.first_day, than_ms // MS_PER_DAY + 1)
        if first > self.last_day:
            return None
        left = range(first, self.last_day + 1)
        return _at(rng, rng.choices(left, self._weights[first - self.first_day :])[0])


def _busy(day: int) -> float:
    return _WEEKDAYS[(day + 3) % _WEEK]  # day 0 was a Thursday


def _at(rng: random.Random, day: int) -> int:
    return day * MS_PER_DAY + int(rng.triangular(7 * _HOUR_MS, 19 * _HOUR_MS, 10 * _HOUR_MS))
