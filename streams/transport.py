"""Faust's Kafka transport at batch speed: the agent gets one message per partition and fetch, not one per record.

Faust decides who reads which partition, and what was read in a generation that is over is dropped; all else is
the ledger's. Hooks of faust-streaming's aiokafka driver are used, and `tests/streams/test_transport.py` fails when a new
version changes them: `getmany`, `seek_to_committed`, `on_buffer_full`, `_to_message`'s message type, `_create_worker_consumer`,
`_commit`. Another is aiokafka's: `PartitionRecords`, which unpacks what was fetched.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer
from faust.transport.drivers.aiokafka import Transport as AIOKafkaTransport
from faust.types import TP, ConsumerMessage
from msgspec import Struct

from schemas.decode import AssignmentRecord
from streams.positions import Batch, Positions


class Packed(Struct):
    """What is wanted of one Kafka record batch, from `first_offset` on: `records` unpacks one after the other, once."""

    records: Iterable[AssignmentRecord]
    first_offset: int
    next_offset: int
    append_time_ms: int


class _PackedBatches(PartitionRecords):  # type: ignore[misc]
    """What a fetch gave of a partition: each step of the iteration gives a Kafka record batch, still packed.

    aiokafka builds a record of its own from each one that its C code has read, in Python: that took as long as
    decoding the event. And a fetch unpacked at once does not fit the processor's cache, so its records are unpacked
    where they are used. What an aborted transaction left in the topic is not there for us, and of a transaction's mark
    only the offset counts.
    """

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Packed]:
        while self._records.has_next():
            batch = self._records.next_batch()
            wanted, self.next_fetch_offset = self.next_fetch_offset, batch.next_offset
            records: Iterable[AssignmentRecord] = ()
            if not self._is_of_no_use(batch):
                # A fetch begins with the whole batch that the position lies in.
                records = batch if batch.base_offset >= wanted else _from_offset(wanted, batch)
            yield Packed(records, wanted, batch.next_offset, batch.max_timestamp)

    def _is_of_no_use(self, batch: Any) -> bool:
        """Whether it is a transaction's mark, or was aborted. The broker says of a fetch which of its producers aborted."""
        if not batch.is_transactional:
            return bool(batch.is_control_batch)
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            return True
        return batch.producer_id in self._aborted_producers


def _from_offset(wanted: int, records: Iterable[AssignmentRecord]) -> Iterator[AssignmentRecord]:
    return (record for record in records if record.offset >= wanted)


# The fetcher offers no other way. A process that meters reads nothing else with aiokafka.
fetcher.PartitionRecords = _PackedBatches


class CommittedThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Reads of transactions what was committed. Faust offers that only to who writes in transactions as well.

    And commits all that it is given, or says that it did not.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Faust leaves out what has just gone to another worker, and says that it was committed; and to commit nothing,
        # because all of it has gone, ends the process.
        return offsets.keys() <= self.assignment() and bool(await super()._commit(offsets))


class PartitionOwner(Protocol):
    """Who holds the positions: the ledger."""

    def own(self, partitions: set[int], generation: int) -> dict[int, int]: ...
    def check_input(self, offsets: Mapping[int, int]) -> None: ...


class BatchConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Yields a `Batch` as the value of one message per partition and fetch, from the ledger's position on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._positions = Positions()
        self._taking_over = asyncio.Lock()

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def on_buffer_full(self, tp: TP) -> None:
        """Whoever fetches waits for the agent anyway.

        Faust would read no more of the partition until nothing waits for the agent; a partition of several that are behind
        then stood still until the others were done, and was waited for a second at a time.
        """

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message per partition that the next fetch has records of."""
        await self._seek_astray()
        # What Faust calls records are record batches here.
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for raw_tp, packed in (fetched or {}).items():
            tp = ensure_TP(raw_tp)
            if not packed:
                continue
            current = (
                self.flow_active
                and not self.should_stop
                and generation == self.app.consumer_generation_id
                and (active is None or tp in active)
            )
            first, last = packed[0], packed[-1]
            records = chain.from_iterable(batch.records for batch in packed)
            batch = self._positions.take(tp.partition, records, first.first_offset, last.next_offset, current=current)
            if batch is not None:
                yield tp, self._batch_message(tp, batch, last.append_time_ms, generation)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Own what is assigned, and read on where the ledger stands; the committed group offset is not asked.

        Faust stops waiting for this after `broker_request_timeout`, and when there is another rebalance; it is finished all
        the same, and until then nothing that is fetched counts.
        """
        self._positions.begin({})
        taking_over = asyncio.ensure_future(self._take_over(self.app.consumer_generation_id))
        try:
            return await asyncio.shield(taking_over)
        except asyncio.CancelledError:
            taking_over.add_done_callback(self._crash_if_failed)
            raise

    def _crash_if_failed(self, taking_over: asyncio.Future[Mapping[TP, int]]) -> None:
        failure = None if taking_over.cancelled() else taking_over.exception()
        if failure is not None:
            self._crashing = asyncio.ensure_future(self.crash(failure))

    async def _take_over(self, generation: int) -> Mapping[TP, int]:
        async with self._taking_over:
            if generation != self.app.consumer_generation_id:
                # Another rebalance came meanwhile, and with it another call of this.
                return {}
            owner: PartitionOwner = self.transport.ledger
            by_partition = {tp.partition: ensure_TP(tp) for tp in self.assignment()}
            # In a thread, so that heartbeats and the event loop go on while a large partition is restored.
            loop = asyncio.get_running_loop()
            offsets = await loop.run_in_executor(None, owner.own, set(by_partition), generation)
            self._positions.begin(offsets)
            await self._seek(offsets)
            return {by_partition[partition]: offset for partition, offset in offsets.items()}

    async def _seek_astray(self) -> None:
        """Go back to where the partitions are read on that may stand elsewhere, if their input still has that place.

        Of a place that is gone Kafka's answer is another one, again and again.
        """
        astray = self._positions.take_astray()
        if astray:
            owner: PartitionOwner = self.transport.ledger
            await asyncio.get_running_loop().run_in_executor(None, owner.check_input, astray)
            await self._seek(astray)

    async def _seek(self, offsets: Mapping[int, int]) -> None:
        """Send the consumer there. Of partitions that are taken away meanwhile another take-over will decide."""
        by_partition = {tp.partition: ensure_TP(tp) for tp in self.assignment()}
        try:
            await self.seek_wait(
                {by_partition[partition]: offset for partition, offset in offsets.items() if partition in by_partition}
            )
        except IllegalStateError:
            self._positions.not_sought(offsets)
        else:
            self._positions.sought(offsets)

    def _batch_message(self, tp: TP, batch: Batch, append_time_ms: int, generation: int) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.next_offset - 1,
            append_time_ms / 1000.0,
            1,
            (),
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )


class BatchTransport(AIOKafkaTransport):  # type: ignore[misc]
    """The aiokafka transport with that consumer; `ledger` must be set before the app starts."""

    Consumer = BatchConsumer
    ledger: PartitionOwner
