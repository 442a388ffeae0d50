"""Kafka in memory: partitions with compaction, producers whose records are under way for a while, consumer groups.

What is modelled, because the code's correctness leans on it:
- A producer hands records over; they get into the log later, in order within a partition. When it crashes, a prefix
  of what it had handed over still gets there, perhaps long after its successor began. A frozen one's get there, too.
- `entitlements` alone is compacted: of the records older than the lag, those that a later one, also older than the
  lag, replaces are gone. The newest record of a partition always stays. Offsets have holes afterwards.
- A group's members hear of a new generation when they ask, and who is frozen does not ask.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from schemas.entitlements import WATERMARK_KEY, revision_of
from schemas.topics import TopicNames
from sinks.rows import SinkRecord
from streams.core.account import OutputRecord
from streams.log import Acknowledged, LogFailed
from tests.simulation.dice import Dice

NAMES = TopicNames.with_prefix("")
#: `min.compaction.lag.ms` of `entitlements`.
COMPACTION_LAG_MS = 86_400_000
_OFFSET = attrgetter("offset")
_READ_AT_ONCE = 12

Headers = Sequence[tuple[str, bytes | None]]
#: Called before and after each effect: where the process may crash, or another one may go on.
Effect = Callable[[str], None]
TopicPartition = tuple[str, int]


class Assignment(NamedTuple):
    """A record as a consumer of `package-assignments` gets it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Broker:
    """The logs, and the clock: every append takes a moment."""

    def __init__(self, now_ms: int, partitions: int) -> None:
        self.now_ms = now_ms
        self.partitions = partitions
        topics = (NAMES.package_assignments, NAMES.entitlements, NAMES.daily_usage, NAMES.dead_letters)
        self.logs: dict[TopicPartition, list[SinkRecord]] = {
            (topic, partition): [] for topic in topics for partition in range(partitions)
        }
        self.logs[NAMES.catalog, 0] = []
        self.ends = dict.fromkeys(self.logs, 0)
        self._watermarks = dict.fromkeys(range(partitions), 0)

    def highest_watermark(self, partition: int) -> int:
        """The highest that was ever in the log of a partition."""
        return self._watermarks[partition]

    def highest_watermark_below(self, partition: int, offset: int) -> int:
        """The highest that is now in the log of a partition, below an offset."""
        log = self.logs[NAMES.entitlements, partition]
        marks = [
            revision_of(record.value or b"") for record in log if record.key == WATERMARK_KEY and record.offset < offset
        ]
        return max(marks, default=0)

    def append(self, where: TopicPartition, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        self.now_ms += 1
        if key == WATERMARK_KEY and where[0] == NAMES.entitlements:
            assert value is not None
            self._watermarks[where[1]] = max(self._watermarks[where[1]], revision_of(value))
        offset = self.ends[where]
        self.ends[where] = offset + 1
        self.logs[where].append(SinkRecord(where[0], where[1], offset, self.now_ms, key, value, headers))
        return offset

    def fetch(self, where: TopicPartition, first: int, most: int) -> list[SinkRecord]:
        """Up to `most` records from an offset on."""
        log = self.logs[where]
        start = bisect_left(log, first, key=_OFFSET)
        return log[start : start + most]

    def compact(self, partition: int, *, upto_ms: int, dice: Dice | None = None) -> None:
        """Clean `entitlements` up to a time; with dice, only up to some record before that, as segments go.

        The worst of them is a watermark: values are gone that it replaces, and it has not replaced the ones before.
        """
        where = (NAMES.entitlements, partition)
        log = self.logs[where]
        cleanable = 0
        # The newest record is in the active segment.
        while cleanable < len(log) - 1 and log[cleanable].append_time_ms <= upto_ms:
            cleanable += 1
        if dice is not None and cleanable:
            watermarks = [index for index in range(cleanable) if log[index].key == WATERMARK_KEY]
            pick = dice.below(3)
            if pick == 0 and watermarks:
                cleanable = dice.one_of(watermarks)
            elif pick == 1:
                cleanable = dice.below(cleanable)
        last = {log[index].key: index for index in range(cleanable)}
        kept = [log[index] for index in range(cleanable) if last[log[index].key] == index]
        if len(kept) < cleanable:
            self.logs[where] = kept + log[cleanable:]


class Session:
    """One producer, from its process's start to its end: the `Log` that the ledger writes to and reads."""

    def __init__(self, broker: Broker, rng: Dice, effect: Effect) -> None:
        self._broker = broker
        self._rng = rng
        self._effect = effect
        self._queues: dict[TopicPartition, deque[tuple[bytes | None, bytes | None, Headers, Acknowledged | None]]] = {}
        self._acknowledged: list[tuple[Acknowledged, int, int]] = []
        self.failed = False

    @property
    def under_way(self) -> bool:
        return bool(self._queues)

    # ---- the protocol of streams.log.Log

    def write(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        self._effect(f"writes {len(records)} to {topic}/{partition}")
        queue = self._queue(topic, partition)
        for record in records:
            queue.append((record["key"], record["value"], (), None))
        self._effect("wrote")

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self._effect(f"writes a record with headers to {topic}/{partition}")
        self._queue(topic, partition).append((key, value, headers, None))
        self._effect("wrote")

    def write_watermark(self, topic: str, partition: int, record: OutputRecord, then: Acknowledged) -> None:
        self._effect(f"writes a watermark to {topic}/{partition}")
        self._queue(topic, partition).append((record["key"], record["value"], (), then))
        self._effect("wrote")

    def wait(self) -> None:
        self._effect("waits")
        while self._queues:
            self.deliver()
            self._effect("waits on")
        self.poll()

    def poll(self) -> None:
        if self.failed:
            raise LogFailed("the producer is fenced, or so")
        heard, self._acknowledged = self._acknowledged, []
        for then, partition, offset in heard:
            then(partition, offset)

    def read(self, topic: str, partition: int, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        self._effect(f"reads {topic}/{partition} from {first}")
        position = first
        while True:
            records = self._broker.fetch((topic, partition), position, _READ_AT_ONCE)
            for record in records:
                assert record.key is not None
                assert record.value is not None
                yield record.offset, record.key, record.value
            if len(records) < _READ_AT_ONCE:
                return
            position = records[-1].offset + 1
            self._effect("reads on")

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        # Retention is never at work here: what is gone from the input is the business of `streams.input_bounds`.
        return 0, self.end(topic, partition)

    def end(self, topic: str, partition: int) -> int:
        self._effect(f"asks for the end of {topic}/{partition}")
        return self._broker.ends[topic, partition]

    # ---- the network

    def deliver(self) -> None:
        """Some of what was handed over gets into the log, and its acknowledgement is on its way."""
        where = self._rng.one_of(list(self._queues))
        queue = self._queues[where]
        for _ in range(1 + self._rng.below(len(queue))):
            key, value, headers, then = queue.popleft()
            offset = self._broker.append(where, key, value, headers)
            if then is not None:
                self._acknowledged.append((then, where[1], offset))
        if not queue:
            del self._queues[where]

    def crash(self) -> None:
        """The process is gone: a prefix of what it handed over may still arrive, and nobody hears of it."""
        for where, queue in list(self._queues.items()):
            for _ in range(self._rng.below(len(queue) + 1)):
                queue.pop()
            if not queue:
                del self._queues[where]

    def _queue(
        self, topic: str, partition: int
    ) -> deque[tuple[bytes | None, bytes | None, Headers, Acknowledged | None]]:
        where = (topic, partition)
        queue = self._queues.get(where)
        if queue is None:
            queue = self._queues[where] = deque()
        return queue


class Member:
    """One process's membership in a group. `generation`: the last one that it has heard of.

    `library_ahead`: whether its client library hears of generations before it does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = -1
        self.library_ahead = False


class Group:
    """A consumer group: generations, who owns what in the present one, and the committed offsets."""

    def __init__(self, owned: Sequence[TopicPartition]) -> None:
        self.owned = owned
        self.members: list[Member] = []
        self.generation = 0
        self.assigned: dict[Member, list[TopicPartition]] = {}
        self.committed: dict[TopicPartition, int] = {}

    def join(self, member: Member) -> None:
        self.members.append(member)

    def commit(self, member: Member, offsets: Mapping[TopicPartition, int]) -> bool:
        """Take offsets of a member of the present generation; whether it is told that they were taken.

        Its client library may have heard of a generation before it has: then it is told so, and what is no longer its own
        was left out.
        """
        if member not in self.assigned or (member.generation != self.generation and not member.library_ahead):
            return False
        mine = self.assigned[member]
        self.committed.update({where: offset for where, offset in offsets.items() if where in mine})
        return True

    def rebalance(self, staying: Sequence[Member], rng: Dice) -> None:
        """A new generation of these members; the others are expelled, and will hear of it when they ask."""
        before = {where: member for member, some in self.assigned.items() for where in some}
        self.generation += 1
        self.members = list(staying)
        self.assigned = {member: [] for member in staying}
        # Mostly as it was, as the sticky assignor does.
        sticky = rng.random() < 0.7
        for where in self.owned:
            owner = before.get(where)
            if not sticky or owner not in self.assigned:
                owner = rng.one_of(staying)
            self.assigned[owner].append(where)
