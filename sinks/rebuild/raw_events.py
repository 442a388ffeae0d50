"""The raw events of the store, read back partition by partition, and whether they are whole."""

from collections.abc import Iterator

from msgspec import Struct

from sinks.store import ReadableStore

#: Offsets that are read at once: what is in memory, whatever the engine does to sort.
_PAGE_OFFSETS = 20_000

_BOUNDS = """
SELECT partition, min(offset), max(offset) + 1
FROM raw_events WHERE topic = {topic:String} GROUP BY partition ORDER BY partition
"""
_COUNT = """
SELECT count() FROM raw_events FINAL
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset < {end:Int64}
"""
_PAGE = """
SELECT partition, offset, toUnixTimestamp64Milli(append_time), key, value
FROM raw_events FINAL
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset >= {first:Int64} AND offset < {end:Int64}
ORDER BY offset
"""
_PROGRESS = """
SELECT partition, revision, metered + duplicates + refused + day_closes FROM partition_progress FINAL ORDER BY partition
"""
_EVERYTHING = (
    "rtmeter rebuild raw_events --switch` brings back what the topic still holds, `rtmeter restore` what a backup"
)


class RawEventsIncomplete(Exception):
    """Raw events are missing, so what would follow from the rest is not what was metered."""


class RawEvent(Struct, frozen=True):
    """One record of an input topic. `timestamp`: its append time in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Extent(Struct, frozen=True):
    """What there is of a partition's raw events: from `first` on, up to `end`; `cut`: the prefix to recompute."""

    partition: int
    first: int
    end: int
    cut: int


def extents(store: ReadableStore, topic: str) -> list[Extent]:
    """Each partition's raw events, whole up to its cut: the prefix that the stored state reflects, or all of them.

    RawEventsIncomplete if some of that prefix are not there. Whole means: no offset is missing, or as many records are
    there as the watermark has counted (a transaction of a sender takes offsets of its own).
    """
    progress = {partition: (revision, counted) for partition, revision, counted in store.query(_PROGRESS)}
    bounds = {partition: (first, end) for partition, first, end in store.query(_BOUNDS, {"topic": topic})}
    found = []
    for partition in sorted({*progress, *bounds}):
        first, end = bounds.get(partition, (0, 0))
        cut, counted = progress.get(partition, (end, None))
        ((there,),) = store.query(_COUNT, {"topic": topic, "partition": partition, "end": cut})
        if there not in (cut, counted):
            missing = (cut if counted is None else counted) - there
            raise RawEventsIncomplete(
                f"{topic}[{partition}]: of the {cut} records that the state reflects the store has {there}, from offset "
                f"{first} to {end}: {missing} are missing, and without them another state would follow. If the sink is "
                f"behind, let it catch up (`rtmeter up --drain`). Otherwise `{_EVERYTHING} holds: see docs/recovery.md"
            )
        found.append(Extent(partition, first, end, cut))
    return found


def extents_of_catalog(store: ReadableStore, topic: str) -> list[Extent]:
    """All raw events of the catalog. RawEventsIncomplete if some are not there; no watermark counts them."""
    found = []
    for partition, first, end in store.query(_BOUNDS, {"topic": topic}):
        ((there,),) = store.query(_COUNT, {"topic": topic, "partition": partition, "end": end})
        if there != end:
            raise RawEventsIncomplete(
                f"{topic}[{partition}]: of {end} records the store has {there}, from offset {first} on. "
                f"`{_EVERYTHING} holds: see docs/recovery.md"
            )
        found.append(Extent(partition, first, end, end))
    return found


def read_pages(store: ReadableStore, topic: str, extent: Extent) -> Iterator[list[RawEvent]]:
    """A partition's records up to its cut, in order of offset, some thousand at a time."""
    for first in range(extent.first, extent.cut, _PAGE_OFFSETS):
        parameters: dict[str, object] = {
            "topic": topic,
            "partition": extent.partition,
            "first": first,
            "end": min(first + _PAGE_OFFSETS, extent.cut),
        }
        page = [RawEvent(*row) for rows in store.stream_binary(_PAGE, parameters) for row in rows]
        if page:
            yield page
