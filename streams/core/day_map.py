"""Days of one group (customer, location, item) without a walk over its subscribers. Rules 12, 14 and 15.

An interval that starts at microday a adds (+1, 10**6 - a mod 10**6) to day a div 10**6, its end adds the same
with minus. Then the usage of day d is 10**6 times the starts less ends before d, plus what stands at d; the
licences active at the close of d are the starts less ends up to d. A one-time item adds to a day's usage alone.
"""

from bisect import bisect_left
from collections.abc import Iterator
from struct import Struct as Packed

from msgspec import Struct

from streams.core.grid import MICRODAYS_PER_DAY

_ENTRY = Packed("<iiq")
_SIZE = _ENTRY.size
# Looked up for every event.
_pack = _ENTRY.pack
_unpack_from = _ENTRY.unpack_from


class DayMap(Struct, gc=False):
    """Entries (day, starts less ends on it, microdays of the day itself), in order of day, packed as bytes.

    There are about as many groups as customers times packages, and most changed on a day or two: packed they take
    a third of the memory of an array each, half the time to make, and nothing of the garbage collector's.
    """

    entries: bytes = b""

    def add_point(self, microday: int, count: int) -> int:
        """Count `count` more starts (negative: ends) at a grid point; the day that it is on."""
        day, past = divmod(microday, MICRODAYS_PER_DAY)
        rest = count * (MICRODAYS_PER_DAY - past)
        entries = self.entries
        if not entries:
            self.entries = _pack(day, count, rest)
            return day
        # Time goes on: most points come on the last day of all, or after it.
        last_day, last_balance, last_rest = _unpack_from(entries, len(entries) - _SIZE)
        if last_day < day:
            self.entries = entries + _pack(day, count, rest)
        elif last_day == day:
            balance = last_balance + count
            rest += last_rest
            # An entry of nothing goes, as in `_add`.
            self.entries = entries[:-_SIZE] + (_pack(day, balance, rest) if balance or rest else b"")
        else:
            self._add(day, count, rest)
        return day

    def add_quantity(self, day: int, quantity_microdays: int) -> None:
        """Add one-time usage to a day (rule 18)."""
        self._add(day, 0, quantity_microdays)

    def first_day(self) -> int | None:
        """The first day on which anything changed; no day before it has usage."""
        return _unpack_from(self.entries)[0] if self.entries else None

    def usage(self, first_day: int, last_day: int) -> Iterator[tuple[int, int, int]]:
        """(day, quantity in microdays, licences active at its close) of each day of a range, zeros included."""
        held = 0
        changes = _ENTRY.iter_unpack(self.entries)
        none = (max(first_day, last_day + 1), 0, 0)
        day, balance, rest = next(changes, none)
        while day < first_day:
            held += balance
            day, balance, rest = next(changes, none)
        for wanted in range(first_day, last_day + 1):
            quantity = MICRODAYS_PER_DAY * held
            if day == wanted:
                quantity += rest
                held += balance
                day, balance, rest = next(changes, none)
            yield wanted, quantity, held

    def _add(self, day: int, balance: int, rest: int) -> None:
        entries = self.entries
        start = end = _SIZE * bisect_left(
            range(len(entries) // _SIZE), day, key=lambda number: _unpack_from(entries, _SIZE * number)[0]
        )
        if start < len(entries):
            known_day, known_balance, known_rest = _unpack_from(entries, start)
            if known_day == day:
                balance += known_balance
                rest += known_rest
                end += _SIZE
        # An entry of nothing goes: the same facts give the same entries, whatever came between.
        entry = _pack(day, balance, rest) if balance or rest else b""
        self.entries = entries[:start] + entry + entries[end:]
