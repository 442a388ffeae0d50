"""Where a sink goes on reading a partition, against what the broker still holds of it; and turning positions back."""

from collections.abc import Iterable

from msgspec import Struct

from sinks.catalog import Answers
from sinks.store import Store

#: (topic, partition) -> the offset of the next record to store.
Positions = dict[tuple[str, int], int]


class Start(Struct, frozen=True):
    """Where to begin. `missing`: records before it that the store has not and the topic has not any more.

    `anew`: the stored position is of a topic that is not there any more.
    """

    offset: int
    missing: int = 0
    anew: bool = False


def choose_start(position: int | None, begin: int, end: int) -> Start:
    """Where to go on with a stored position (None: none yet) in a partition that holds [begin, end). Pure."""
    if position is not None and position > end:
        return Start(begin, begin, anew=True)
    position = position or 0
    return Start(max(position, begin), max(0, begin - position))


def stored_positions(store: Answers) -> Positions:
    """How far each topic's rows are in the store."""
    found = store.query("SELECT topic, partition, revision FROM sink_positions FINAL")
    return {(topic, partition): offset for topic, partition, offset in found}


def forget_positions(store: Store, partitions: Iterable[tuple[str, int]]) -> None:
    """Let these partitions be read from their beginning again: rows that are stored already are stored once more.

    The table keeps the highest position of a partition, so a lower one can't be written over it: it must go. A crash
    in between leaves some forgotten, which only costs time.
    """
    for topic, partition in partitions:
        store.command(
            "DELETE FROM sink_positions WHERE topic = {topic:String} AND partition = {partition:UInt32} "
            "SETTINGS lightweight_deletes_sync = 2",
            {"topic": topic, "partition": partition},
        )
