"""What a run of the worker wrote of one long subscriber is stored at once, or the intervals in it could count twice.

Such a run moves intervals from the head to a segment, in two records. So records of long subscribers wait until the
watermark of their run is read; what a crashed worker left without one waits until the next owner has come as far. Then
what is stored is the state at that watermark, whoever wrote it. All other subscribers are one record, and wait for nothing.
"""

from collections.abc import Sequence

from schemas.entitlements import WATERMARK_KEY, is_of_long, revision_of
from sinks.rows import SinkRecord


class WholeRuns:
    """The records of one partition of `entitlements` that wait."""

    def __init__(self) -> None:
        self._watermark = 0
        self._waiting: list[SinkRecord] = []

    def take(self, records: Sequence[SinkRecord]) -> list[SinkRecord]:
        """Of these and the waiting ones those that may be stored, in order, as one block."""
        for record in records:
            assert record.value is not None
            if record.key == WATERMARK_KEY:
                self._watermark = max(self._watermark, revision_of(record.value))
        ready: list[SinkRecord] = []
        waiting: list[SinkRecord] = []
        for record in [*self._waiting, *records]:
            assert record.value is not None
            part = record.key != WATERMARK_KEY and is_of_long(record.value)
            waits = part and revision_of(record.value) > self._watermark
            (waiting if waits else ready).append(record)
        self._waiting = waiting
        return ready

    def position(self, next_offset: int) -> int:
        """Where to read on after a restart, if all before `next_offset` was taken."""
        return self._waiting[0].offset if self._waiting else next_offset
