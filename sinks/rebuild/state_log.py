"""The workers' state written again: the `entitlements` topic from the raw events of the store, after the topic was lost.

Step by step, for the whole topic, and what a crash after each step leaves. Running it again works after each of them.

1. See that no worker runs, that the raw events are whole, that the     Nothing.
   input can go on where the stored state ends, and which partitions
   of the topic hold no state.
2. Forget the sink's positions in the topic.                            The sink reads it from its beginning: the same rows.
Then per partition:
3. Recompute the state at the watermark that the store has.             Nothing.
4. Write its records, and wait until they are acknowledged.             Records without a watermark: a worker takes them for
                                                                        nothing, and stops if the input's beginning is gone.
5. Write the watermark, and wait.                                       The partition's state: the next run leaves it as it is.

The records are the ones that compaction would have left: of each key the last value, with its revision.
"""

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from schemas.entitlements import WATERMARK_KEY, Watermark, decode_watermark, encode_record
from schemas.topics import TopicNames
from sinks.positions import forget_positions, stored_positions
from sinks.rebuild.raw_events import Extent, extents, read_pages
from sinks.store import ReadableStore, Store
from streams.core.account import OutputRecord
from streams.core.partition import PartitionState
from streams.input_bounds import check_input
from streams.ledger import RECORDS_PER_RUN
from streams.log import Log

_RECORDS_PER_WRITE = 10_000
_STORED = """
SELECT partition, revision, toInt32(closed_through_day), metered, duplicates, refused, day_closes
FROM partition_progress FINAL ORDER BY partition
"""


class StateUnclear(Exception):
    """What the state was cannot be said for sure, or there is one already. The message says what to do."""


class PartitionLog(Struct):
    """What a partition of `entitlements` holds: the last value of each key, and the watermark."""

    records: dict[bytes, bytes]
    watermark: Watermark


def without_state(store: ReadableStore, log: Log, names: TopicNames, found: Iterable[Extent]) -> list[Extent]:
    """The partitions whose log holds no state. StateUnclear if one holds another state than the store.

    Records without a watermark are no state, and one that is the store's was written by a run that did not get further.
    """
    stored = stored_watermarks(store)
    lacking = []
    for extent in found:
        mark = _watermark_in(log, names.entitlements, extent.partition)
        if mark is None:
            lacking.append(extent)
        elif mark != stored[extent.partition]:
            raise StateUnclear(
                f"{names.entitlements}[{extent.partition}] holds a state, at offset {mark.next_offset}, and the store's is "
                f"at {extent.cut}: the workers go on from theirs. To write all of the topic anew, say --replace"
            )
    return lacking


def _watermark_in(log: Log, topic: str, partition: int) -> Watermark | None:
    """The watermark of a partition's log that counts: of the highest claim, which says nothing about the state itself."""
    marks = [decode_watermark(value) for _, key, value in log.read(topic, partition) if key == WATERMARK_KEY]
    counting = max(marks, key=lambda mark: (mark.claim, mark.next_offset), default=None)
    return None if counting is None else msgspec.structs.replace(counting, claim=0)


def stored_watermarks(store: ReadableStore) -> dict[int, Watermark]:
    """The watermark of each partition that has one in the store."""
    return {partition: Watermark(*rest) for partition, *rest in store.query(_STORED)}


def states_to_write(store: ReadableStore, log: Log, names: TopicNames) -> list[Extent]:
    """The partitions that have a state, each to be recomputed up to its stored watermark.

    RawEventsIncomplete; InputLost if the input cannot go on there; StateUnclear if the store has raw events of a
    partition and no watermark.
    """
    found = extents(store, names.package_assignments)
    watermarks = stored_watermarks(store)
    for extent in found:
        if extent.partition not in watermarks:
            raise StateUnclear(
                f"partition {extent.partition}: the store has raw events and no watermark. Run `rtmeter rebuild "
                "partition_progress --switch` first"
            )
        topic, partition = names.package_assignments, extent.partition
        check_input(topic, partition, extent.cut, *log.bounds(topic, partition))
    return found


def recompute_log(
    store: ReadableStore, names: TopicNames, extent: Extent, advance: Callable[[int], None]
) -> PartitionLog:
    """What compaction would have left of a partition's log. StateUnclear if it is not what the store says of it."""
    state = PartitionState(names.package_assignments, extent.partition)
    records: dict[bytes, bytes] = {}
    for page in read_pages(store, names.package_assignments, extent):
        for applied in state.apply_in_runs(page, RECORDS_PER_RUN):
            records.update((output["key"], output["value"]) for output in (*applied.pages, *applied.entitlements))
        advance(len(page))
    stored = stored_watermarks(store)[extent.partition]
    if state.watermark != stored:
        raise StateUnclear(
            f"partition {extent.partition}: the raw events give {state.watermark}, but the store says {stored}. See what "
            "`rtmeter rebuild partition_progress` shows first"
        )
    return PartitionLog(records, state.watermark)


def forget_sink_positions(store: Store, names: TopicNames) -> None:
    """Step 2: of a topic that is written anew the old positions say nothing, and would make a sink skip its beginning."""
    forget_positions(store, [key for key in stored_positions(store) if key[0] == names.entitlements])


def write_log(log: Log, topic: str, partition: int, held: PartitionLog) -> None:
    """Steps 4 and 5. LogFailed if it cannot be written."""
    for piece in _pieces(held.records.items()):
        log.write(topic, partition, piece)
    log.wait()
    mark: OutputRecord = {"key": WATERMARK_KEY, "value": encode_record(held.watermark.next_offset, held.watermark)}
    log.write_watermark(topic, partition, mark, lambda *_: None)
    log.wait()


def _pieces(records: Iterable[tuple[bytes, bytes]]) -> Iterable[list[OutputRecord]]:
    piece: list[OutputRecord] = []
    for key, value in records:
        piece.append({"key": key, "value": value})
        if len(piece) == _RECORDS_PER_WRITE:
            yield piece
            piece = []
    if piece:
        yield piece
