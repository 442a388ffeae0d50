"""The sink: Kafka to ClickHouse. What it does with what it reads, step by step, is `sinks.loop`; here are the real
consumer, the waiting between attempts, and the metrics.

Nothing is skipped: a block that cannot be inserted is tried again until it can, and the lag shows it.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tenacity
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, Message, TopicPartition
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.topics import TopicNames
from sinks import rows
from sinks.loop import Position, SinkLoop
from sinks.positions import choose_start, forget_positions
from sinks.store import Store, StoreFailed
from streams.log import KafkaLog, LogFailed

logger = logging.getLogger(__name__)

_MAX_RECORDS = 100_000
_WAIT_SECONDS = 0.2
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 30
#: Sinks and workers share a machine: the sink takes what a batch needs, not what memory holds.
_QUEUED_KBYTES = 131_072
_BOUNDS_SECONDS = 30


class SinkSettings(Struct, frozen=True):
    """Settings of one sink process."""

    bootstrap_servers: str
    topic_prefix: str = ""
    group: str = "rtmeter-sink"
    session_timeout_ms: int = 10_000


class SinkMetrics:
    """Prometheus metrics of a sink."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("rtmeter_sink_rows_total", "Rows inserted", ("table",), registry=self.registry)
        self.failures = Counter(
            "rtmeter_sink_insert_failures_total", "Failed inserts", ("table",), registry=self.registry
        )
        self.missing = Counter(
            "rtmeter_sink_missing_records_total",
            "Records that were gone from a topic before they were stored",
            ("topic",),
            registry=self.registry,
        )
        self.lag = Gauge(
            "rtmeter_sink_lag_records", "Records not yet stored", ("topic", "partition"), registry=self.registry
        )


class Sink:
    """One sink process: a consumer of all five topics."""

    def __init__(self, settings: SinkSettings, store: Store, metrics: SinkMetrics) -> None:
        names = TopicNames.with_prefix(settings.topic_prefix)
        self._metrics = metrics
        self._store = store
        self._stopping = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": settings.topic_prefix + settings.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": settings.session_timeout_ms,
                "heartbeat.interval.ms": settings.session_timeout_ms // 4,
                # An insert that is being retried may take long, and must not cost the partitions.
                "max.poll.interval.ms": 3_600_000,
                "queued.max.messages.kbytes": _QUEUED_KBYTES,
                "fetch.message.max.bytes": 16_777_216,
                "fetch.wait.max.ms": 100,
            }
        )
        # The log is only for catalog records that are refused.
        self._loop = SinkLoop(names, store, KafkaLog(settings.bootstrap_servers), self, self._persist)

    def stop(self) -> None:
        """Stop after the batch under way; from any thread or signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Fill the store until `stop`. LogFailed when Kafka fails for good."""
        self._consumer.subscribe(self._loop.topics, on_assign=self._begin)
        try:
            while not self._stopping.is_set():
                self._loop.store(list(_records(self._consumer.consume(_MAX_RECORDS, timeout=_WAIT_SECONDS))))
        except StoreFailed:
            if not self._stopping.is_set():
                raise
            # Asked to stop in the middle of retries: nothing was committed, all will be inserted again.
            logger.warning("stopped before the store could be reached")
        finally:
            self._consumer.close()

    def commit(self, positions: Sequence[Position]) -> None:
        offsets = [TopicPartition(*position) for position in positions]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as error:
            # Another sink may have taken the partition over: it inserts the same rows again.
            logger.warning("offsets are not committed: %s", error)
        for offset in offsets:
            _, high = self._consumer.get_watermark_offsets(offset, cached=True)
            if high >= 0:
                self._metrics.lag.labels(offset.topic, str(offset.partition)).set(max(0, high - offset.offset))

    def _begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read each assigned partition from where the store's rows end."""
        positions = self._loop.begin([(part.topic, part.partition) for part in partitions])
        for part in partitions:
            key = (part.topic, part.partition)
            begin, end = consumer.get_watermark_offsets(part, timeout=_BOUNDS_SECONDS)
            start = choose_start(positions.get(key), begin, end)
            if start.anew:
                logger.warning("%s[%d] was made anew: it is read from its beginning", *key)
                self._persist(lambda key=key: forget_positions(self._store, [key]), None)  # type: ignore[misc]
                positions.pop(key, None)
            if start.missing:
                self._metrics.missing.labels(part.topic).inc(start.missing)
                logger.error(
                    "%s[%d] begins at offset %d: %d records before it are not in this store and cannot be read any "
                    "more. What follows from raw events can be rebuilt: docs/recovery.md",
                    *key,
                    begin,
                    start.missing,
                )
                # A partition that holds nothing brings no record to do it: whoever waits for it would wait for ever.
                self._loop.skip_to(Position(*key, start.offset))
            part.offset = start.offset
        consumer.assign(partitions)
        # A former owner may have died before it could tell the group (step 4).
        self.commit([Position(*key, offset) for key, offset in positions.items()])

    def _persist(self, statement: Callable[[], Any], block: rows.Block | None) -> Any:
        """Try until it works: with backoff, for ever, or until `stop`."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreFailed),
            wait=tenacity.wait_exponential(_FIRST_RETRY_SECONDS, max=_LONGEST_RETRY_SECONDS),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=lambda state: self._note_failure(block, state),
            reraise=True,
        )
        result = retrying(statement)
        if block is not None:
            self._metrics.rows.labels(block.table).inc(len(block.columns[0]))
        return result

    def _note_failure(self, block: rows.Block | None, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        again = f"trying again (attempt {state.attempt_number}): {failure}"
        if block is None:
            logger.error("the store does not say what it holds, %s", again)
            return
        self._metrics.failures.labels(block.table).inc()
        logger.error("%d rows of %s cannot be stored, %s", len(block.columns[0]), block.table, again)


def _records(messages: Sequence[Message]) -> Iterator[rows.SinkRecord]:
    for message in messages:
        error = message.error()
        if error is None:
            yield _record(message)
        elif error.fatal():
            raise LogFailed(f"Kafka cannot be read: {error.str()}")
        else:
            logger.warning("Kafka: %s", error.str())


def _record(message: Message) -> rows.SinkRecord:
    kind, time_ms = message.timestamp()
    return rows.SinkRecord(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        0 if kind == TIMESTAMP_NOT_AVAILABLE else time_ms,
        message.key(),  # type: ignore[arg-type]
        message.value(),
        message.headers() or (),  # type: ignore[arg-type]
    )
