"""Faust's Kafka transport at batch speed: the agent gets one message per partition and fetch, not one per record.

Faust decides who reads which partition, and what was read in a generation that is over is dropped; all else is
the ledger's. Three hooks of faust-streaming's aiokafka driver are used, and `tests/streams/test_transport.py`
fails when a new version changes them: `getmany`, `seek_to_committed`, `_to_message`'s message type. A fourth one is
aiokafka's: `PartitionRecords`, which unpacks what was fetched.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer
from faust.transport.drivers.aiokafka import Transport as AIOKafkaTransport
from faust.types import TP, ConsumerMessage

from schemas.decode import AssignmentRecord
from streams.positions import Batch, Positions


class _WholeRecordBatches(PartitionRecords):  # type: ignore[misc]
    """What a fetch gave of a partition: each step of the iteration gives all records of a Kafka record batch.

    aiokafka builds a record of its own from each one that its C code has read, in Python: that took as long as
    decoding the event. Ours has no use for transactions, so there are none to be left out.
    """

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[list[AssignmentRecord]]:
        while self._records.has_next():
            batch = self._records.next_batch()
            if not batch.is_control_batch:
                # A fetch begins with the whole batch that the position lies in.
                records = list(batch)
                if records and records[0].offset < self.next_fetch_offset:
                    records = [record for record in records if record.offset >= self.next_fetch_offset]
                self.next_fetch_offset = batch.next_offset
                if records:
                    yield records
            # Past what compaction has left out, too.
            self.next_fetch_offset = batch.next_offset


# The fetcher offers no other way. A process that meters reads nothing else with aiokafka.
fetcher.PartitionRecords = _WholeRecordBatches


class PartitionOwner(Protocol):
    """Who holds the positions: the ledger."""

    def own(self, partitions: set[int], generation: int) -> dict[int, int]: ...


class BatchConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Yields a `Batch` as the value of one message per partition and fetch, from the ledger's position on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._positions = Positions()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message per partition that the next fetch has records of."""
        await self._seek_astray()
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for raw_tp, records in (fetched or {}).items():
            tp = ensure_TP(raw_tp)
            if not records:
                continue
            current = (
                self.flow_active
                and not self.should_stop
                and generation == self.app.consumer_generation_id
                and (active is None or tp in active or tp in self._buffered_partitions)
            )
            batch = self._positions.take(tp.partition, records, current=current)
            if batch is not None:
                yield tp, self._batch_message(tp, batch, generation)

    async def _wait_next_records(self, timeout: float) -> tuple[dict[TP, list[AssignmentRecord]], set[TP] | None]:
        fetched, active = await super()._wait_next_records(timeout)
        return {tp: list(chain.from_iterable(batches)) for tp, batches in (fetched or {}).items()}, active

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Own what is assigned, and read on where the ledger stands; the committed group offset is not asked."""
        owner: PartitionOwner = self.transport.ledger
        assignment = self.assignment()
        generation = self.app.consumer_generation_id
        by_partition = {tp.partition: ensure_TP(tp) for tp in assignment}
        # In a thread, so that heartbeats and the event loop go on while a large partition is restored.
        loop = asyncio.get_running_loop()
        offsets = await loop.run_in_executor(None, owner.own, set(by_partition), generation)
        positions = {by_partition[partition]: offset for partition, offset in offsets.items()}
        await self.seek_wait(positions)
        self._positions.begin(offsets)
        return positions

    async def _seek_astray(self) -> None:
        astray = self._positions.take_astray()
        if astray:
            by_partition = {tp.partition: ensure_TP(tp) for tp in self.assignment()}
            for partition, position in astray.items():
                if partition in by_partition:
                    await self.seek_wait({by_partition[partition]: position})

    def _batch_message(self, tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
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
