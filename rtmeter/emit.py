"""`rtmeter emit`: lines of files to their topics, under their keys."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from rtmeter.lines import FileLine
from schemas.catalog import decode_catalog
from schemas.decode import decode_assignment
from schemas.reasons import Refused
from schemas.routing import Route, route_of
from schemas.topics import CATALOG, TopicNames
from streams.log import LogFailed
from streams.topics import partition_count

FLUSH_SECONDS = 120
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RefusedLine:
    line: FileLine
    refusal: Refused


@dataclass(slots=True)
class Emitted:
    """What came of the lines: `records` written (a day-closed event is one per partition), lines refused."""

    lines: int = 0
    records: int = 0
    refused: list[RefusedLine] = field(default_factory=list)


def validate(line: FileLine, route: Route, now_ms: int) -> None:
    """Refused if the pipeline would refuse this line as a record appended now."""
    if route.topic == CATALOG:
        decode_catalog(line.value, route.key, now_ms, 0)
    else:
        decode_assignment(line.value, route.key, now_ms, 0)


def event_producer(bootstrap_servers: str) -> Producer:
    """A producer of events: ordered, acknowledged by all, with the partitions that every sender's client chooses."""
    return Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 2,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            # As Java's clients do it, so that a customer's events meet in one partition whoever sends them.
            "partitioner": "murmur2_random",
            "message.max.bytes": 2_097_152,
            "queue.buffering.max.messages": 200_000,
        }
    )


class Emitter:
    """Produces lines; `finish` tells whether all of them arrived."""

    def __init__(self, bootstrap_servers: str, names: TopicNames) -> None:
        self._names = names
        self._partitions = partition_count(bootstrap_servers, names)
        self._failure: str | None = None
        self._producer = event_producer(bootstrap_servers)

    def emit(
        self, lines: Iterable[FileLine], *, raw: bool, now_ms: Callable[[], int], advance: Callable[[FileLine], None]
    ) -> Emitted:
        """Send the lines in order. Without `raw` those that would be refused are kept back.

        LogFailed when Kafka does not take them.
        """
        emitted = Emitted()
        for line in lines:
            emitted.lines += 1
            route = route_of(line.value)
            try:
                if not raw:
                    validate(line, route, now_ms())
                emitted.records += self._send(line, route)
            except Refused as refusal:
                emitted.refused.append(RefusedLine(line, refusal))
            advance(line)
        if self._producer.flush(FLUSH_SECONDS):
            raise LogFailed("Kafka does not acknowledge the records: is it running, and are there topics?")
        self._stop_if_failed()
        return emitted

    def _send(self, line: FileLine, route: Route) -> int:
        topic = self._names.catalog if route.topic == CATALOG else self._names.package_assignments
        if route.every_partition:
            for partition in range(self._partitions):
                self._produce(topic, line, None, partition)
            return self._partitions
        self._produce(topic, line, route.key, -1)
        return 1

    def _produce(self, topic: str, line: FileLine, key: bytes | None, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, line.value, key, partition, on_delivery=self._on_delivery)
                self._producer.poll(0)
                break
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise LogFailed(f"{line.file} line {line.number} cannot be sent: {error.args[0].str()}") from error
        self._stop_if_failed()

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failure = error.str()

    def _stop_if_failed(self) -> None:
        if self._failure is not None:
            raise LogFailed(f"a record was not delivered: {self._failure}")
