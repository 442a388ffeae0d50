"""The log that holds the state: writing to it in order, and reading a partition of it back.

One idempotent producer keeps the order inside a partition, so that a watermark in the log means that
everything before it is in the log. Kafka's transactions are not used: see ARCHITECTURE.md, "The ledger".
"""

import ctypes
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.core.account import OutputRecord

logger = logging.getLogger(__name__)

#: How long one call of the client library may take before we look whether the producer has failed.
_POLL_SECONDS = 1.0
_RESTORE_BATCH = 5_000
#: How long to wait for a whole batch: what is there by then is taken. It is what an empty partition costs.
_RESTORE_BATCH_SECONDS = 0.05
_BOUNDS_SECONDS = 30

#: Called with (partition, offset) when a watermark is acknowledged.
Acknowledged = Callable[[int, int], None]


class LogFailed(Exception):
    """The log cannot be written or read: the process must stop, because going on could cost data."""


class Log(Protocol):
    """What the ledger needs of the log; `KafkaLog` is the real one."""

    def write(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        """Hand records over, in order; they may still be under way when this returns."""

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        """As `write`, for one record with headers."""

    def write_watermark(self, topic: str, partition: int, record: OutputRecord, then: Acknowledged) -> None:
        """As `write`, for one record; `then` hears its offset once it is acknowledged."""

    def wait(self) -> None:
        """Return when everything handed over is acknowledged."""

    def poll(self) -> None:
        """Let acknowledgements be heard."""

    def read(self, topic: str, partition: int, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """(offset, key, value) of all that a partition holds now, from offset `first` on."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The offset from which on a partition's records are still there, and the one that the next will have."""

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record of a partition will have."""


class KafkaLog:
    """The log on Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._failure: str | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                # A record is given up never: an undelivered one would be a hole before its watermark.
                "message.timeout.ms": 0,
                # Compressed, an event costs a sixteenth more here, and the broker unpacks every batch of a compacted
                # topic to look at its keys. A record has some hundred bytes, so the disk is the cheaper side.
                "compression.type": "none",
                "linger.ms": 5,
                "batch.num.messages": 20_000,
                "batch.size": 1_000_000,
                "message.max.bytes": 16_777_216,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 524_288,
                "error_cb": self._on_error,
                # What the client library has to say stands among our lines, not beside them.
                "logger": logger,
            }
        )

    def write(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        waiting = list(records)
        while waiting:
            taken = self._producer.produce_batch(topic, waiting, partition=partition, on_delivery=None)
            waiting = [] if taken == len(waiting) else [record for record in waiting if self._queue_was_full(record)]
            if waiting:
                self._producer.poll(_POLL_SECONDS)
            self._stop_if_failed()

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self._produce(
            lambda: self._producer.produce(
                topic,
                value,
                key,
                partition,
                on_delivery=self._on_delivery,
                headers=headers,  # type: ignore[arg-type]
            )
        )

    def write_watermark(self, topic: str, partition: int, record: OutputRecord, then: Acknowledged) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            self._on_delivery(error, message)
            if error is None:
                then(partition, message.offset() or 0)

        self._produce(
            lambda: self._producer.produce(topic, record["value"], record["key"], partition, on_delivery=delivered)
        )

    def wait(self) -> None:
        while self._producer.flush(_POLL_SECONDS):
            self._stop_if_failed()
        self._stop_if_failed()

    def poll(self) -> None:
        self._producer.poll(0)
        self._stop_if_failed()

    def read(self, topic: str, partition: int, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": "rtmeter-restore",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_uncommitted",
                # Where the log does not begin at 0 any more. To ask for its beginning at once takes half a second.
                "auto.offset.reset": "earliest",
                # The defaults are for a trickle; a restore wants the whole partition at once.
                "queued.min.messages": 1_000_000,
                "queued.max.messages.kbytes": 262_144,
                "fetch.max.bytes": 104_857_600,
                "max.partition.fetch.bytes": 16_777_216,
                # The end of a partition shows when a fetch comes back empty: do not let the broker wait for more.
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, partition, first)])
            while True:
                for message in consumer.consume(_RESTORE_BATCH, timeout=_RESTORE_BATCH_SECONDS):
                    error = message.error()
                    if error is None:
                        key, value = message.key(), message.value()
                        if key is not None and value is not None:
                            yield message.offset() or 0, key, value  # type: ignore[misc]
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not error.retriable() and error.fatal():
                        raise LogFailed(f"{topic}[{partition}] cannot be read: {error.str()}")
        finally:
            consumer.close()
            _give_back_free_memory()

    def end(self, topic: str, partition: int) -> int:
        return self.bounds(topic, partition)[1]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": "rtmeter-restore",
                "isolation.level": "read_uncommitted",
            }
        )
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_BOUNDS_SECONDS)
            return int(low), int(high)
        except KafkaException as error:
            raise LogFailed(f"{topic}[{partition}]: its begin and end cannot be read: {error}") from error
        finally:
            consumer.close()

    def _produce(self, call: Callable[[], None]) -> None:
        while True:
            try:
                call()
                return
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
                self._stop_if_failed()
            except KafkaException as error:
                raise LogFailed(f"a record cannot be written: {error}") from error

    def _queue_was_full(self, record: OutputRecord) -> bool:
        error = record.pop("_error", None)  # type: ignore[typeddict-item]
        if error is None:
            return False
        if error.code() != KafkaError._QUEUE_FULL:
            raise LogFailed(f"a record of key {record['key']!r} cannot be written: {error.str()}")
        return True

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = error.str()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = f"{message.topic()}[{message.partition()}]: {error.str()}"

    def _stop_if_failed(self) -> None:
        if self._failure is not None:
            raise LogFailed(f"the log cannot be written: {self._failure}")


def _give_back_free_memory() -> None:
    """Give the reading client's freed buffers back to the system: half as much again as what was restored from them.

    glibc keeps them otherwise; other C libraries have no such call, and need none.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
