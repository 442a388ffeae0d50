"""How far the pipeline has come: per partition, input end, metered, stored."""

from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.topics import TopicName, TopicNames
from streams.topics import partition_count

WORKER_GROUP = "rtmeter-worker"
SINK_GROUP = "rtmeter-sink"
_REQUEST_SECONDS = 30.0

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
        """Records of all topics that no sink has stored and committed."""
        return sum(max(0, end - self.stored.get(key, 0)) for key, end in self.ends.items())


class ProgressReader:
    """Asks Kafka; one client for many readings."""

    def __init__(self, bootstrap_servers: str, names: TopicNames, prefix: str) -> None:
        quiet = {"bootstrap.servers": bootstrap_servers, "log_level": 2}
        self._admin = AdminClient(quiet)
        # Consumers that never join: the admin client's own call for committed offsets can wait for ever while a
        # group's coordinator is loading.
        self._groups = {
            group: Consumer({**quiet, "group.id": prefix + group, "enable.auto.commit": False})
            for group in (WORKER_GROUP, SINK_GROUP)
        }
        self._names = names
        count = partition_count(bootstrap_servers, names)
        self._keys: list[tuple[TopicName, int]] = [
            (topic, partition) for topic in names.co_partitioned for partition in range(count)
        ]
        self._keys.append((names.catalog, 0))

    def read(self) -> Progress:
        """The progress now; KafkaException while the broker cannot tell. What is committed is read before the ends, so that a lag is never hidden."""
        input_topic = self._names.package_assignments
        metered = self._committed(WORKER_GROUP, [key for key in self._keys if key[0] == input_topic])
        stored = self._committed(SINK_GROUP, self._keys)
        return Progress(self._names, self._ends(), metered, stored)

    def _committed(self, group: str, keys: list[tuple[TopicName, int]]) -> Offsets:
        found = self._groups[group].committed([TopicPartition(*key) for key in keys], timeout=_REQUEST_SECONDS)
        return {(part.topic, part.partition): max(0, part.offset) for part in found}

    def _ends(self) -> Offsets:
        futures = self._admin.list_offsets(
            {TopicPartition(*key): OffsetSpec.latest() for key in self._keys}, request_timeout=_REQUEST_SECONDS
        )
        return {(part.topic, part.partition): future.result(_REQUEST_SECONDS).offset for part, future in futures.items()}
