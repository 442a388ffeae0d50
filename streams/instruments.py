"""The metrics of a process, made of the list: what the list does not hold cannot be counted."""

from itertools import product
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from schemas.metrics.every import METRICS
from schemas.metrics.metric import CounterMetric, GaugeMetric, HistogramMetric, Metric, Process


class Instruments:
    """All metrics of one process, or of one that does the work of several. `registry` is what is exported."""

    def __init__(self, *processes: Process) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS:
            if metric.process in processes:
                self._make(metric)

    def counter(self, metric: CounterMetric) -> Counter:
        """The counter; KeyError if another process has it."""
        return self._counters[metric.name]

    def gauge(self, metric: GaugeMetric) -> Gauge:
        """The gauge; KeyError if another process has it."""
        return self._gauges[metric.name]

    def histogram(self, metric: HistogramMetric) -> Histogram:
        """The histogram; KeyError if another process has it."""
        return self._histograms[metric.name]

    def _make(self, metric: Metric) -> None:
        labels = [label.name for label in metric.labels]
        made: MetricWrapperBase
        match metric:
            case CounterMetric():
                made = self._counters[metric.name] = Counter(metric.name, metric.help, labels, registry=self.registry)
            case HistogramMetric(buckets=buckets):
                made = self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, labels, buckets=buckets, registry=self.registry
                )
            case _:
                gauge = made = self._gauges[metric.name] = Gauge(
                    metric.name, metric.help, labels, registry=self.registry
                )
                if not labels:
                    # The library would say 0, which is an answer. This is none, until something was measured.
                    gauge.set(nan)
        if labels and all(label.values for label in metric.labels) and not isinstance(metric, GaugeMetric):
            # From zero on: a series that begins with its first refusal has no increase by it.
            for values in product(*(label.values for label in metric.labels)):
                made.labels(*values)
