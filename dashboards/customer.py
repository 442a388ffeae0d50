"""Customer: everything about one of them, on one page. Its time is the reader's own: a month, a day, an hour."""

from dashboards.choices import CUSTOMER, PARTNER
from dashboards.colours import GREY
from dashboards.parts import Dashboard, Kind, Panel, Row, Shown, Sql
from dashboards.questions import DAY_TIME, OF_CUSTOMER, billed, days, ranked

_RUNS = 2**63 - 1
#: More lanes than these nobody can tell apart.
_MOST_LANES = 40
_MOST_EVENTS = 200
_FROM_MS, _TO_MS = "toUnixTimestamp64Milli($__fromTime_ms)", "toUnixTimestamp64Milli($__toTime_ms)"
_IN_RANGE = "$__dateFilter(day)"

ABOUT = Panel(
    title="Who it is, and what it holds",
    tells="Names as the latest fact has them. Licences that run now, whatever the time shown; quantity of the closed days in the time shown, in "
    "licence-days. An internal customer is in no report.",
    kind=Kind.STAT,
    asks=(
        Sql(
            sql=f"""
SELECT customer.name AS name, customer.external_id AS external_id, held.subscribers AS subscribers,
       held.active_licences AS active_licences, used.quantity AS quantity, if(customer.internal, 'internal', 'billed') AS billing
FROM
(
    SELECT 1 AS one, uniqExactIf(subscriber_id, has(ends, {_RUNS})) AS subscribers,
           sum(arrayCount(end -> end = {_RUNS}, ends)) AS active_licences
    FROM timelines FINAL WHERE {OF_CUSTOMER}
) AS held
LEFT JOIN
(
    SELECT 1 AS one, any(name) AS name, any(external_id) AS external_id, any(internal) AS internal
    FROM customers FINAL WHERE {OF_CUSTOMER}
) AS customer ON held.one = customer.one
LEFT JOIN
(
    SELECT 1 AS one, {days("sum(microdays)")} AS quantity
    FROM ({billed("partner_id, day", _IN_RANGE, who=OF_CUSTOMER, services="1=1")})
) AS used ON held.one = used.one""",
            columns=("name", "external_id", "subscribers", "active_licences", "quantity", "billing"),
        ),
    ),
    unit="locale",
    width=24,
    height=5,
    shown=(
        Shown(name="name", title="Name", unit="string", colour=GREY),
        Shown(name="external_id", title="External id", unit="string", colour=GREY),
        Shown(name="subscribers", title="Subscribers with a licence now"),
        Shown(name="active_licences", title="Licences now"),
        Shown(name="quantity", title="Quantity in this time"),
        Shown(name="billing", title="Billed?", unit="string", colour=GREY),
    ),
)
INTERVALS = Panel(
    title="Intervals of its subscribers",
    tells=f"What each subscriber held and when: a lane each, add-ons a lane of their own. A gap is time without a licence. At most {_MOST_LANES} "
    "lanes, those that changed last. `rtmeter explain` says of each interval which event made it.",
    kind=Kind.TIMELINE,
    asks=(
        # A point where something begins, and one without a value where nothing goes on.
        Sql(
            sql=f"""
SELECT fromUnixTimestamp64Milli(at_ms, 'UTC') AS time, lane, max(began) AS held
FROM
(
    SELECT lane, point.1 AS at_ms, point.2 AS began
    FROM
    (
        SELECT if(addon_, concat(subscriber_id, ' + ', item), subscriber_id) AS lane,
               if(location = '', item, concat(item, ' at ', location)) AS holds,
               greatest(since_ms, {_FROM_MS}) AS shown_from_ms, until_ms, end
        FROM timelines FINAL
        ARRAY JOIN addon AS addon_, items AS item, locations AS location, start_ms AS since_ms, end_ms AS until_ms, ends AS end
        WHERE {OF_CUSTOMER} AND since_ms < {_TO_MS} AND (end = {_RUNS} OR until_ms > {_FROM_MS})
    )
    ARRAY JOIN if(end = {_RUNS} OR until_ms >= {_TO_MS}, [(shown_from_ms, CAST(holds AS Nullable(String)))],
                  [(shown_from_ms, CAST(holds AS Nullable(String))), (until_ms, NULL)]) AS point
)
WHERE lane IN
(
    SELECT if(addon_, concat(subscriber_id, ' + ', item), subscriber_id) AS lane
    FROM timelines FINAL
    ARRAY JOIN addon AS addon_, items AS item, start_ms AS since_ms, end_ms AS until_ms, ends AS end
    WHERE {OF_CUSTOMER} AND since_ms < {_TO_MS} AND (end = {_RUNS} OR until_ms > {_FROM_MS})
    GROUP BY lane ORDER BY max(since_ms) DESC, lane LIMIT {_MOST_LANES}
)
GROUP BY at_ms, lane
ORDER BY time, lane""",
            columns=("time", "lane", "held"),
        ),
    ),
    partition_by="lane",
    width=24,
    height=14,
)
QUANTITY = Panel(
    title="Quantity by day and service",
    tells="Licence-days of each closed day, as a CUSTOMER report adds them up. A part of a day is a licence that began or ended in it.",
    kind=Kind.BARS,
    asks=(
        ranked(
            "item",
            days("sum(microdays)"),
            billed("partner_id, item, day", _IN_RANGE, who=OF_CUSTOMER, services="1=1"),
            DAY_TIME,
        ),
    ),
    unit="locale",
    stacked=True,
)
MONTHS = Panel(
    title="Its months",
    tells="Quantity of every month with usage, and licences at the close of its last closed day. A click on a month shows that month here.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT toString(toStartOfMonth(day)) AS month, {days("sum(microdays)")} AS quantity, argMax(active, day) AS active_licences,
       toUnixTimestamp(toDateTime(toStartOfMonth(any(day)), 'UTC')) * 1000 AS from_ms,
       toUnixTimestamp(toDateTime(toStartOfMonth(any(day)) + INTERVAL 1 MONTH, 'UTC')) * 1000 - 1 AS to_ms
FROM ({billed("partner_id, day", "day >= toDate32('2000-01-01')", who=OF_CUSTOMER, services="1=1")})
GROUP BY month
ORDER BY month DESC
LIMIT 60""",
            columns=("month", "quantity", "active_licences", "from_ms", "to_ms"),
        ),
    ),
    unit="locale",
    shown=(
        Shown(
            name="month",
            title="Month",
            link="/d/rtmeter-customer?from=${__data.fields.from_ms}&to=${__data.fields.to_ms}&${partner:queryparam}&${customer:queryparam}",
            link_title="Show this month",
        ),
        Shown(name="quantity", title="Quantity", bar=True),
        Shown(name="active_licences", title="Licences at its last close"),
        Shown(name="from_ms", hidden=True),
        Shown(name="to_ms", hidden=True),
    ),
)
EVENTS = Panel(
    title="Events",
    tells=f"What was sent about this customer and holds from a time shown here, the latest first, at most {_MOST_EVENTS}. `Refused`: why an event was not "
    "metered. Duplicates are here as often as they came; `rtmeter explain` says what became of each.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT fromUnixTimestamp64Milli(holds_ms, 'UTC') AS holds_from, arrived, what, subscriber, service,
       ifNull(letter.reason, '') AS refused, source, id
FROM
(
    SELECT topic, partition, offset, append_time AS arrived,
           toUnixTimestamp64Milli(ifNull(parseDateTime64BestEffortOrNull(JSONExtractString(text, 'time'), 3, 'UTC'), append_time)) AS holds_ms,
           JSONExtractString(text, 'type') AS what, JSONExtractString(text, 'data', 'subscriberId') AS subscriber,
           concat(JSONExtractString(text, 'data', 'package'), JSONExtractString(text, 'data', 'addon')) AS service,
           JSONExtractString(text, 'source') AS source, JSONExtractString(text, 'id') AS id
    FROM (SELECT topic, partition, offset, append_time, ifNull(value, '') AS text FROM raw_events
          WHERE key = unhex(${{customer:singlequote}}) LIMIT 1 BY topic, partition, offset)
    WHERE topic LIKE '%package-assignments'
      AND JSONExtractString(text, 'data', 'partnerOrgId') IN ('', unhex(${{partner:singlequote}}))
      AND holds_ms BETWEEN {_FROM_MS} AND {_TO_MS}
) AS event
LEFT ANY JOIN
(
    SELECT topic, partition, offset, toNullable(toString(reason)) AS reason FROM dead_letters WHERE customer_id = unhex(${{customer:singlequote}})
) AS letter USING (topic, partition, offset)
ORDER BY holds_ms DESC, partition, offset DESC
LIMIT {_MOST_EVENTS}""",
            columns=("holds_from", "arrived", "what", "subscriber", "service", "refused", "source", "id"),
        ),
    ),
    shown=(
        Shown(name="holds_from", title="Holds from (UTC)"),
        Shown(name="arrived", title="Arrived (UTC)"),
        Shown(name="what", title="Event"),
        Shown(name="subscriber", title="Subscriber"),
        Shown(name="service", title="Service"),
        Shown(name="refused", title="Refused"),
        Shown(name="source", title="Source"),
        Shown(name="id", title="Id"),
    ),
    width=24,
    height=10,
    alerts=("dead-letters-ageing",),
)

CUSTOMER_PAGE = Dashboard(
    uid="rtmeter-customer",
    title="rtmeter: Customer",
    tells="One customer: who held what and when, what each day came to, and the events that made it so. Opened from the movers of the Usage "
    "dashboard, or chosen above.",
    variables=(PARTNER, CUSTOMER),
    rows=(
        Row("Now", (ABOUT,)),
        Row("Who held what", (INTERVALS,)),
        Row("What it came to", (QUANTITY, MONTHS)),
        Row("What was sent", (EVENTS,)),
    ),
    since="now-60d",
)
