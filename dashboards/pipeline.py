"""Pipeline: is it healthy, and where is the time going? All of it from Prometheus."""

from dashboards.colours import BAD, BLUE, GOOD, GREEN, GREY, LOOK, ORANGE, PURPLE
from dashboards.parts import Dashboard, Kind, Panel, PromQl, Row, Shown, Threshold

_RATE = "[$__rate_interval]"

PROCESSES = Panel(
    title="Processes",
    tells="Whether each process answers Prometheus: the worst of each job. One that is down says nothing, and whatever else is "
    "shown of it is old.",
    kind=Kind.STAT,
    asks=(PromQl(expr='min by (job) (up{job=~"rtmeter-.*"})', labels=("job",), legend="{{job}}", instant=True),),
    values=(("0", "down", BAD), ("1", "up", GOOD)),
    thresholds=(Threshold(1, GOOD),),
    base_colour=BAD,
    width=8,
    height=5,
    alerts=("process-down",),
)
ALERTS_FIRING = Panel(
    title="Alerts",
    tells="Alerts that fire now, and those that will if it goes on. 0 and 0 is a healthy pipeline. Each alert has a runbook: the link at the "
    "panel's corner has all of them.",
    kind=Kind.STAT,
    asks=(
        PromQl(
            expr='count(ALERTS{alertname=~"Rtmeter.*", alertstate="firing"}) or vector(0)',
            legend="firing",
            instant=True,
        ),
        PromQl(
            expr='count(ALERTS{alertname=~"Rtmeter.*", alertstate="pending"}) or vector(0)',
            legend="pending",
            instant=True,
        ),
    ),
    thresholds=(Threshold(1, BAD),),
    base_colour=GOOD,
    width=4,
    height=5,
    alerts=("",),
)
READY = Panel(
    title="Partitions owned",
    tells="Partitions that a worker has and meters. Fewer than the topic has: some are not being metered.",
    kind=Kind.STAT,
    asks=(PromQl(expr="sum(rtmeter_worker_partitions)", legend="owned", instant=True),),
    width=4,
    height=5,
    alerts=("watermark-stuck",),
)
OLDEST_DAY = Panel(
    title="Oldest last closed day ended",
    tells="How long ago the last closed day ended, in the partition that is furthest behind. Under 26 hours is right: yesterday is "
    "closed a quarter after midnight UTC.",
    kind=Kind.STAT,
    asks=(
        PromQl(
            expr="time() - min(max by (partition) (rtmeter_worker_closed_until_timestamp_seconds))",
            legend="ago",
            instant=True,
        ),
    ),
    unit="s",
    base_colour=GOOD,
    thresholds=(Threshold(26 * 3600, BAD),),
    width=4,
    height=5,
    alerts=("day-not-closed",),
)
PROVEN = Panel(
    title="Reconciled",
    tells="Whether what `rtmeter reconcile` found is settled. `differs`: a number may be wrong, close no month. `never`: nobody has reconciled.",
    kind=Kind.STAT,
    asks=(PromQl(expr="min(rtmeter_reconcile_clean)", legend="last runs", instant=True),),
    values=(("0", "differs", BAD), ("1", "clean", GOOD)),
    nothing="never",
    base_colour=LOOK,
    width=4,
    height=5,
    alerts=("reconcile-difference", "reconcile-old"),
)
ALERT_LIST = Panel(
    title="Which alerts",
    tells="Each alert that fires or is pending, with what it is about. No rows: nothing is wrong that an alert knows of. A click leads to the "
    "runbooks: what it means, what to look at, what to do.",
    kind=Kind.TABLE,
    asks=(
        PromQl(
            expr='max by (alertname, alertstate, severity) (ALERTS{alertname=~"Rtmeter.*"})',
            labels=("alertname", "alertstate", "severity"),
            instant=True,
        ),
    ),
    shown=(
        Shown(name="alertname", title="Alert", link="/d/rtmeter-runbooks", link_title="Runbooks"),
        Shown(name="alertstate", title="State"),
        Shown(name="severity", title="Severity"),
        Shown(name="Time", hidden=True),
        Shown(name="Value", hidden=True),
    ),
    nothing="nothing is wrong that an alert knows of",
    width=24,
    height=6,
    alerts=("",),
)
WORKER_LAG = Panel(
    title="Metered how late",
    tells="How old the oldest event can be that is not durably metered, by partition. Nothing is lost while it is high: events wait in "
    "Kafka. A burst goes away by itself.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr="topk(12, max by (partition) (rtmeter_worker_lag_seconds))",
            labels=("partition",),
            legend="partition {{partition}}",
        ),
    ),
    unit="s",
    thresholds=(Threshold(600, BAD),),
    alerts=("worker-lag", "watermark-stuck"),
)
SINK_LAG = Panel(
    title="Stored how late",
    tells="How old the oldest record can be that is not stored, by topic. Reports lack what was metered since.",
    kind=Kind.TIME_SERIES,
    asks=(PromQl(expr="max by (topic) (rtmeter_sink_lag_seconds)", labels=("topic",), legend="{{topic}}"),),
    unit="s",
    thresholds=(Threshold(900, BAD),),
    alerts=("sink-lag", "sink-failing", "records-missing"),
)
THROUGHPUT = Panel(
    title="Records metered",
    tells="Input records taken into the state, duplicates among them, and what is left to do. Left over divided by the rate is for how long it goes on.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(expr=f"sum(rate(rtmeter_worker_records_total{_RATE}))", legend="metered a second"),
        PromQl(expr=f"sum(rate(rtmeter_worker_duplicates_total{_RATE}))", legend="of them duplicates"),
        PromQl(expr="sum(rtmeter_worker_lag_records)", legend="left to meter"),
    ),
    shown=(
        Shown(name="metered a second", colour=BLUE),
        Shown(name="of them duplicates", colour=PURPLE),
        Shown(name="left to meter", colour=ORANGE),
    ),
)
STAGES = Panel(
    title="Where a worker's time goes",
    tells="Seconds of work in each second, by stage of the ledger, over all workers. As much as there are workers: they are full, and more of "
    "them help. `acknowledge` is Kafka's, the others are ours.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr=f"sum by (stage) (rate(rtmeter_worker_batch_seconds_sum{_RATE}))",
            labels=("stage",),
            legend="{{stage}}",
        ),
    ),
    stacked=True,
    shown=(
        Shown(name="unpack", colour=GREY),
        Shown(name="fold", colour=BLUE),
        Shown(name="write", colour=GREEN),
        Shown(name="acknowledge", colour=ORANGE),
    ),
    alerts=("worker-lag",),
)
INSERTS = Panel(
    title="How long an insert takes",
    tells="95 of 100 inserts of each table take at most this long, repeats included. A store that gets slow shows here first.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr=f"histogram_quantile(0.95, sum by (table, le) (rate(rtmeter_sink_insert_seconds_bucket{_RATE})))",
            labels=("table",),
            legend="{{table}}",
        ),
    ),
    unit="s",
    alerts=("sink-failing",),
)
ROWS = Panel(
    title="Rows stored",
    tells="Rows inserted a second, by table. `daily_usage` leaps after midnight UTC: that is the day's close.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(expr=f"sum by (table) (rate(rtmeter_sink_rows_total{_RATE}))", labels=("table",), legend="{{table}}"),
    ),
    stacked=True,
)
CPU = Panel(
    title="Processor time",
    tells="Seconds of processor time in each second, by job. 1 is a whole core.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr=f'sum by (job) (rate(process_cpu_seconds_total{{job=~"rtmeter-.*"}}{_RATE}))',
            labels=("job",),
            legend="{{job}}",
        ),
    ),
)
MEMORY = Panel(
    title="Memory",
    tells="Resident memory by job, the largest process of each. A worker needs about 600 bytes for each subscriber.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr='max by (job) (process_resident_memory_bytes{job=~"rtmeter-.*"})', labels=("job",), legend="{{job}}"
        ),
    ),
    unit="bytes",
)
REFUSED = Panel(
    title="Refused in this time",
    tells="Events refused as dead letters, by reason, in the time shown. Each is usage that is missing until somebody acts. Some bad records "
    "are normal; a rise is a sender, or its upgrade.",
    kind=Kind.GAUGES,
    asks=(
        PromQl(
            expr="sum by (reason) (increase(rtmeter_worker_refused_total[$__range]))",
            labels=("reason",),
            legend="{{reason}}",
            instant=True,
        ),
    ),
    decimals=0,
    base_colour=BLUE,
    width=8,
    alerts=("refusals-rising",),
)
ODD = Panel(
    title="What should not rise",
    tells="In the time shown: removals that found nothing, records that were gone before they were stored, inserts that failed, records healed "
    "after a frozen worker, and looks that Kafka or the stores did not answer. All but the first should be 0.",
    kind=Kind.GAUGES,
    asks=(
        *(
            PromQl(expr=f"sum(increase({metric}[$__range]))", legend=legend, instant=True)
            for metric, legend in (
                ("rtmeter_worker_anomalies_total", "anomalies"),
                ("rtmeter_worker_healed_records_total", "healed records"),
                ("rtmeter_worker_look_failures_total", "worker did not hear Kafka"),
                ("rtmeter_sink_look_failures_total", "sink did not hear Kafka"),
                ("rtmeter_figures_failures_total", "stores did not answer"),
            )
        ),
        # Series that begin with their first failure have no increase by it: these are since the sinks started.
        PromQl(
            expr="sum(rtmeter_sink_insert_failures_total) or vector(0)",
            legend="failed inserts, since start",
            instant=True,
        ),
        PromQl(
            expr="sum(rtmeter_sink_missing_records_total) or vector(0)",
            legend="records missing, since start",
            instant=True,
        ),
    ),
    decimals=0,
    base_colour=BLUE,
    width=8,
    alerts=("records-missing", "sink-failing", "figures-old"),
)
RESTORES = Panel(
    title="Restores",
    tells="Partitions restored in the time shown, and the mean time that one stood still for it. Many: partitions keep changing hands.",
    kind=Kind.STAT,
    asks=(
        PromQl(expr="sum(rtmeter_worker_restore_seconds_count)", legend="restored since start", instant=True),
        PromQl(
            expr="sum(rtmeter_worker_restore_seconds_sum) / sum(rtmeter_worker_restore_seconds_count)",
            legend="mean time",
            instant=True,
        ),
    ),
    shown=(Shown(name="mean time", unit="s"),),
    width=8,
)
REQUESTS = Panel(
    title="API: answers a second",
    tells="Requests answered, by status. From 500 on they are our fault; 401 and 403 are a partner's token.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr=f"sum by (status) (rate(rtmeter_api_requests_total{_RATE}))", labels=("status",), legend="{{status}}"
        ),
    ),
    unit="reqps",
)
REQUEST_TIME = Panel(
    title="API: how long an answer takes",
    tells="95 of 100 answers take at most this long, by route. Downloads take what the client's line takes.",
    kind=Kind.TIME_SERIES,
    asks=(
        PromQl(
            expr=f"histogram_quantile(0.95, sum by (route, le) (rate(rtmeter_api_request_seconds_bucket{_RATE})))",
            labels=("route",),
            legend="{{route}}",
        ),
    ),
    unit="s",
)

PIPELINE = Dashboard(
    uid="rtmeter-pipeline",
    title="rtmeter: Pipeline",
    tells="Is it healthy? The first row says so, the second by how much it is late, the third where the time goes. Begin here.",
    rows=(
        Row("Is it healthy?", (PROCESSES, ALERTS_FIRING, READY, OLDEST_DAY, PROVEN, ALERT_LIST)),
        Row("Is it late?", (WORKER_LAG, SINK_LAG)),
        Row("Where is the time going?", (THROUGHPUT, STAGES, INSERTS, ROWS, CPU, MEMORY)),
        Row("Is anything refused or odd?", (REFUSED, ODD, RESTORES)),
        Row("Is the API well?", (REQUESTS, REQUEST_TIME)),
    ),
    since="now-6h",
    refresh="30s",
)
