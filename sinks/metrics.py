"""What a sink measures: per block, never per row."""

from schemas.metrics import sink as listed
from schemas.metrics.metric import Process
from streams.instruments import Instruments


class SinkMetrics:
    """The metrics of one sink."""

    def __init__(self) -> None:
        instruments = Instruments(Process.SINK)
        self.registry = instruments.registry
        self.rows = instruments.counter(listed.ROWS)
        self.insert_time = instruments.histogram(listed.INSERT_TIME)
        self.failures = instruments.counter(listed.INSERT_FAILURES)
        self.missing = instruments.counter(listed.MISSING)
        self.lag_records = instruments.gauge(listed.LAG_RECORDS)
        self.lag_seconds = instruments.gauge(listed.LAG_SECONDS)
        self.look_failures = instruments.counter(listed.LOOK_FAILURES)
