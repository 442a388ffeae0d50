"""The hooks of faust-streaming that the batch transport uses are there, and do what it relies on."""

import asyncio
import inspect
import struct
import threading
from collections.abc import AsyncIterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.errors import IllegalStateError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.transport import conductor
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage

from streams.input_bounds import InputLost, check_input
from streams.log import LogFailed
from streams.positions import Batch, Positions
from streams.transport import BatchConsumer, BatchTransport, CommittedThread, Packed


def test_the_minor_version_is_the_one_that_was_read() -> None:
    assert version("faust-streaming").startswith("0.15.")


def test_the_hooks_are_where_they_were() -> None:
    assert issubclass(BatchConsumer, Consumer)
    assert issubclass(BatchTransport, Transport)
    assert list(inspect.signature(BaseConsumer.getmany).parameters) == ["self", "timeout"]
    assert list(inspect.signature(Consumer.seek_to_committed).parameters) == ["self"]
    assert list(inspect.signature(BaseConsumer._wait_next_records).parameters) == ["self", "timeout"]
    assert list(inspect.signature(Consumer.seek_wait).parameters) == ["self", "partitions"]
    assert "seek_to_committed" in inspect.getsource(BaseConsumer.perform_seek)
    assert "generation_id" in inspect.signature(ConsumerMessage.__init__).parameters


def test_faust_drops_what_was_fetched_in_a_generation_that_is_over() -> None:
    import faust.streams

    assert "message.generation_id != self.app.consumer_generation_id" in inspect.getsource(faust.streams)


def packed(first_offset: int, *offsets: int) -> Packed:
    records = [SimpleNamespace(offset=offset, timestamp=0, key=b"k", value=b"v") for offset in offsets]
    return Packed(records, first_offset, offsets[-1] + 1, 0)


class FetchedConsumer(BatchConsumer):
    """The consumer with what it fetches given by the test."""

    def __init__(self, fetches: list[dict[TP, list[Packed]]], flow: list[bool]) -> None:
        # Not the base's: it wants a broker.
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.flow_active = True
        self.sought: list[dict[TP, int]] = []
        self._positions = Positions()
        self._positions.begin({3: 4})
        self._taking_over = asyncio.Lock()
        self._fetches = fetches
        self._flow = flow
        self.transport = SimpleNamespace(ledger=self)
        self.restoring = threading.Event()
        self.restoring.set()
        self.failures: list[BaseException] = []
        self.asked: list[dict[int, int]] = []
        self.begins = 0

    should_stop = False

    def assignment(self) -> set[TP]:
        return {TP("topic", 3)}

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        self.flow_active = self._flow.pop(0)
        return self._fetches.pop(0), self.assignment()

    async def seek_wait(self, partitions: Any) -> None:
        self.sought.append(dict(partitions))
        if self._fetches and not self._flow[0]:
            # What is fetched at once arrives before the one who sought goes on.
            assert [message async for message in self.getmany(1.0)] == []

    async def seek_of_what_is_gone(self, partitions: Any) -> None:
        raise IllegalStateError(f"No current assignment for {partitions}")

    async def crash(self, reason: BaseException) -> None:
        self.failures.append(reason)

    def own(self, partitions: set[int], generation: int) -> dict[int, int]:
        """As the ledger, which restores partition 3 up to its offset 4."""
        self.restoring.wait()
        if generation == 13:
            raise LogFailed("nobody answers")
        return dict.fromkeys(partitions, 4)

    def check_input(self, offsets: dict[int, int]) -> None:
        """As the ledger, when the broker holds the offsets from `self.begins` on."""
        self.asked.append(dict(offsets))
        for partition, offset in offsets.items():
            check_input("topic", partition, offset, self.begins, 1_000)


def batches(consumer: FetchedConsumer) -> list[Batch]:
    async def collect(fetch: AsyncIterator[tuple[TP, ConsumerMessage]]) -> list[Batch]:
        return [message.value async for _, message in fetch]

    return asyncio.run(collect(consumer.getmany(1.0)))


def test_a_fetch_is_one_batch_per_partition_that_says_where_it_begins() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5), packed(6, 9)]}, {tp: [packed(10, 12)]}], [True, True])
    (first,) = batches(consumer)
    (second,) = batches(consumer)
    assert (first.partition, first.first_offset, [r.offset for r in first.records]) == (3, 4, [5, 9])
    assert second.first_offset == 10


def test_after_a_fetch_that_was_thrown_away_the_position_is_sought_again() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5)]}, {tp: [packed(4, 5)]}], [False, True])
    assert batches(consumer) == []
    (again,) = batches(consumer)
    assert consumer.sought == [{tp: 4}]
    assert again.first_offset == 4


