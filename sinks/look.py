"""How far a sink is behind, and whether it is well."""

from collections.abc import Callable, Mapping
from typing import Protocol

from sinks.metrics import SinkMetrics
from streams.clock import clock_ms
from streams.lag import Lag
from streams.look import Look
from streams.metrics import set_exactly
from streams.topic_ends import TopicEnds

Key = tuple[str, int]


class Looked(Protocol):
    """What is looked at: `sinks.sink.Sink`. From another thread."""

    @property
    def assigned(self) -> bool: ...
    def positions(self) -> dict[Key, int]: ...
    def taken_ms(self) -> dict[Key, int]: ...


class SinkLook(Look[Key]):
    """Looks at a sink; a partition is its topic and number."""

    waits_for = "partitions are being assigned, or the store has not said how far it is"
    does = "store"

    def __init__(
        self, sink: Looked, ends: TopicEnds, metrics: SinkMetrics, now_ms: Callable[[], int] = clock_ms
    ) -> None:
        super().__init__(now_ms)
        self._sink = sink
        self._ends = ends
        self._metrics = metrics

    def _ready(self) -> bool:
        return self._sink.assigned

    def _positions(self) -> Mapping[Key, int]:
        return self._sink.positions()

    def _ends_of(self, positions: Mapping[Key, int]) -> Mapping[Key, int]:
        return self._ends.read(list(positions))

    def _taken_ms(self) -> Mapping[Key, int]:
        return self._sink.taken_ms()

    def _show(self, lags: Mapping[Key, Lag]) -> None:
        set_exactly(self._metrics.lag_records, {(key[0], str(key[1])): lag.records for key, lag in lags.items()})
        set_exactly(self._metrics.lag_seconds, {(key[0], str(key[1])): lag.age_ms / 1000 for key, lag in lags.items()})

    def _failed(self) -> None:
        self._metrics.look_failures.inc()
