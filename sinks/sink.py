"""The sink: Kafka to ClickHouse. What it does with what it reads, step by step, is `sinks.loop`; here are the real
consumer, the waiting between attempts, and the metrics.

Nothing is skipped: a block that cannot be inserted is tried again until it can, and the lag shows it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tenacity
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition
from msgspec import Struct

from schemas.topics import TopicNames
from sinks import rows
from sinks.look import SinkLook
from sinks.loop import Position, SinkLoop
from sinks.metrics import SinkMetrics
from sinks.positions import choose_start, forget_positions
from sinks.store import Store, StoreFailed
from streams.health import Health
from streams.log import KafkaLog, LogFailed
from streams.look import LOOK_SECONDS, REQUEST_SECONDS
from streams.topic_ends import TopicEnds

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
                "enable.partition.eof": True,
                "session.timeout.ms": settings.session_timeout_ms,
                "heartbeat.interval.ms": settings.session_timeout_ms // 4,
                # An insert that is being retried may take long, and must not cost the partitions.
                "max.poll.interval.ms": 3_600_000,
                "queued.max.messages.kbytes": _QUEUED_KBYTES,
                "fetch.message.max.bytes": 16_777_216,
                "fetch.wait.max.ms": 100,
                "logger": logger,
            }
        )
        self._positions: dict[tuple[str, int], int] = {}
        self._assigned = False
        self._look = SinkLook(self, TopicEnds(settings.bootstrap_servers, REQUEST_SECONDS), metrics)
        # The log is only for catalog records that are refused.
        self._loop = SinkLoop(names, store, KafkaLog(settings.bootstrap_servers), self, self._persist)

    def stop(self) -> None:
        """Stop after the batch under way; from any thread or signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Fill the store until `stop`. LogFailed when Kafka fails for good."""
        self._consumer.subscribe(self._loop.topics, on_assign=self._begin)
        looking = threading.Thread(target=self._keep_looking, name="look", daemon=True)
        looking.start()
        try:
            while not self._stopping.is_set():
                messages = self._consumer.consume(_MAX_RECORDS, timeout=_WAIT_SECONDS)
                self._loop.store(list(_records(messages)))
                self._pass_over(messages)
        except StoreFailed:
            if not self._stopping.is_set():
                raise
            # Asked to stop in the middle of retries: nothing was committed, all will be inserted again.
            logger.warning("stopped before the store could be reached")
        finally:
            self._consumer.close()
            self._stopping.set()
            looking.join()

    def health(self) -> Health:
        """Ready: partitions are assigned, and the store has said how far it is. Unhealthy: rows wait, and none is stored."""
        return self._look.health()

    @property
    def assigned(self) -> bool:
        """Whether the store has said where to read the assigned partitions on."""
        return self._assigned

    def positions(self) -> dict[tuple[str, int], int]:
        """Of each assigned (topic, partition) the offset up to which everything is stored."""
        return self._positions.copy()

    def taken_ms(self) -> dict[tuple[str, int], int]:
        """Append time of the last record stored of each."""
        return self._loop.taken_ms.copy()

    def commit(self, positions: Sequence[Position]) -> None:
        offsets = [TopicPartition(*position) for position in positions]
        if not offsets:
            return
        self._positions.update({(position.topic, position.partition): position.offset for position in positions})
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as error:
            # Another sink may have taken the partition over: it inserts the same rows again.
            logger.warning("offsets are not committed: %s", error)

    def _begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read each assigned partition from where the store's rows end."""
        self._assigned = False
        positions = self._loop.begin([(part.topic, part.partition) for part in partitions])
        for part in partitions:
            key = (part.topic, part.partition)
            begin, end = consumer.get_watermark_offsets(part, timeout=_BOUNDS_SECONDS)
            start = choose_start(positions.get(key), begin, end)
            if start.anew:
                logger.warning("%s[%d] was made anew: it is read from its beginning", *key, extra=_about(key))
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
                    extra={**_about(key), "offset": begin, "records": start.missing},
                )
                # A partition that holds nothing brings no record to do it: whoever waits for it would wait for ever.
                self._loop.skip_to(Position(*key, start.offset))
            part.offset = start.offset
        consumer.assign(partitions)
        self._positions = {(part.topic, part.partition): part.offset for part in partitions}
        self._assigned = True
        # A former owner may have died before it could tell the group (step 4).
        self.commit([Position(*key, offset) for key, offset in positions.items()])

    def _pass_over(self, messages: Sequence[Message]) -> None:
        """Of a partition whose end was reached, what has no record before it is done too: a transaction's marks."""
        ahead = []
        for message in messages:
            key, end = (message.topic() or "", message.partition() or 0), message.offset() or 0
            if _is_end(message) and key[0] in self._loop.transactional and end > self._positions.get(key, end):
                ahead.append(Position(*key, end))
                self._loop.skip_to(ahead[-1])
        self.commit(ahead)

    def _keep_looking(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._look.look()

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
        started = time.monotonic()
        result = retrying(statement)
        if block is not None:
            self._metrics.insert_time.labels(block.table).observe(time.monotonic() - started)
            self._metrics.rows.labels(block.table).inc(len(block.columns[0]))
        return result

    def _note_failure(self, block: rows.Block | None, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        again = f"trying again (attempt {state.attempt_number}): {failure}"
        if block is None:
            self._metrics.failures.labels(rows.POSITIONS_TABLE).inc()
            logger.error("the store does not say what it holds, %s", again, extra={"attempt": state.attempt_number})
            return
        self._metrics.failures.labels(block.table).inc()
        about = {"table": block.table, "rows": len(block.columns[0]), "attempt": state.attempt_number}
        logger.error("%d rows of %s cannot be stored, %s", len(block.columns[0]), block.table, again, extra=about)


def _about(key: tuple[str, int]) -> dict[str, object]:
    return {"topic": key[0], "partition": key[1]}


def _records(messages: Sequence[Message]) -> Iterator[rows.SinkRecord]:
    for message in messages:
        error = message.error()
        if error is None:
            yield _record(message)
        elif _is_end(message):
            pass
        elif error.fatal():
            raise LogFailed(f"Kafka cannot be read: {error.str()}")
        else:
            logger.warning("Kafka: %s", error.str())


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


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
