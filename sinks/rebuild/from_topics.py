"""The rows that the topics still hold: their records once more, through the builders of the sink.

Only up to where the sink has stored: so what is compared is what the sink made of the same records.
"""

from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition
from msgspec import Struct

from schemas.topics import (
    CATALOG,
    DAILY_USAGE,
    DEAD_LETTERS,
    ENTITLEMENTS,
    PACKAGE_ASSIGNMENTS,
    BaseTopicName,
    prefixed,
)
from sinks import rows
from sinks.positions import Positions
from sinks.rebuild.catalog import CatalogRows
from sinks.rows import Block, Builder, SinkRecord
from streams.log import LogFailed

_RECORDS_PER_BLOCK = 20_000
_WAIT_SECONDS = 0.2
_REQUEST_SECONDS = 30


class Held(Struct, frozen=True):
    """What a partition still holds of what the sink has stored: offsets [begin, end)."""

    topic: str
    partition: int
    begin: int
    end: int


class TopicReader:
    """Reads topics again from their beginning; no group, no commits."""

    def __init__(self, bootstrap_servers: str, prefix: str, positions: Positions) -> None:
        self._prefix = prefix
        self._positions = positions
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": prefix + "rtmeter-rebuild",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # An offset that retention deletes meanwhile would be a hole that nobody sees.
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 131_072,
                "fetch.message.max.bytes": 16_777_216,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def held(self, name: BaseTopicName) -> list[Held]:
        """Each partition of a topic. LogFailed if there is no such topic."""
        topic = prefixed(self._prefix, name)
        found = self._consumer.list_topics(timeout=_REQUEST_SECONDS).topics.get(topic)
        if found is None:
            raise LogFailed(f"there is no topic {topic}: create the topics first, or check the prefix")
        held = []
        for partition in sorted(found.partitions):
            begin, end = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=_REQUEST_SECONDS
            )
            stored = self._positions.get((topic, partition), end)
            held.append(Held(topic, partition, begin, max(begin, min(end, stored))))
        return held

    def blocks(self, name: BaseTopicName, held: Sequence[Held], advance: Callable[[int], None]) -> Iterator[Block]:
        """The rows of a topic's partitions, one after another."""
        build = _builder(name)
        for part in held:
            for records in self._read(part):
                yield from build(records)
                advance(len(records))

    def _read(self, held: Held) -> Iterator[list[SinkRecord]]:
        if held.begin == held.end:
            return
        self._consumer.assign([TopicPartition(held.topic, held.partition, held.begin)])
        try:
            next_offset = held.begin
            while next_offset < held.end:
                records = []
                for message in self._consumer.consume(_RECORDS_PER_BLOCK, timeout=_WAIT_SECONDS):
                    error = message.error()
                    if error is None:
                        next_offset = (message.offset() or 0) + 1
                        if next_offset <= held.end:
                            records.append(_record(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        next_offset = held.end  # what is missing before it is no record, but a transaction's mark
                    elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                        raise LogFailed(f"{held.topic}[{held.partition}] cannot be read: {error.str()}")
                if records:
                    yield records
        finally:
            self._consumer.unassign()


def _builder(name: BaseTopicName) -> Builder:
    builders: dict[BaseTopicName, Builder] = {
        PACKAGE_ASSIGNMENTS: rows.raw_event_blocks,
        CATALOG: CatalogRows(),
        ENTITLEMENTS: rows.entitlement_blocks,
        DAILY_USAGE: rows.daily_usage_blocks,
        DEAD_LETTERS: rows.dead_letter_blocks,
    }
    return builders[name]


def _record(message: Message) -> SinkRecord:
    kind, time_ms = message.timestamp()
    return SinkRecord(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        0 if kind == TIMESTAMP_NOT_AVAILABLE else time_ms,
        message.key(),  # type: ignore[arg-type]
        message.value(),
        message.headers() or (),  # type: ignore[arg-type]
    )
