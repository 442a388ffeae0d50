"""Days that are told together: an explanation on a terminal and on a page says one line for a row of equal days."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from billing.audit.explanation import DayPart, DaySum
from billing.audit.words import printable
from schemas.instants import day_text
from streams.core.grid import MICRODAYS_PER_DAY


def runs_of_whole_days(parts: Sequence[DayPart]) -> Iterator[list[DayPart]]:
    """Days in a row that are held whole, together; every other day by itself."""
    for _, together in groupby(
        parts, key=lambda part: -1 if part.quantity_microdays == MICRODAYS_PER_DAY else part.day
    ):
        yield list(together)


def runs_of_equal_days(days: Sequence[DaySum]) -> Iterator[list[DaySum]]:
    """Days in a row on which as much is held, together."""
    run: list[DaySum] = []
    for day in days:
        if run and (day.day != run[-1].day + 1 or day.quantity_microdays != run[-1].quantity_microdays):
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def days_shown(days: Sequence[int]) -> str:
    """The first and the last of some days, the year of the last only if it is another one."""
    if not days or days[0] == days[-1]:
        return day_text(days[0]) if days else ""
    first, last = day_text(days[0]), day_text(days[-1])
    return f"{first} to {last[5:] if last[:4] == first[:4] else last}"


def service_shown(item: str, location_id: str | None) -> str:
    """A service, and the location that it is held at."""
    return f"{item} at {printable(location_id)}" if location_id else item
