"""The metrics of the API, of report jobs, and what the stores say is open: that is asked by whoever makes reports.

Of the latter every process of report jobs exports the same, so take `max`, never `sum`, over instances.
"""

from schemas.metrics.metric import (
    CHECK,
    METHOD,
    OUTCOME,
    REASON,
    REPORT_SECONDS,
    REPORT_STATUS,
    REPORT_TYPE,
    REQUEST_SECONDS,
    ROUTE,
    STATUS,
    WEIGHT,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Process,
    Unit,
)

REQUESTS = CounterMetric(
    name="rtmeter_api_requests_total",
    process=Process.API,
    unit=Unit.REQUESTS,
    labels=(ROUTE, METHOD, STATUS),
    help="Requests answered",
    tells="Statuses from 500 on are ours; 401 and 403 are a partner's token.",
)
REQUEST_TIME = HistogramMetric(
    name="rtmeter_api_request_seconds",
    process=Process.API,
    unit=Unit.SECONDS,
    labels=(ROUTE,),
    buckets=REQUEST_SECONDS,
    help="Time from the request to the end of its answer",
    tells="Downloads take what the client's line takes.",
)
REPORTS = CounterMetric(
    name="rtmeter_reports_total",
    process=Process.JOBS,
    unit=Unit.REPORTS,
    labels=(REPORT_TYPE, OUTCOME),
    help="Attempts to make a report, by how they ended",
    tells="`given back`: the store did not answer, and it will be tried again. `lost`: deleted or taken over meanwhile.",
)
REPORT_TIME = HistogramMetric(
    name="rtmeter_report_seconds",
    process=Process.JOBS,
    unit=Unit.SECONDS,
    labels=(REPORT_TYPE,),
    buckets=REPORT_SECONDS,
    help="Time per attempt to make a report",
    tells="What a partner waits for, beside the queue.",
)
QUEUE_AGE = GaugeMetric(
    name="rtmeter_report_queue_age_seconds",
    process=Process.JOBS,
    unit=Unit.SECONDS,
    help="For how long the oldest report IN_PROGRESS has been waited for; 0 if there is none",
    tells="Growing: too few report jobs, or one report that does not end.",
)
REPORTS_REGISTERED = GaugeMetric(
    name="rtmeter_reports_registered",
    process=Process.JOBS,
    unit=Unit.REPORTS,
    labels=(REPORT_STATUS,),
    help="Reports that there are, by status; a deleted one is not",
    tells="IN_PROGRESS: somebody waits. FAILED: somebody was told so, and has to ask again.",
)
LETTERS_OPEN = GaugeMetric(
    name="rtmeter_dead_letters_open",
    process=Process.JOBS,
    unit=Unit.LETTERS,
    labels=(REASON,),
    help="Dead letters that nobody has dealt with",
    tells="Each is missing in reports. `rtmeter dead-letters list` names them.",
)
LETTERS_AGE = GaugeMetric(
    name="rtmeter_dead_letters_oldest_age_seconds",
    process=Process.JOBS,
    unit=Unit.SECONDS,
    help="Time since the oldest open dead letter arrived; 0 if none is open",
    tells="Whether somebody works on them.",
)
RECONCILE_CLEAN = GaugeMetric(
    name="rtmeter_reconcile_clean",
    process=Process.JOBS,
    unit=Unit.YES_OR_NO,
    help="0 while a difference that a run of `rtmeter reconcile` found was not settled by a later clean run over as much; "
    "NaN before the first run",
    tells="0: a number may be wrong, and a month must not be closed.",
)
RECONCILE_FINDINGS = GaugeMetric(
    name="rtmeter_reconcile_findings",
    process=Process.JOBS,
    unit=Unit.FINDINGS,
    labels=(CHECK, WEIGHT),
    help="What each check of the last run found",
    tells="Which check it was: docs/reconcile.md.",
)
RECONCILE_FINISHED = GaugeMetric(
    name="rtmeter_reconcile_finished_timestamp_seconds",
    process=Process.JOBS,
    unit=Unit.TIMESTAMP,
    help="When the last run of `rtmeter reconcile` ended; NaN before the first run",
    tells="`time() - x` is its age. Nobody reconciles: nothing is proven.",
)
WITHOUT_PRICE = GaugeMetric(
    name="rtmeter_services_without_price",
    process=Process.JOBS,
    unit=Unit.SERVICES,
    help="Services with usage on closed days of the last 31 days, by org, that are on no purchase order",
    tells="Rule 19: they are metered and reported, without SKU and price. `rtmeter reconcile` names them.",
)
FIGURES_LOOKED = GaugeMetric(
    name="rtmeter_figures_looked_timestamp_seconds",
    process=Process.JOBS,
    unit=Unit.TIMESTAMP,
    help="When the stores last said all of the figures of queue, dead letters, reconcile and prices; 0 for never",
    tells="If it is old, so are they.",
)
FIGURES_FAILURES = CounterMetric(
    name="rtmeter_figures_failures_total",
    process=Process.JOBS,
    unit=Unit.FAILURES,
    help="Times that a store did not say them",
    tells="The reason is in the log.",
)

METRICS = (
    REQUESTS,
    REQUEST_TIME,
    REPORTS,
    REPORT_TIME,
    QUEUE_AGE,
    REPORTS_REGISTERED,
    LETTERS_OPEN,
    LETTERS_AGE,
    RECONCILE_CLEAN,
    RECONCILE_FINDINGS,
    RECONCILE_FINISHED,
    WITHOUT_PRICE,
    FIGURES_LOOKED,
    FIGURES_FAILURES,
)