def test_what_was_fetched_while_partitions_were_taken_over_is_fetched_again() -> None:
    """Once it was lost: two workers that started together left partitions unread, until there was new input."""
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5, 6, 7)]}, {tp: [packed(4, 5, 6, 7)]}], [False, True])
    assert asyncio.run(consumer.seek_to_committed()) == {tp: 4}
    (again,) = batches(consumer)
    assert consumer.sought == [{tp: 4}, {tp: 4}]
    assert (again.first_offset, [r.offset for r in again.records]) == (4, [5, 6, 7])


def test_what_was_fetched_from_before_a_seek_and_arrives_after_it_is_thrown_away() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(2, 2, 3)]}, {tp: [packed(4, 5)]}], [True, True])
    asyncio.run(consumer.seek_to_committed())
    assert batches(consumer) == []
    (batch,) = batches(consumer)
    assert batch.first_offset == 4


def test_a_consumer_that_was_sent_to_another_place_because_its_own_is_gone_stops() -> None:
    """Kafka's answer to a place that retention has deleted: once, it was fetched and thrown away for ever."""
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(9, 9)]}, {tp: [packed(9, 9)]}], [True, True])
    assert batches(consumer) == []
    consumer.begins = 9
    with pytest.raises(InputLost, match=r"topic\[3\] begins at offset 9: the 5 records from 4 on"):
        batches(consumer)
    assert consumer.sought == []


def test_a_partition_whose_agent_is_busy_is_fetched_on() -> None:
    """Otherwise it stands still until nothing of any partition waits for the agent."""
    tp = TP("topic", 3)
    assert "_active_partitions" in inspect.getsource(BaseConsumer.on_buffer_full)
    assert "consumer.on_buffer_full" in inspect.getsource(conductor)
    consumer = FetchedConsumer([], [])
    consumer._active_partitions, consumer._buffered_partitions = {tp}, set()
    consumer.app.in_recovery = False
    consumer.on_buffer_full(tp)
    assert consumer._active_partitions == {tp}
    consumer.on_buffer_drop(tp)
    BaseConsumer.on_buffer_full(consumer, tp)
    assert consumer._active_partitions == set(), "as Faust does"


def test_in_quiet_times_nobody_asks_what_the_broker_holds() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5)]}, {tp: [packed(6, 6)]}], [True, True])
    batches(consumer)
    batches(consumer)
    assert consumer.asked == []


async def stopped_waiting(consumer: FetchedConsumer) -> None:
    """Faust stops waiting for a take-over, which goes on."""
    consumer.restoring.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.seek_to_committed(), 0.01)
    consumer.restoring.set()
    async with consumer._taking_over:
        await asyncio.sleep(0)


def test_a_take_over_that_faust_no_longer_waits_for_is_finished_all_the_same() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5)]}], [True])
    asyncio.run(stopped_waiting(consumer))
    assert consumer.sought == [{tp: 4}]
    assert len(batches(consumer)) == 1


def test_until_a_take_over_is_done_nothing_that_is_fetched_counts() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(4, 5)]}, {tp: [packed(4, 5)]}], [True, True])

    async def fetch_while_restoring() -> None:
        consumer.restoring.clear()
        taking_over = asyncio.ensure_future(consumer.seek_to_committed())
        await asyncio.sleep(0)
        assert [message async for message in consumer.getmany(1.0)] == []
        consumer.restoring.set()
        await taking_over

    asyncio.run(fetch_while_restoring())
    assert len(batches(consumer)) == 1


def test_a_take_over_that_fails_when_nobody_waits_for_it_stops_the_process() -> None:
    consumer = FetchedConsumer([], [])
    consumer.app.consumer_generation_id = 13

    async def fail() -> None:
        await stopped_waiting(consumer)
        await asyncio.sleep(0)

    asyncio.run(fail())
    assert [str(failure) for failure in consumer.failures] == ["nobody answers"]


def test_a_partition_that_is_taken_away_while_it_is_sought_stops_nothing_and_is_sought_again() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [packed(0, 1)]}, {tp: [packed(4, 5)]}], [True, True])
    seek_wait, consumer.seek_wait = consumer.seek_wait, consumer.seek_of_what_is_gone  # type: ignore[method-assign]
    asyncio.run(consumer.seek_to_committed())
    assert batches(consumer) == []
    consumer.seek_wait = seek_wait  # type: ignore[method-assign]
    (batch,) = batches(consumer)
    assert consumer.sought == [{tp: 4}]
    assert batch.first_offset == 4


def test_a_take_over_for_a_generation_that_is_over_does_nothing() -> None:
    consumer = FetchedConsumer([], [])

    async def overtaken() -> None:
        first = asyncio.ensure_future(consumer._take_over(0))
        assert await first == {}

    asyncio.run(overtaken())
    assert consumer.sought == []


