"""When a partner's periods begin: on the first of the month, or on another day from a month on. Its history is kept.

In every month exactly one period begins, and it ends where the next one begins. So no choice of days can leave a gap
or an overlap. The period before a change is longer or shorter than a month; what a month costs is divided by the days
of a whole month all the same (`Period.priced_days`). Pure; the register of choices is `first_days.py`.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from msgspec import Struct

from billing.closing.period import Period, period_of
from schemas.instants import day_number

DEFAULT_FIRST_DAY = 1


class FirstDay(Struct, frozen=True):
    """A choice: from a month YYYY-MM on, until another is made, periods begin on this day of the month (1 to 28)."""

    from_month: str
    first_day: int
    decided_by: str
    decided_ms: int


def first_day_in(choices: Sequence[FirstDay], month: str) -> int:
    """The day of the month on which its period begins. `choices` in the order in which they were made: the last counts."""
    for choice in reversed(choices):
        if choice.from_month <= month:
            return choice.first_day
    return DEFAULT_FIRST_DAY


def scheduled_period(choices: Sequence[FirstDay], month: str) -> Period:
    """The period that begins in a month; ValueError if that is none."""
    begins = period_of(month, first_day_in(choices, month)).first_day
    next_month = f"{date.fromisoformat(f'{month}-01') + timedelta(days=31):%Y-%m}"
    next_begins = day_number(f"{next_month}-{first_day_in(choices, next_month):02d}")
    return Period(begins, next_begins - 1)


def unkept(choices: Sequence[FirstDay], closed: Sequence[Period]) -> list[Period]:
    """The closed periods that would not be periods any more: none may be."""
    return [period for period in closed if scheduled_period(choices, period.month) != period]
