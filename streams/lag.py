"""How far a reader is behind: in records, in time, and whether it stands still. Pure: the clock is passed in."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

Key = TypeVar("Key")


class Lag(Struct, frozen=True):
    """How far one partition's reader is behind.

    `records`: offsets between its position and the end of what it reads. `age_ms`: how old the oldest of them can be.
    `still_ms`: for how long the position has not moved while there were any. Both are 0 where there are none.
    """

    records: int
    age_ms: int
    still_ms: int


class _Seen:
    """What was seen of a partition. `caught_up_ms`: when nothing was left, last; None if something always was."""

    __slots__ = ("caught_up_ms", "end", "first_ms", "moved_ms", "position")

    def __init__(self, position: int, now_ms: int) -> None:
        self.position = self.end = position
        self.first_ms = self.moved_ms = now_ms
        self.caught_up_ms: int | None = None

    def oldest_ms(self, taken_ms: int | None) -> int:
        """No record that is left was appended before this."""
        known = [ms for ms in (self.caught_up_ms, taken_ms) if ms is not None]
        return max(known) if known else self.first_ms


class LagWatch(Generic[Key]):
    """Compares positions with ends, look by look.

    The oldest record that is left was appended after the last one that was taken, and after nothing was left: the later of
    the two is what `age_ms` counts from. Before a process has taken anything of a partition it counts from its first look.
    """

    def __init__(self) -> None:
        self._seen: dict[Key, _Seen] = {}

    def look(
        self,
        now_ms: int,
        positions: Mapping[Key, int],
        ends: Mapping[Key, int] | None,
        taken_ms: Mapping[Key, int],
    ) -> dict[Key, Lag]:
        """The lag of each partition that has a position.

        `positions`: offset of the next record of each partition that this process reads; others are forgotten. `ends`:
        offset that the next record to come will have; None if nobody could say, and then the last ones count.
        `taken_ms`: append time of the last record taken, by the broker's clock.
        """
        for gone in set(self._seen) - set(positions):
            del self._seen[gone]
        return {key: self._of(key, now_ms, position, ends, taken_ms) for key, position in positions.items()}

    def _of(
        self, key: Key, now_ms: int, position: int, ends: Mapping[Key, int] | None, taken_ms: Mapping[Key, int]
    ) -> Lag:
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(position, now_ms)
        if ends is not None:
            seen.end = ends.get(key, seen.end)
        if position != seen.position:
            seen.position, seen.moved_ms = position, now_ms
        records = max(0, seen.end - position)
        if not records:
            seen.moved_ms = seen.caught_up_ms = now_ms
            return Lag(0, 0, 0)
        oldest_ms = seen.oldest_ms(taken_ms.get(key))
        return Lag(records, max(0, now_ms - oldest_ms), max(0, now_ms - seen.moved_ms))
