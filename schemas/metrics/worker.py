"""The metrics of a stream worker. Sums over workers are of all partitions, because each partition has one owner."""

from schemas.metrics.metric import (
    BATCH_RECORDS,
    BATCH_SECONDS,
    PARTITION,
    REASON,
    RESTORE_SECONDS,
    STAGE,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Process,
    Unit,
)

RECORDS = CounterMetric(
    name="rtmeter_worker_records_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    help="Input records taken into the state",
    tells="Its rate is the throughput.",
)
DUPLICATES = CounterMetric(
    name="rtmeter_worker_duplicates_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    help="Input records that repeat one that was metered, and change nothing",
    tells="A sender that repeats much; after a replay by a sender as many as it sent again.",
)
REFUSED = CounterMetric(
    name="rtmeter_worker_refused_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    labels=(REASON,),
    help="Input records refused as dead letters",
    tells="Usage that is missing until somebody acts: docs/dead-letters.md. Conflicts are `identity-conflict`.",
)
ENTITLEMENT_RECORDS = CounterMetric(
    name="rtmeter_worker_entitlement_records_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    help="Records of the state written to `entitlements`",
    tells="How much an input record costs in the log.",
)
DAILY_ROWS = CounterMetric(
    name="rtmeter_worker_daily_rows_total",
    process=Process.WORKER,
    unit=Unit.ROWS,
    help="Daily rows written",
    tells="A leap after midnight UTC is the day's close; otherwise closed days are being restated.",
)
RESTATED_ROWS = CounterMetric(
    name="rtmeter_worker_restated_rows_total",
    process=Process.WORKER,
    unit=Unit.ROWS,
    help="Daily rows that restate a closed day",
    tells="Late facts. Reports that were made before them are out of date.",
)
ANOMALIES = CounterMetric(
    name="rtmeter_worker_anomalies_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    help="Removals that found nothing, and assignments that only their ids order",
    tells="A sender that loses events, or does not send `sequence`.",
)
HEALED_RECORDS = CounterMetric(
    name="rtmeter_worker_healed_records_total",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    help="Records of the state written again over a stale owner's",
    tells="A worker was frozen, woke up and wrote on. It was made good; look for what freezes it.",
)
PARTITIONS = GaugeMetric(
    name="rtmeter_worker_partitions",
    process=Process.WORKER,
    unit=Unit.PARTITIONS,
    help="Partitions owned",
    tells="Their sum over the workers is the number of partitions, or some are not being metered.",
)
SUBSCRIBERS = GaugeMetric(
    name="rtmeter_worker_subscribers",
    process=Process.WORKER,
    unit=Unit.SUBSCRIBERS,
    help="Subscribers in the state",
    tells="The size of the state: about 600 bytes of memory each.",
)
CUSTOMERS = GaugeMetric(
    name="rtmeter_worker_customers",
    process=Process.WORKER,
    unit=Unit.CUSTOMERS,
    help="Customers in the state",
    tells="The size of the state.",
)
BATCH = HistogramMetric(
    name="rtmeter_worker_batch_records",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    buckets=BATCH_RECORDS,
    help="Input records per batch, which is what one fetch brought of a partition",
    tells="Large ones: the worker is catching up. Small ones: it keeps up.",
)
BATCH_TIME = HistogramMetric(
    name="rtmeter_worker_batch_seconds",
    process=Process.WORKER,
    unit=Unit.SECONDS,
    labels=(STAGE,),
    buckets=BATCH_SECONDS,
    help="Time per batch by stage",
    tells="Where the time goes. The rates of its sums are the share of each stage: `acknowledge` is Kafka's, the "
    "others are ours.",
)
RESTORE = HistogramMetric(
    name="rtmeter_worker_restore_seconds",
    process=Process.WORKER,
    unit=Unit.SECONDS,
    buckets=RESTORE_SECONDS,
    help="Time to restore a partition",
    tells="For how long a partition stands still when it changes hands.",
)
LAG_RECORDS = GaugeMetric(
    name="rtmeter_worker_lag_records",
    process=Process.WORKER,
    unit=Unit.RECORDS,
    labels=(PARTITION,),
    help="Input records that are not durably metered",
    tells="Divided by the throughput: for how long it will go on.",
)
LAG_SECONDS = GaugeMetric(
    name="rtmeter_worker_lag_seconds",
    process=Process.WORKER,
    unit=Unit.SECONDS,
    labels=(PARTITION,),
    help="How old the oldest input record that is not durably metered can be; 0 if there is none",
    tells="How late usage is known.",
)
WATERMARK_AGE = GaugeMetric(
    name="rtmeter_worker_watermark_age_seconds",
    process=Process.WORKER,
    unit=Unit.SECONDS,
    labels=(PARTITION,),
    help="For how long the acknowledged watermark has stood still though there was input; 0 if there is none",
    tells="More than a long batch takes: the partition is stuck.",
)
CLOSED_UNTIL = GaugeMetric(
    name="rtmeter_worker_closed_until_timestamp_seconds",
    process=Process.WORKER,
    unit=Unit.TIMESTAMP,
    labels=(PARTITION,),
    help="The midnight UTC that ends the last closed day; no series before the first close",
    tells="`time() - x` is the age of the last closed day. Reports by partner and customer hold closed days only.",
)
LOOK_FAILURES = CounterMetric(
    name="rtmeter_worker_look_failures_total",
    process=Process.WORKER,
    unit=Unit.FAILURES,
    help="Times that Kafka did not say where the input ends",
    tells="While it rises, lags are of the last answer.",
)

METRICS = (
    RECORDS,
    DUPLICATES,
    REFUSED,
    ENTITLEMENT_RECORDS,
    DAILY_ROWS,
    RESTATED_ROWS,
    ANOMALIES,
    HEALED_RECORDS,
    PARTITIONS,
    SUBSCRIBERS,
    CUSTOMERS,
    BATCH,
    BATCH_TIME,
    RESTORE,
    LAG_RECORDS,
    LAG_SECONDS,
    WATERMARK_AGE,
    CLOSED_UNTIL,
    LOOK_FAILURES,
)