def test_a_commit_of_what_has_gone_to_another_worker_says_that_it_was_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    committed: list[dict[TP, int]] = []

    async def commit(_: Any, offsets: dict[TP, int]) -> bool:
        committed.append(offsets)
        return True

    assert list(inspect.signature(AIOKafkaConsumerThread._commit).parameters) == ["self", "offsets"]
    assert "self._commit, offsets" in inspect.getsource(AIOKafkaConsumerThread.commit)
    monkeypatch.setattr(AIOKafkaConsumerThread, "_commit", commit)
    monkeypatch.setattr(CommittedThread, "assignment", lambda _: {TP("topic", 3)})
    thread = CommittedThread.__new__(CommittedThread)
    ours, gone = {TP("topic", 3): 5}, {TP("topic", 4): 6}
    assert asyncio.run(thread._commit(ours))
    assert not asyncio.run(thread._commit(ours | gone))
    assert not asyncio.run(thread._commit(gone))
    assert committed == [ours]


NOBODY = -1


def record_batch(first_offset: int, values: list[bytes], producer: int = NOBODY) -> bytes:
    """A Kafka record batch as a broker keeps it: appended at `first_offset`, in a transaction if a producer is named."""
    builder = DefaultRecordBatchBuilder(2, 0, producer != NOBODY, producer, 0, -1, 1_000_000)
    for number, value in enumerate(values):
        builder.append(number, 1_000, b"k", value, [])
    return first_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


def mark(offset: int, producer: int, kind: int) -> bytes:
    """How a transaction ended: a batch whose one record is for consumers' libraries. `kind`: 0 aborted, 1 committed."""
    builder = DefaultRecordBatchBuilder(2, 0, True, producer, 0, -1, 1_000_000)
    builder.append(0, 1_000, struct.pack(">hh", 0, kind), b"", [])
    batch = bytearray(builder.build())
    # The attributes, and their bits for "transactional" and "control".
    struct.pack_into(">h", batch, 21, 0x30)
    return offset.to_bytes(8, "big") + bytes(batch)[8:]


def unpacked(
    fetched: bytes, position: int, aborted: list[tuple[int, int]] | None = None
) -> list[tuple[int, int, int, list[tuple[int, bytes]]]]:
    """Of each record batch: from where on it is read, where the next one begins, its append time, its records."""
    packed_batches = fetcher.PartitionRecords(
        TP("topic", 3), MemoryRecords(fetched), aborted, position, None, None, False, fetcher.READ_COMMITTED
    )
    return [
        (
            packed.first_offset,
            packed.next_offset,
            packed.append_time_ms,
            [(record.offset, record.value) for record in packed.records],
        )
        for packed in packed_batches
    ]


def test_a_fetch_is_unpacked_from_the_position_on() -> None:
    fetched = record_batch(4, [b"a", b"b", b"c"]) + record_batch(7, [b"d"])
    assert unpacked(fetched, 4) == [
        (4, 7, 1_000, [(4, b"a"), (5, b"b"), (6, b"c")]),
        (7, 8, 1_000, [(7, b"d")]),
    ]
    assert unpacked(fetched, 6) == [(6, 7, 1_000, [(6, b"c")]), (7, 8, 1_000, [(7, b"d")])]


def test_of_a_transaction_what_was_committed_counts_and_of_its_mark_the_offset() -> None:
    fetched = record_batch(4, [b"a"], 7) + mark(5, 7, 1) + record_batch(6, [b"b"])
    assert unpacked(fetched, 4) == [(4, 5, 1_000, [(4, b"a")]), (5, 6, 1_000, []), (6, 7, 1_000, [(6, b"b")])]


def test_what_was_aborted_is_not_there() -> None:
    fetched = (
        record_batch(4, [b"a"], 7)
        + record_batch(5, [b"gone", b"gone"], 8)
        + record_batch(7, [b"b"], 7)
        + mark(8, 8, 0)
        + record_batch(9, [b"c"], 8)
        + record_batch(10, [b"d"])
    )
    told = unpacked(fetched, 4, aborted=[(8, 5)])
    assert [record for _, _, _, records in told for record in records] == [(4, b"a"), (7, b"b"), (9, b"c"), (10, b"d")]
    assert [(first, after) for first, after, _, _ in told] == [(4, 5), (5, 7), (7, 8), (8, 9), (9, 10), (10, 11)]


def test_the_worker_reads_of_transactions_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(_isolation_level="read_uncommitted")
    monkeypatch.setattr(AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: made)
    thread = CommittedThread.__new__(CommittedThread)
    assert thread._create_worker_consumer(None)._isolation_level == "read_committed"
    assert "_isolation_level" in inspect.getsource(AIOKafkaConsumer.start)
