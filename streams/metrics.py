"""What a stream worker measures: at most a few clock readings per run of 256 records, nothing per record."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import Gauge

from schemas.entitlements import Watermark
from schemas.instants import MS_PER_DAY
from schemas.metrics import worker as listed
from schemas.metrics.metric import Process, Stage
from streams.core.partition import Applied, PartitionState
from streams.instruments import Instruments
from streams.lag import Lag


class BatchTimes:
    """Where the time of one batch goes: each `spent` is what has passed since the one before."""

    __slots__ = ("_before", "seconds")

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(Stage, 0.0)
        self._before = time.perf_counter()

    def spent(self, stage: Stage) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._before
        self._before = now


class WorkerMetrics:
    """What a worker counts. Counters start at zero with the process; the cumulative truth is in the watermarks."""

    def __init__(self) -> None:
        instruments = Instruments(Process.WORKER)
        self.registry = instruments.registry
        self._records = instruments.counter(listed.RECORDS)
        self._duplicates = instruments.counter(listed.DUPLICATES)
        self._refused = instruments.counter(listed.REFUSED)
        self._changed = instruments.counter(listed.ENTITLEMENT_RECORDS)
        self._daily = instruments.counter(listed.DAILY_ROWS)
        self._restated = instruments.counter(listed.RESTATED_ROWS)
        self._anomalies = instruments.counter(listed.ANOMALIES)
        self._healed = instruments.counter(listed.HEALED_RECORDS)
        self._partitions = instruments.gauge(listed.PARTITIONS)
        self._subscribers = instruments.gauge(listed.SUBSCRIBERS)
        self._customers = instruments.gauge(listed.CUSTOMERS)
        self._batch = instruments.histogram(listed.BATCH)
        self._batch_time = instruments.histogram(listed.BATCH_TIME)
        self._restore = instruments.histogram(listed.RESTORE)
        self._lag_records = instruments.gauge(listed.LAG_RECORDS)
        self._lag_seconds = instruments.gauge(listed.LAG_SECONDS)
        self._watermark_age = instruments.gauge(listed.WATERMARK_AGE)
        self._closed_until = instruments.gauge(listed.CLOSED_UNTIL)
        self._look_failures = instruments.counter(listed.LOOK_FAILURES)
        self.owned({})

    def applied(self, before: Watermark, applied: Applied) -> None:
        """A run was applied and written. `before`: the partition's watermark until then."""
        self._records.inc(applied.taken)
        self._duplicates.inc(applied.watermark.duplicates - before.duplicates)
        self._changed.inc(len(applied.pages) + len(applied.entitlements))
        self._daily.inc(len(applied.daily_rows))
        self._restated.inc(applied.restated_days)
        self._anomalies.inc(applied.anomalies)
        for letter in applied.dead_letters:
            self._refused.labels(letter.reason).inc()

    def batch(self, records: int, times: BatchTimes) -> None:
        """A whole batch was."""
        self._batch.observe(records)
        for stage, seconds in times.seconds.items():
            self._batch_time.labels(stage).observe(seconds)

    def healed(self, records: int) -> None:
        self._healed.inc(records)

    def owned(self, states: Mapping[int, PartitionState]) -> None:
        """These partitions are owned. From any thread: the state may change meanwhile."""
        self._partitions.set(len(states))
        # A copy, because another thread may add an account while this one counts; `list` of a dict is one step.
        accounts = [account for state in states.values() for account in list(state.accounts.values())]
        self._customers.set(len(accounts))
        self._subscribers.set(sum(account.subscriber_count() for account in accounts))
        ends: dict[tuple[str, ...], float] = {
            (str(partition),): (state.watermark.closed_through_day + 1) * MS_PER_DAY // 1000
            for partition, state in states.items()
            if state.watermark.closed_through_day is not None
        }
        set_exactly(self._closed_until, ends)

    def lags(self, lags: Mapping[int, Lag]) -> None:
        """How far each owned partition is behind its input."""
        set_exactly(self._lag_records, {(str(part),): lag.records for part, lag in lags.items()})
        set_exactly(self._lag_seconds, {(str(part),): lag.age_ms / 1000 for part, lag in lags.items()})
        set_exactly(self._watermark_age, {(str(part),): lag.still_ms / 1000 for part, lag in lags.items()})

    def look_failed(self) -> None:
        self._look_failures.inc()

    @contextmanager
    def restoring(self, partition: int) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._restore.observe(time.monotonic() - started)


def set_exactly(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Let a gauge have these series and no others: what went to another process must not be said by this one too."""
    for labels in list(gauge._metrics):
        if labels not in values:
            gauge.remove(*labels)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
