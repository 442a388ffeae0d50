"""The metrics of a sink."""

from schemas.metrics.metric import (
    INSERT_SECONDS,
    PARTITION,
    TABLE,
    TOPIC,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Process,
    Unit,
)

ROWS = CounterMetric(
    name="rtmeter_sink_rows_total",
    process=Process.SINK,
    unit=Unit.ROWS,
    labels=(TABLE,),
    help="Rows inserted",
    tells="Its rate is the insert rate.",
)
INSERT_TIME = HistogramMetric(
    name="rtmeter_sink_insert_seconds",
    process=Process.SINK,
    unit=Unit.SECONDS,
    labels=(TABLE,),
    buckets=INSERT_SECONDS,
    help="Time per insert, from its first attempt until it was stored",
    tells="A store that gets slow, or had to be asked more than once.",
)
INSERT_FAILURES = CounterMetric(
    name="rtmeter_sink_insert_failures_total",
    process=Process.SINK,
    unit=Unit.FAILURES,
    labels=(TABLE,),
    help="Failed attempts to insert, and, as those of `sink_positions`, to ask the store what it holds",
    tells="Each is tried again until it works; nothing is skipped. While it rises, the store does not take rows.",
)
MISSING = CounterMetric(
    name="rtmeter_sink_missing_records_total",
    process=Process.SINK,
    unit=Unit.RECORDS,
    labels=(TOPIC,),
    help="Records that were gone from a topic before they were stored",
    tells="Anything above 0: retention was shorter than an outage. docs/recovery.md.",
)
LAG_RECORDS = GaugeMetric(
    name="rtmeter_sink_lag_records",
    process=Process.SINK,
    unit=Unit.RECORDS,
    labels=(TOPIC, PARTITION),
    help="Records not yet stored",
    tells="Divided by the insert rate: for how long it will go on.",
)
LAG_SECONDS = GaugeMetric(
    name="rtmeter_sink_lag_seconds",
    process=Process.SINK,
    unit=Unit.SECONDS,
    labels=(TOPIC, PARTITION),
    help="How old the oldest record that is not stored can be; 0 if there is none",
    tells="How far reports are behind what was metered.",
)
LOOK_FAILURES = CounterMetric(
    name="rtmeter_sink_look_failures_total",
    process=Process.SINK,
    unit=Unit.FAILURES,
    help="Times that Kafka did not say where its topics end",
    tells="While it rises, lags are of the last answer.",
)

METRICS = (ROWS, INSERT_TIME, INSERT_FAILURES, MISSING, LAG_RECORDS, LAG_SECONDS, LOOK_FAILURES)
