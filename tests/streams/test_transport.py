"""The hooks of faust-streaming that the batch transport uses are there, and do what it relies on."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, ConsumerMessage

from streams.positions import Batch, Positions
from streams.transport import BatchConsumer, BatchTransport


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


def record(offset: int) -> Any:
    return SimpleNamespace(offset=offset, timestamp=0, key=b"k", value=b"v")


class FetchedConsumer(BatchConsumer):
    """The consumer with what it fetches given by the test."""

    def __init__(self, fetches: list[dict[TP, list[Any]]], flow: list[bool]) -> None:
        # Not the base's: it wants a broker.
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.flow_active = True
        self.sought: list[dict[TP, int]] = []
        self._positions = Positions()
        self._positions.begin({3: 4})
        self._buffered_partitions = set()
        self._fetches = fetches
        self._flow = flow

    should_stop = False

    def assignment(self) -> set[TP]:
        return {TP("topic", 3)}

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        self.flow_active = self._flow.pop(0)
        return self._fetches.pop(0), self.assignment()

    async def seek_wait(self, partitions: Any) -> None:
        self.sought.append(dict(partitions))


def batches(consumer: FetchedConsumer) -> list[Batch]:
    async def collect(fetch: AsyncIterator[tuple[TP, ConsumerMessage]]) -> list[Batch]:
        return [message.value async for _, message in fetch]

    return asyncio.run(collect(consumer.getmany(1.0)))


def test_a_fetch_is_one_batch_per_partition_that_says_where_it_begins() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [record(5), record(9)]}, {tp: [record(12)]}], [True, True])
    (first,) = batches(consumer)
    (second,) = batches(consumer)
    assert (first.partition, first.first_offset, [r.offset for r in first.records]) == (3, 4, [5, 9])
    assert second.first_offset == 10


def test_after_a_fetch_that_was_thrown_away_the_position_is_sought_again() -> None:
    tp = ensure_TP(TP("topic", 3))
    consumer = FetchedConsumer([{tp: [record(5)]}, {tp: [record(5)]}], [False, True])
    assert batches(consumer) == []
    (again,) = batches(consumer)
    assert consumer.sought == [{tp: 4}]
    assert again.first_offset == 4
