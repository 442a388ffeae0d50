"""How far the pipeline has come: per partition, input end, metered, stored."""

from collections.abc import Callable
from dataclasses import dataclass

import tenacity
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import TopicName, TopicNames
from streams.topic_ends import TopicEnds
from streams.topics import partition_count

WORKER_GROUP = "rtmeter-worker"
_REQUEST_SECONDS = 30.0
_RETRY_SECONDS = 0.2

_PASSING = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE)

Offsets = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition of `package-assignments`: offsets of the next record to come, to meter, to store."""

    partition: int
    input_end: int
    metered: int
    stored: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Ends and committed offsets of every topic, read at about one moment."""

    names: TopicNames
    ends: Offsets
    metered: Offsets
    stored: Offsets

    @property
    def partitions(self) -> list[PartitionProgress]:
        topic = self.names.package_assignments
        return [
            PartitionProgress(
                partition, end, self.metered.get((topic, partition), 0), self.stored.get((topic, partition), 0)
            )
            for (name, partition), end in sorted(self.ends.items())
            if name == topic
        ]

    @property
    def records_to_meter(self) -> int:
        return sum(max(0, part.input_end - part.metered) for part in self.partitions)

    @property
    def records_to_store(self) -> int:
        """Records of all topics that are not in the store."""
        return sum(max(0, end - self.stored.get(key, 0)) for key, end in self.ends.items())


class ProgressReader:
    """Asks Kafka; one client for many readings."""

    def __init__(self, bootstrap_servers: str, names: TopicNames, prefix: str) -> None:
        quiet = {"bootstrap.servers": bootstrap_servers, "log_level": 2}
        self._ends = TopicEnds(bootstrap_servers, _REQUEST_SECONDS)
        # A consumer that never joins: the admin client's own call for committed offsets can wait for ever while the
        # group's coordinator is loading.
        self._workers = Consumer({**quiet, "group.id": prefix + WORKER_GROUP, "enable.auto.commit": False})
        self._names = names
        count = partition_count(bootstrap_servers, names)
        self._keys: list[tuple[TopicName, int]] = [
            (topic, partition) for topic in names.co_partitioned for partition in range(count)
        ]
        self._keys.append((names.catalog, 0))

    def read(self, stored: Callable[[], Offsets]) -> Progress:
        """The progress now; KafkaException while the broker cannot tell.

        What was metered and stored is asked before the ends, so that a lag is never hidden.
        """
        metered = self._metered()
        return Progress(self._names, metered=metered, stored=stored(), ends=self._ends.read(self._keys))

    def _metered(self) -> Offsets:
        topic = self._names.package_assignments
        wanted = [TopicPartition(*key) for key in self._keys if key[0] == topic]
        # A broker that has just started answers "not coordinator" for a moment.
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_delay(_REQUEST_SECONDS),
            wait=tenacity.wait_fixed(_RETRY_SECONDS),
            reraise=True,
        ):
            with attempt:
                found = self._workers.committed(wanted, timeout=_REQUEST_SECONDS)
        return {(part.topic, part.partition): max(0, part.offset) for part in found}


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and bool(error.args[0].retriable() or error.args[0].code() in _PASSING)
