"""The sink: Kafka to ClickHouse, at least once, and harmless, because a repeated row is the same row.

Step by step, and what a crash after each step leaves:

1. Read records; make one block per Kafka partition and table.   Nothing.
2. Insert each block, retrying for ever.                         Rows that will be inserted again: the same rows.
3. Insert the position of each partition.                        Done: the position lives with the rows.
4. Commit the group offsets.                                     Only monitoring reads them.

Nothing is skipped: a block that cannot be inserted is tried again until it can, and the lag shows it.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

import tenacity
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.catalog import CatalogVersion, decode_catalog
from schemas.dead_letters import DeadLetter, headers_of
from schemas.reasons import Refused
from schemas.topics import TopicNames
from sinks import rows
from sinks.catalog import load_catalog
from sinks.positions import choose_start, forget_positions, stored_positions
from sinks.store import Store, StoreFailed, patiently
from sinks.whole_runs import WholeRuns
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
        self._names = TopicNames.with_prefix(settings.topic_prefix)
        self._store = store
        self._metrics = metrics
        self._stopping = threading.Event()
        # Only for catalog records that are refused.
        self._log = KafkaLog(settings.bootstrap_servers)
        self._catalog = patiently(load_catalog, store)
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
        self._runs: defaultdict[int, WholeRuns] = defaultdict(WholeRuns)
        names = self._names
        self._builders: dict[str, rows.Builder] = {
            names.package_assignments: rows.raw_event_blocks,
            names.entitlements: rows.entitlement_blocks,
            names.daily_usage: rows.daily_usage_blocks,
            names.dead_letters: rows.dead_letter_blocks,
            names.catalog: self._catalog_blocks,
        }

    def stop(self) -> None:
        """Stop after the batch under way; from any thread or signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Fill the store until `stop`. LogFailed when Kafka fails for good."""
        self._consumer.subscribe(list(self._builders), on_assign=self._go_on)
        try:
            while not self._stopping.is_set():
                self._store_batch(self._consumer.consume(_MAX_RECORDS, timeout=_WAIT_SECONDS))
        except StoreFailed:
            if not self._stopping.is_set():
                raise
            # Asked to stop in the middle of retries: nothing was committed, all will be inserted again.
            logger.warning("stopped before the store could be reached")
        finally:
            self._consumer.close()

    def _store_batch(self, messages: Sequence[Message]) -> None:
        by_partition: dict[tuple[str, int], list[rows.SinkRecord]] = defaultdict(list)
        for message in messages:
            error = message.error()
            if error is not None:
                self._note(error)
                continue
            record = _record(message)
            by_partition[(record.topic, record.partition)].append(record)
        offsets = []
        for (topic, partition), records in by_partition.items():
            next_offset = records[-1].offset + 1
            if topic == self._names.entitlements:
                runs = self._runs[partition]
                records = runs.take(records)
                next_offset = runs.position(next_offset)
            for block in self._builders[topic](records):
                self._insert(block)
            offsets.append(TopicPartition(topic, partition, next_offset))
        if offsets:
            self._insert(rows.position_block([(part.topic, part.partition, part.offset) for part in offsets]))
            self._commit(offsets)

    def _go_on(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read each assigned partition from where the store's rows end."""
        # As often as it takes: a sink that does not know where to go on must neither begin again nor end.
        positions = self._retrying(_note_unread_positions)(stored_positions, self._store)
        for part in partitions:
            begin, end = consumer.get_watermark_offsets(part, timeout=_BOUNDS_SECONDS)
            start = choose_start(positions.get((part.topic, part.partition)), begin, end)
            if start.anew:
                logger.warning("%s[%d] was made anew: it is read from its beginning", part.topic, part.partition)
                forget_positions(self._store, [(part.topic, part.partition)])
            if start.missing:
                self._metrics.missing.labels(part.topic).inc(start.missing)
                logger.error(
                    "%s[%d] begins at offset %d: %d records before it are not in this store and cannot be read any "
                    "more. What follows from raw events can be rebuilt: docs/recovery.md",
                    part.topic,
                    part.partition,
                    begin,
                    start.missing,
                )
                # A partition that holds nothing brings no record to do it: whoever waits for it would wait for ever.
                self._insert(rows.position_block([(part.topic, part.partition, start.offset)]))
            part.offset = start.offset
        # What waits was not stored: it is read again.
        self._runs.clear()
        consumer.assign(partitions)

    def _insert(self, block: rows.Block) -> None:
        if not block.columns:
            return
        insert = self._retrying(lambda state: self._note_failure(block, state))
        insert(self._store.insert, block.table, block.names, block.columns)
        self._metrics.rows.labels(block.table).inc(len(block.columns[0]))

    def _retrying(self, note: Callable[[tenacity.RetryCallState], None]) -> tenacity.Retrying:
        """Try again until the store answers; StoreFailed only when asked to stop."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreFailed),
            wait=tenacity.wait_exponential(_FIRST_RETRY_SECONDS, max=_LONGEST_RETRY_SECONDS),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=note,
            reraise=True,
        )

    def _note_failure(self, block: rows.Block, state: tenacity.RetryCallState) -> None:
        self._metrics.failures.labels(block.table).inc()
        failure = state.outcome.exception() if state.outcome else None
        logger.error(
            "%d rows of %s cannot be stored, trying again (attempt %d): %s",
            len(block.columns[0]),
            block.table,
            state.attempt_number,
            failure,
        )

    def _commit(self, offsets: list[TopicPartition]) -> None:
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as error:
            # Another sink may have taken the partition over: it inserts the same rows again.
            logger.warning("offsets are not committed: %s", error)
        for offset in offsets:
            _, high = self._consumer.get_watermark_offsets(offset, cached=True)
            if high >= 0:
                self._metrics.lag.labels(offset.topic, str(offset.partition)).set(max(0, high - offset.offset))

    def _catalog_blocks(self, records: Sequence[rows.SinkRecord]) -> list[rows.Block]:
        """Catalog records are raw events, versions, and dead letters where they are refused.

        The letters' rows come first, though the topic brings them too: so a redriven record of the catalog that is
        stored and is no dead letter was taken (`billing.dead_letters`).
        """
        versions: list[CatalogVersion] = []
        letters: list[rows.SinkRecord] = []
        for record in records:
            try:
                version = decode_catalog(record.value, record.key, record.append_time_ms, record.offset)
                if self._catalog.add(version):
                    versions.append(version)
            except Refused as refused:
                letters.append(self._refuse(record, refused))
        self._log.wait()
        blocks = rows.dead_letter_blocks(letters) if letters else []
        blocks += rows.raw_event_blocks(records)
        return blocks + rows.catalog_blocks(versions) if versions else blocks

    def _refuse(self, record: rows.SinkRecord, refused: Refused) -> rows.SinkRecord:
        letter = DeadLetter(
            refused.reason,
            refused.detail,
            record.topic,
            record.partition,
            record.offset,
            record.append_time_ms,
            record.key,
            record.value,
        )
        headers = headers_of(letter)
        self._log.write_with_headers(self._names.dead_letters, 0, letter.key, letter.value, headers)
        return record._replace(headers=headers)

    @staticmethod
    def _note(error: KafkaError) -> None:
        if error.fatal():
            raise LogFailed(f"Kafka cannot be read: {error.str()}")
        logger.warning("Kafka: %s", error.str())


def _note_unread_positions(state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    logger.error("positions cannot be read, trying again (attempt %d): %s", state.attempt_number, failure)


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
