"""Days of one group (customer, location, item) without a walk over its subscribers. Rules 12, 14 and 15.

An interval that starts at microday a adds (+1, 10**6 - a mod 10**6) to day a div 10**6, its end adds the same
with minus. Then the usage of day d is 10**6 times the starts less ends before d, plus what stands at d; the
licences active at the close of d are the starts less ends up to d. A one-time item adds to a day's usage alone.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from streams.core.grid import MICRODAYS_PER_DAY


class DayMap:
    """One sorted array of (day, starts less ends on it, microdays of the day itself), three numbers an entry.

    An array rather than a dict: 24 bytes a day that something changed on, where a dict takes a hundred.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries = array("q")

    def add_point(self, microday: int, count: int) -> None:
        """Count `count` more starts (negative: ends) at a grid point."""
        day = microday // MICRODAYS_PER_DAY
        rest = count * ((day + 1) * MICRODAYS_PER_DAY - microday)
        entries = self._entries
        if entries and entries[-3] >= day:
            self._add(day, count, rest)
        else:
            # Time goes on: most points come after all others.
            entries.extend((day, count, rest))

    def add_quantity(self, day: int, quantity_microdays: int) -> None:
        """Add one-time usage to a day (rule 18)."""
        self._add(day, 0, quantity_microdays)

    def first_day(self) -> int | None:
        """The first day on which anything changed; no day before it has usage."""
        return self._entries[0] if self._entries else None

    def usage(self, first_day: int, last_day: int) -> Iterator[tuple[int, int, int]]:
        """(day, quantity in microdays, licences active at its close) of each day of a range, zeros included."""
        entries = self._entries
        index = self._find(first_day)
        held = sum(entries[1:index:3])
        for day in range(first_day, last_day + 1):
            quantity = MICRODAYS_PER_DAY * held
            if index < len(entries) and entries[index] == day:
                quantity += entries[index + 2]
                held += entries[index + 1]
                index += 3
            yield day, quantity, held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DayMap) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]

    def _find(self, day: int) -> int:
        """Where the first entry of `day` or a later one begins."""
        entries = self._entries
        return 3 * bisect_left(range(len(entries) // 3), day, key=lambda number: entries[3 * number])

    def _add(self, day: int, balance: int, rest: int) -> None:
        entries = self._entries
        index = len(entries) - 3 if entries and entries[-3] == day else self._find(day)
        if index < len(entries) and entries[index] == day:
            entries[index + 1] += balance
            entries[index + 2] += rest
            if not entries[index + 1] and not entries[index + 2]:
                del entries[index : index + 3]
        elif balance or rest:
            entries[index:index] = array("q", (day, balance, rest))
