"""Prometheus metrics of a stream worker."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.core.partition import Applied, PartitionState


class WorkerMetrics:
    """What a worker counts. Counters start at zero with the process; the cumulative truth is in the watermarks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._records = counter("rtmeter_worker_records_total", "Input records taken into the state")
        self._refused = counter("rtmeter_worker_refused_total", "Records refused as dead letters", ("reason",))
        self._changed = counter("rtmeter_worker_entitlement_records_total", "Entitlement records written")
        self._daily = counter("rtmeter_worker_daily_rows_total", "Daily rows written")
        self._restated = counter("rtmeter_worker_restated_days_total", "Daily rows that restate a closed day")
        self._anomalies = counter(
            "rtmeter_worker_anomalies_total", "Removals that found nothing, ambiguous assignments"
        )
        self._healed = counter("rtmeter_worker_healed_records_total", "Records written again over a stale owner's")
        self._partitions = Gauge("rtmeter_worker_partitions", "Partitions owned", registry=self.registry)
        self._subscribers = Gauge("rtmeter_worker_subscribers", "Subscribers in the state", registry=self.registry)
        self._batch = Histogram(
            "rtmeter_worker_batch_records",
            "Input records per batch",
            buckets=(1, 10, 100, 1_000, 10_000, 100_000),
            registry=self.registry,
        )
        self._restore = Histogram(
            "rtmeter_worker_restore_seconds",
            "Time to restore a partition",
            buckets=(0.01, 0.1, 1, 10, 60, 300),
            registry=self.registry,
        )

    def applied(self, applied: Applied) -> None:
        self._records.inc(applied.taken)
        self._batch.observe(applied.taken)
        self._changed.inc(len(applied.pages) + len(applied.entitlements))
        self._daily.inc(len(applied.daily_rows))
        self._restated.inc(applied.restated_days)
        self._anomalies.inc(applied.anomalies)
        for letter in applied.dead_letters:
            self._refused.labels(letter.reason).inc()

    def healed(self, records: int) -> None:
        self._healed.inc(records)

    def owned(self, states: Mapping[int, PartitionState]) -> None:
        self._partitions.set(len(states))
        self._subscribers.set(
            sum(account.subscriber_count() for state in states.values() for account in state.accounts.values())
        )

    @contextmanager
    def restoring(self, partition: int) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._restore.observe(time.monotonic() - started)
