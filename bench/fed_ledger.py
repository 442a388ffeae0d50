"""A worker's ledger that is fed without Faust, and whose input is in its topic all the same: a restore looks whether it is."""

from collections.abc import Sequence

from msgspec import Struct

from schemas.topics import TopicNames
from streams.ledger import Ledger
from streams.log import KafkaLog
from streams.metrics import WorkerMetrics


class Input(Struct, frozen=True):
    """A record of `package-assignments`, as the state takes it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class FedLedger(Ledger):
    """The ledger on a Kafka, under a topic prefix."""

    def __init__(self, bootstrap: str, prefix: str = "") -> None:
        self._fed = KafkaLog(bootstrap), TopicNames.with_prefix(prefix).package_assignments
        super().__init__(KafkaLog(bootstrap), TopicNames.with_prefix(prefix), WorkerMetrics())

    def feed(self, partition: int, batch: Sequence[Input]) -> None:
        """Send the records, and apply them."""
        log, topic = self._fed
        log.write(topic, partition, [{"key": record.key, "value": record.value} for record in batch])
        self.apply(partition, batch[0].offset, batch)

    def finish(self) -> None:
        self._fed[0].wait()
        super().finish()
