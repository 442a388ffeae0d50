"""Billing: what is closed, what was restated, which reports there are, what is missing from them."""

from billing.dead_letters import OPEN_STATES, letters_query
from dashboards.choices import PARTNERS, PERIOD, SERVICES
from dashboards.colours import BAD, BLUE, GOOD, GREY, LOOK, ORANGE, VERMILION
from dashboards.parts import Dashboard, Kind, Panel, PromQl, Row, Shown, Sql, Threshold
from dashboards.questions import DAY_TIME, IN_PERIOD, OF_PARTNERS, OF_SERVICES, ORG, ORGS, days

#: Dismissals are in the relational store, which this data source does not see.
_LETTERS = letters_query(OF_PARTNERS).replace("{dismissed:String}", "''")
_OPEN = ", ".join(f"'{state}'" for state in OPEN_STATES)

_KEY = "partner_id, customer_id, location_id, item, day"
_WRITTEN = f"FROM daily_usage_history WHERE {OF_PARTNERS} AND {IN_PERIOD} AND {OF_SERVICES}"
#: Every row of daily usage that was written more than once: what it said first and what it says now. Few are, so they are looked for by a
#: hash of the key, which is a third of the work; keys of one hash that were written once fall out in the end.
_RESTATED = f"""
    SELECT {_KEY}, argMax(quantity_microdays, revision) AS now, argMin(quantity_microdays, revision) AS first,
           uniqExact(revision) - 1 AS restatements
    {_WRITTEN} AND sipHash64({_KEY}) IN
        (SELECT sipHash64({_KEY}) AS hash {_WRITTEN} GROUP BY hash HAVING min(revision) != max(revision))
    GROUP BY {_KEY}
    HAVING restatements > 0"""

