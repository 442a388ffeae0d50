"""A sink that cannot ask the store where to go on asks again, and never ends as if all were well."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from sinks import sink
from sinks.metrics import SinkMetrics
from sinks.sink import Sink, SinkSettings
from sinks.store import StoreFailed


class DownForAWhile:
    """A store that says its positions, but fails as often as `failures` says before."""

    def __init__(self) -> None:
        self.failures = 0
        self.asked = 0

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise StoreFailed("down")
        return [("a", 0, 17)] if "sink_positions" in sql else []

    def command(self, sql: str, parameters: dict[str, object] | None = None) -> None:
        self.query(sql, parameters)


class Assigned:
    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.end = 1_000

    def before_bounds(self) -> None:
        """What happens between the reading of the positions and the next step."""

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0, *, cached: bool = False
    ) -> tuple[int, int]:
        self.before_bounds()
        return 0, self.end

    def commit(self, **_: object) -> None:
        """Step 4."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.offsets = [part.offset for part in partitions]


class Breaking:
    """A consumer whose callback asks a store that fails."""

    def __init__(self, one: Sink, *, stop: bool) -> None:
        self._sink, self._stop = one, stop
        self.closed = False

    def subscribe(self, topics: list[str], on_assign: object) -> None:
        pass

    def consume(self, count: int, timeout: float) -> list[Any]:
        if self._stop:
            self._sink.stop()
        raise StoreFailed("down")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def nowhere() -> Iterator[SinkSettings]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield SinkSettings(f"127.0.0.1:{listening.getsockname()[1]}")


def test_positions_are_read_again_until_they_are_known(nowhere: SinkSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "_FIRST_RETRY_SECONDS", 0.001)
    store = DownForAWhile()
    one = Sink(nowhere, store, SinkMetrics())  # type: ignore[arg-type]
    store.failures = 3
    consumer = Assigned()
    one._consumer = consumer  # type: ignore[assignment]
    one._begin(consumer, [TopicPartition("a", 0), TopicPartition("a", 1)])  # type: ignore[arg-type]
    assert consumer.offsets == [17, 0]
    assert store.asked == 4


def test_positions_of_a_topic_that_was_made_anew_are_forgotten_however_often_that_fails(
    nowhere: SinkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_FIRST_RETRY_SECONDS", 0.001)
    store = DownForAWhile()
    one = Sink(nowhere, store, SinkMetrics())  # type: ignore[arg-type]
    consumer = Assigned()
    consumer.end = 5
    monkeypatch.setattr(consumer, "before_bounds", lambda: setattr(store, "failures", 3))
    one._consumer = consumer  # type: ignore[assignment]
    one._begin(consumer, [TopicPartition("a", 0)])  # type: ignore[arg-type]
    assert consumer.offsets == [0]
    assert store.asked == 1 + 4


def test_a_store_that_fails_does_not_end_a_sink_as_if_it_had_been_stopped(nowhere: SinkSettings) -> None:
    one = Sink(nowhere, DownForAWhile(), SinkMetrics())  # type: ignore[arg-type]
    one._consumer = consumer = Breaking(one, stop=False)
    with pytest.raises(StoreFailed):
        one.run()
    assert consumer.closed


def test_a_sink_that_is_stopped_while_the_store_is_down_ends_well(nowhere: SinkSettings) -> None:
    one = Sink(nowhere, DownForAWhile(), SinkMetrics())  # type: ignore[arg-type]
    one._consumer = consumer = Breaking(one, stop=True)
    one.run()
    assert consumer.closed
