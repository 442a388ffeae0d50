"""The intervals of a long subscriber in segments, so that a change writes some of them again and not all.

Where a segment ends is said by the intervals alone: one interval in so many is a *bound*, by a hash of its start, slot
and item, and a new segment begins with it. So the segments are a function of the set of facts, as the intervals are,
and a late interval changes the segment that it falls in, not all after it. A segment has the name of the bound that it
ends at; the newest one ends nowhere, and stands in the head of the subscriber.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from schemas.entitlements import REVISION_BYTES, Interval, Segment, decode_segment, encode_record, revision_of
from streams.core.block_fold import Changes

#: Start, slot and item of an interval: a subscriber has no two with the same.
Key = tuple[int, int, str]


def key_of(interval: Interval) -> Key:
    return (interval.start_ms, interval.slot, interval.item)


def name_of(bound: Key) -> str:
    """The name of the segment that ends at a bound."""
    return f"{bound[0]}/{bound[1]}/{bound[2]}"


class Segments:
    """The segments of one subscriber. `newest`: the intervals of the last one, in order; it may be put in from outside.

    At rest a segment is its value as in the log. One that was touched is decoded until `put_to_rest`. Segments that
    have become empty stay, empty: their rows must be replaced, and stay so.
    """

    __slots__ = ("_at_rest", "_bounds", "_segment_intervals", "_touched", "newest")

    def __init__(self, intervals: Iterable[Interval], segment_intervals: int) -> None:
        """One interval in `segment_intervals` is a bound."""
        self._segment_intervals = segment_intervals
        self._bounds: list[Key] = []
        self._at_rest: dict[str, bytes] = {}
        self._touched: dict[str, list[Interval]] = {}
        self.newest: list[Interval] = []
        for interval in sorted(intervals, key=key_of):
            key = key_of(interval)
            if self._is_bound(key):
                self._touched[name_of(key)] = self.newest
                self._bounds.append(key)
                self.newest = []
            self.newest.append(interval)

    def apply(self, changes: Changes) -> None:
        """Carry a change of the intervals into their segments."""
        come = {key_of(interval): interval for interval in changes.come}
        for interval in changes.gone:
            key = key_of(interval)
            number = bisect_right(self._bounds, key)
            intervals = self._segment(number)
            index = _index_of(intervals, key)
            instead = come.pop(key, None)
            if instead is not None:
                intervals[index] = instead
                continue
            del intervals[index]
            if number and self._bounds[number - 1] == key:
                before = self._segment(number - 1)
                intervals[:0] = before
                before.clear()
                del self._bounds[number - 1]
        for key, interval in come.items():
            number = bisect_right(self._bounds, key)
            intervals = self._segment(number)
            index = _index_of(intervals, key)
            intervals.insert(index, interval)
            if self._is_bound(key):
                self._touched[name_of(key)] = intervals[:index]
                del intervals[:index]
                self._bounds.insert(number, key)

    def intervals(self) -> Iterator[Interval]:
        """All intervals, in order."""
        for bound in self._bounds:
            name = name_of(bound)
            touched = self._touched.get(name)
            yield from decode_segment(self._at_rest[name]).intervals if touched is None else touched
        yield from self.newest

    def value_at_rest(self, name: str) -> bytes | None:
        return self._at_rest.get(name)

    def put_to_rest(self, revision: int) -> dict[str, bytes]:
        """The values of the segments that were touched at any moment since the last time, whatever came of it.

        Another cut of the runs may have written what stood in them in between: it must be replaced.
        """
        values = {name: encode_record(revision, Segment(intervals)) for name, intervals in self._touched.items()}
        self._at_rest.update(values)
        self._touched.clear()
        return values

    def put_to_rest_from_log(self, logged: dict[str, bytes], length: int) -> None:
        """Come to rest as the log has it: `logged` are the newest values, `length` is that of the input prefix.

        What is in the log as it is here stays, with its revision. Otherwise the log has gone further than the prefix,
        or the customer's deprovisioning was cut off: the value is that of the prefix.
        """
        nothing: list[Interval] = []
        for name in logged:
            # Empty at this prefix, but not before all time: the log has it.
            self._touched.setdefault(name, nothing)
        values = self.put_to_rest(length)
        for name, value in logged.items():
            if revision_of(value) <= length and value[REVISION_BYTES:] == values[name][REVISION_BYTES:]:
                self._at_rest[name] = value

    def _segment(self, number: int) -> list[Interval]:
        """A segment's intervals, to be changed."""
        if number == len(self._bounds):
            return self.newest
        name = name_of(self._bounds[number])
        intervals = self._touched.get(name)
        if intervals is None:
            intervals = self._touched[name] = decode_segment(self._at_rest[name]).intervals
        return intervals

    def _is_bound(self, key: Key) -> bool:
        digest = blake2b(name_of(key).encode(), digest_size=4).digest()
        return int.from_bytes(digest) % self._segment_intervals == 0


def _index_of(intervals: list[Interval], key: Key) -> int:
    """Where the interval of a key is, or belongs. Time goes on: mostly it is the last one, or comes after it."""
    if not intervals:
        return 0
    last = key_of(intervals[-1])
    if last < key:
        return len(intervals)
    return len(intervals) - 1 if last == key else bisect_left(intervals, key, key=key_of)