CLOSED = Panel(
    title="Closed through",
    tells="The last day that is closed in every partition: reports by partner and customer hold days up to it.",
    kind=Kind.STAT,
    asks=(
        Sql(
            sql="SELECT toString(min(closed_through_day)) AS closed_through,\n"
            "       toInt64(toDate(now('UTC'))) - 1 - toInt64(min(closed_through_day)) AS days_open\n"
            "FROM partition_progress FINAL",
            columns=("closed_through", "days_open"),
        ),
    ),
    base_colour=GOOD,
    thresholds=(Threshold(1, LOOK), Threshold(2, BAD)),
    shown=(
        Shown(name="closed_through", title="Closed through", unit="string", colour=GREY),
        Shown(name="days_open", title="Days over and not closed"),
    ),
    width=6,
    height=5,
    alerts=("day-not-closed",),
)
PROVEN = Panel(
    title="May a month be closed?",
    tells="`clean`: the last reconciliations found no difference that still stands. Dead letters open: each is missing in reports and in the "
    "invoice. Services without a price: no invoice can price them.",
    kind=Kind.STAT,
    asks=(
        PromQl(expr="min(rtmeter_reconcile_clean)", legend="reconciled", instant=True),
        PromQl(expr="sum(max by (reason) (rtmeter_dead_letters_open))", legend="dead letters open", instant=True),
        PromQl(expr="max(rtmeter_services_without_price)", legend="services without a price", instant=True),
    ),
    base_colour=GOOD,
    thresholds=(Threshold(1, LOOK),),
    shown=(Shown(name="reconciled", unit="bool_yes_no", colour=GREY),),
    nothing="never",
    width=12,
    height=5,
    alerts=("reconcile-difference", "dead-letters-ageing", "service-without-price"),
)
QUEUE = Panel(
    title="Oldest report waited for",
    tells="For how long the oldest report IN_PROGRESS has been waited for; 0 if there is none.",
    kind=Kind.STAT,
    asks=(PromQl(expr="max(rtmeter_report_queue_age_seconds)", legend="waited", instant=True),),
    unit="s",
    base_colour=GOOD,
    thresholds=(Threshold(300, LOOK), Threshold(900, BAD)),
    width=6,
    height=5,
    alerts=("report-queue-ageing",),
)
PARTITIONS = Panel(
    title="Days closed, by partition",
    tells="How far each partition is closed, and what became of its records: all three counts together are what came in. One that is behind keeps "
    "every partner with customers in it from a whole report.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql="SELECT partition, toString(closed_through_day) AS closed_through, metered, duplicates, refused\n"
            "FROM partition_progress FINAL\nORDER BY closed_through_day, partition",
            columns=("partition", "closed_through", "metered", "duplicates", "refused"),
        ),
    ),
    shown=(
        Shown(name="partition", title="Partition"),
        Shown(name="closed_through", title="Closed through"),
        Shown(name="metered", title="Metered", unit="locale"),
        Shown(name="duplicates", title="Duplicates", unit="locale"),
        Shown(name="refused", title="Refused", unit="locale"),
    ),
    alerts=("day-not-closed",),
)
RESTATED_BY_DAY = Panel(
    title="Restatements by day",
    tells="What late facts changed of each day after it was closed, in licence-days: more above the line, less below. Reports made before a "
    "restatement are out of date; invoices get correction lines. Rows that a late fact added where there was none are not in it.",
    kind=Kind.BARS,
    asks=(
        Sql(
            sql=f"""
SELECT {DAY_TIME} AS time, {days("sum(greatest(now - first, 0))")} AS more, {days("sum(least(now - first, 0))")} AS less
FROM ({_RESTATED})
GROUP BY time
ORDER BY time""",
            columns=("time", "more", "less"),
            series=True,
        ),
    ),
    unit="locale",
    stacked=True,
    shown=(Shown(name="more", title="more", colour=BLUE), Shown(name="less", title="less", colour=VERMILION)),
)
RESTATED_BY_PARTNER = Panel(
    title="Restatements by partner and service",
    tells="How many daily rows of the month were written again, how often, and what that came to in licence-days.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT {ORG} AS partner, item AS service, count() AS restated_rows, sum(restatements) AS restatements,
       {days("sum(now - first)")} AS net_change
FROM ({_RESTATED}) AS restated
LEFT ANY JOIN ({ORGS}) AS org ON restated.partner_id = org.org_id
GROUP BY partner_id, partner, service
ORDER BY restated_rows DESC, partner, service
LIMIT 200""",
            columns=("partner", "service", "restated_rows", "restatements", "net_change"),
        ),
    ),
    unit="locale",
    shown=(
        Shown(name="partner", title="Partner"),
        Shown(name="service", title="Service"),
        Shown(name="restated_rows", title="Rows", bar=True, colour=BLUE),
        Shown(name="restatements", title="Restatements"),
        Shown(name="net_change", title="Net change"),
    ),
)
REPORTS = Panel(
    title="Reports by status",
    tells="Reports that there are, deleted ones left out. IN_PROGRESS: somebody waits. FAILED: somebody was told so, and has to ask again.",
    kind=Kind.GAUGES,
    asks=(
        PromQl(
            expr="max by (report_status) (rtmeter_reports_registered)",
            labels=("report_status",),
            legend="{{report_status}}",
            instant=True,
        ),
    ),
    decimals=0,
    shown=(
        Shown(name="COMPLETED", colour=GOOD),
        Shown(name="IN_PROGRESS", colour=ORANGE),
        Shown(name="FAILED", colour=BAD),
    ),
    width=8,
    alerts=("report-queue-ageing",),
)
ATTEMPTS = Panel(
    title="Attempts to make a report",
    tells="By type and how they ended, since the processes started. `given back`: the store did not answer, it will be tried again. `lost`: deleted or "
    "taken over meanwhile.",
    kind=Kind.TABLE,
    asks=(
        PromQl(
            expr="sum by (type, outcome) (rtmeter_reports_total)",
            labels=("type", "outcome"),
            instant=True,
        ),
    ),
    shown=(
        Shown(name="type", title="Type"),
        Shown(name="outcome", title="Outcome"),
        Shown(name="Value", title="Attempts", bar=True, colour=BLUE),
        Shown(name="Time", hidden=True),
    ),
    decimals=0,
    width=8,
)
REPORT_TIME = Panel(
    title="How long a report takes",
    tells="Mean seconds per attempt, by type, since the processes started. What a partner waits for, beside the queue.",
    kind=Kind.GAUGES,
    asks=(
        PromQl(
            expr="sum by (type) (rtmeter_report_seconds_sum) / sum by (type) (rtmeter_report_seconds_count)",
            labels=("type",),
            legend="{{type}}",
            instant=True,
        ),
    ),
    unit="s",
    width=8,
)
LETTERS = Panel(
    title="Dead letters by partner",
    tells="Refused events that nobody has sent again with success, by whose they are. Each is usage that is missing. Dismissed ones are "
    "still counted here, because dismissals are not in ClickHouse: `rtmeter dead-letters list` and the figure above know them. Without a "
    "partner: bytes that do not tell.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT if({ORG} = '', '(nobody can tell)', {ORG}) AS partner, reason, count() AS letters,
       toString(fromUnixTimestamp64Milli(min(append_ms), 'UTC')) AS oldest, any(detail) AS one_says
FROM ({_LETTERS}) AS letter
LEFT ANY JOIN ({ORGS}) AS org ON letter.partner_id = org.org_id
WHERE state IN ({_OPEN})
GROUP BY partner, reason
ORDER BY letters DESC, partner, reason
LIMIT 200""",
            columns=("partner", "reason", "letters", "oldest", "one_says"),
        ),
    ),
    shown=(
        Shown(name="partner", title="Partner"),
        Shown(name="reason", title="Reason"),
        Shown(name="letters", title="Letters", bar=True, colour=ORANGE),
        Shown(name="oldest", title="Oldest arrived (UTC)"),
        Shown(name="one_says", title="One of them says"),
    ),
    nothing="none is open",
    alerts=("dead-letters-ageing", "refusals-rising"),
)

BILLING = Dashboard(
    uid="rtmeter-billing",
    title="rtmeter: Billing",
    tells="Days closed, restatements, reports by status, and dead letters by partner: whether the numbers of a month are whole, and what "
    "stands in the way of closing it.",
    variables=(PERIOD, PARTNERS, SERVICES),
    rows=(
        Row("Is the month whole?", (CLOSED, PROVEN, QUEUE)),
        Row("Days and restatements", (PARTITIONS, RESTATED_BY_DAY, RESTATED_BY_PARTNER, LETTERS)),
        Row("Reports", (REPORTS, ATTEMPTS, REPORT_TIME)),
    ),
    refresh="5m",
)
