"""The list. `docs/metrics.md` is written from it, and no process can export what it does not hold."""

from schemas.metrics import billing, sink, worker
from schemas.metrics.metric import Metric

METRICS: tuple[Metric, ...] = (*worker.METRICS, *sink.METRICS, *billing.METRICS)

#: What the client library says of every process, by names that every dashboard knows.
OF_ANY_PROCESS = (
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
)
