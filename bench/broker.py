"""Topics of one run on the broker: made, filled, watched, read back and deleted."""

import time
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.topics import TopicNames
from streams.topics import create_topics

PARTITIONS = 4
_SECONDS = 30.0
_RECORDS_PER_CALL = 50_000
# A call of `consume` waits for as many records as it asks for, or its time-out: at the end, for nothing.
_READ_RECORDS = 10_000
_READ_SECONDS = 0.05
_STALLED_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 0.1
_NOT_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.GROUP_ID_NOT_FOUND,
)

Record = tuple[bytes, bytes]
"""Key and value."""


class RunTopics:
    """The topics of one run, told from those of all others by their prefix."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.names = TopicNames.with_prefix(prefix)
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._group_readers: dict[str, Consumer] = {}

    def create(self) -> None:
        create_topics(self.bootstrap, prefix=self.prefix, partitions=PARTITIONS)

    def fill(self, events: Sequence[Record]) -> None:
        """Put the events into `package-assignments`, and return when they are there."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as the JVM's clients, which a platform is likely to use
                "compression.type": "lz4",
                "linger.ms": 20,
                "log_level": 0,
                "queue.buffering.max.messages": 2 * _RECORDS_PER_CALL,
            }
        )
        for start in range(0, len(events), _RECORDS_PER_CALL):
            batch = [{"key": key, "value": value} for key, value in events[start : start + _RECORDS_PER_CALL]]
            taken = producer.produce_batch(self.names.package_assignments, batch)
            if taken != len(batch) or producer.flush(_STALLED_SECONDS):
                raise TimeoutError("the broker does not take the events")
        held = sum(self.ends(self.names.package_assignments))
        if held != len(events):
            raise RuntimeError(f"{self.names.package_assignments} holds {held} records, not {len(events)}")

    def ends(self, topic: str) -> list[int]:
        """The end offset of each partition."""
        return _patiently(lambda: self._ends(topic))

    def _ends(self, topic: str) -> list[int]:
        asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(PARTITIONS)}
        futures = self._admin.list_offsets(asked, request_timeout=_SECONDS)
        return [int(future.result().offset) for future in futures.values()]

    def committed(self, group: str) -> list[int]:
        """The group's offset in each partition of `package-assignments`; 0 where it has none.

        By a consumer that names the group and never joins it. `AdminClient.list_consumer_group_offsets` ends the
        process (SIGSEGV in rd_kafka_cgrp_op, librdkafka 2.16) when the group's coordinator is still loading.
        """
        return _patiently(lambda: self._committed(group))

    def _committed(self, group: str) -> list[int]:
        reader = self._group_readers.get(group)
        if reader is None:
            settings = {"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0}
            reader = self._group_readers[group] = Consumer(settings)
        topic = self.names.package_assignments
        asked = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        return [max(0, partition.offset) for partition in reader.committed(asked, timeout=_SECONDS)]

    def delete(self) -> None:
        """Delete every topic of the run, those that a library made for itself included."""
        for reader in self._group_readers.values():
            reader.close()
        self._group_readers.clear()
        names = [name for name in self._admin.list_topics(timeout=_SECONDS).topics if self.prefix in name]
        for future in self._admin.delete_topics(names, request_timeout=_SECONDS).values():
            future.result()


def _patiently(ask: Callable[[], list[int]]) -> list[int]:
    """Ask again while the broker says "not yet": a topic or a coordinator that is new, or loads."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return ask()
        except KafkaException as error:
            if time.monotonic() > deadline or error.args[0].code() not in _NOT_YET:
                raise
            time.sleep(_ASK_AGAIN_SECONDS)


def read_to_end(bootstrap: str, topic: str) -> Iterator[list[Message]]:
    """All records of a topic, in batches, in order within each partition; a reader tuned for bulk.

    TimeoutError when the broker gives none for a minute.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "group.id": "bench-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "queued.min.messages": 1_000_000,
            "fetch.max.bytes": 104_857_600,
            "max.partition.fetch.bytes": 16_777_216,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        ended = 0
        last = time.monotonic()
        while ended < PARTITIONS:
            messages = consumer.consume(_READ_RECORDS, timeout=_READ_SECONDS)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > _STALLED_SECONDS:
                raise TimeoutError(f"{topic} cannot be read to its end")
            records = []
            for message in messages:
                error = message.error()
                if error is None:
                    records.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
                elif error.fatal():
                    raise KafkaException(error)
            yield records
    finally:
        consumer.close()
