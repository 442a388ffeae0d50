"""How far a worker is behind, how large its state is, whether it is well."""

from collections.abc import Callable, Mapping

from streams.clock import clock_ms
from streams.lag import Lag
from streams.ledger import Ledger
from streams.look import Look
from streams.metrics import WorkerMetrics
from streams.topic_ends import TopicEnds

#: Counting subscribers goes over all customers.
_STATE_EVERY_LOOKS = 6


class WorkerLook(Look[int]):
    """Looks at the ledger; a partition of the input is its number."""

    waits_for = "partitions are being assigned or restored"
    does = "meter"

    def __init__(
        self,
        topic: str,
        ledger: Ledger,
        ends: TopicEnds,
        metrics: WorkerMetrics,
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        super().__init__(now_ms)
        self._topic = topic
        self._ledger = ledger
        self._ends = ends
        self._metrics = metrics
        self._looks = 0

    def _ready(self) -> bool:
        return self._ledger.restored

    def _positions(self) -> Mapping[int, int]:
        return self._ledger.durable_offsets()

    def _ends_of(self, positions: Mapping[int, int]) -> Mapping[int, int]:
        found = self._ends.read([(self._topic, partition) for partition in positions])
        return {partition: end for (_, partition), end in found.items()}

    def _taken_ms(self) -> Mapping[int, int]:
        return self._ledger.taken_ms()

    def _show(self, lags: Mapping[int, Lag]) -> None:
        self._metrics.lags(lags)
        if self._looks % _STATE_EVERY_LOOKS == 0:
            self._metrics.owned(self._ledger.states())
        self._looks += 1

    def _failed(self) -> None:
        self._metrics.look_failed()
