"""Periods that a form begins with."""

from datetime import date, timedelta

from msgspec import Struct

from schemas.instants import day_number, day_of_ms, day_text


class Period(Struct, frozen=True):
    """First and last day, both included, as YYYY-MM-DD."""

    start: str
    end: str


def month_until_yesterday(now_ms: int) -> Period:
    """The month of yesterday, as far as it is over: what has been used lately (UTC)."""
    yesterday = day_text(day_of_ms(now_ms) - 1)
    return Period(f"{yesterday[:8]}01", yesterday)


def last_complete_month(now_ms: int) -> Period:
    """The latest month that is over: what a report is usually asked for."""
    first_of_this = date.fromisoformat(day_text(day_of_ms(now_ms))).replace(day=1)
    last = first_of_this - timedelta(days=1)
    return Period(last.replace(day=1).isoformat(), last.isoformat())


def days_between(period: Period) -> range:
    """Its days, since the epoch. ValueError if one of them is none."""
    return range(day_number(period.start), day_number(period.end) + 1)
