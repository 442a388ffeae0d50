"""Billing periods: a month, or as long from another first day (1 to 28) on."""

from datetime import date, timedelta

from msgspec import Struct

from schemas.instants import MS_PER_DAY, day_number, day_text

LAST_FIRST_DAY = 28


class Period(Struct, frozen=True, order=True):
    """First and last day, both included, in days since the epoch."""

    first_day: int
    last_day: int

    @property
    def days(self) -> int:
        return self.last_day - self.first_day + 1

    @property
    def priced_days(self) -> int:
        """Days of the whole month that begins on its first day: what the price of a month is divided by.

        Its own days, unless it is the longer or shorter one before a change of the first day.
        """
        first = date.fromisoformat(day_text(self.first_day))
        day = min(first.day, LAST_FIRST_DAY)
        return ((first.replace(day=1) + timedelta(days=31)).replace(day=day) - first.replace(day=day)).days

    @property
    def end_ms(self) -> int:
        """The first instant after it, in ms since the epoch (days are UTC, rule 13)."""
        return (self.last_day + 1) * MS_PER_DAY

    @property
    def month(self) -> str:
        """YYYY-MM of its first day: what people call it by."""
        return day_text(self.first_day)[:7]

    def __str__(self) -> str:
        return f"{day_text(self.first_day)} to {day_text(self.last_day)}"


def period_of(month: str, first_day_of_month: int = 1) -> Period:
    """The period that begins in a month YYYY-MM, on its first or another day; ValueError if it is none."""
    if not 1 <= first_day_of_month <= LAST_FIRST_DAY:
        raise ValueError(f"a period begins on a day from 1 to {LAST_FIRST_DAY}, not {first_day_of_month}")
    try:
        first = date.fromisoformat(f"{month}-{first_day_of_month:02d}")
        next_first = (first.replace(day=1) + timedelta(days=31)).replace(day=first_day_of_month)
    except (ValueError, OverflowError):  # the calendar ends with December 9999
        raise ValueError(f"{month!r} is not a month YYYY-MM") from None
    if f"{first:%Y-%m}" != month:
        raise ValueError(f"{month!r} is not a month YYYY-MM")
    return Period(day_number(first.isoformat()), day_number(next_first.isoformat()) - 1)
