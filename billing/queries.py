"""The SQL of reports: pure builders, each with its parameters, tested on the engine.

PARTNER and CUSTOMER reports sum daily usage, USER reports sum intervals; both give the same totals exactly.
Every query starts from the owners' ids, because every sort key does. Its rows have the columns of `ROW`.
"""

from msgspec import Struct

from billing.report import Owner, ReportRequest, ReportType
from streams.core.grid import MICRODAYS_PER_DAY

#: The columns of a report's row, whatever its type: what the type does not show is empty.
ROW = (
    "owner_id",
    "subscription",
    "service",
    "customer_shown",
    "location_shown",
    "subscriber",
    "external",
    "user",
    "workspace",
    "first_used",
    "last_used",
    "total",
)
#: The order of rule 32: text by its bytes.
ORDER = "owner_id, subscription, service, customer_shown, location_shown, subscriber"


class Query(Struct, frozen=True):
    """A statement and its bound parameters."""

    sql: str
    parameters: dict[str, object]


# `customers` knows only those that a fact described; usage needs no description (rule 9).
CUSTOMERS = """
    SELECT partner_id, customer_id, external_id, subscription_id, internal
    FROM customers FINAL
    WHERE partner_id IN {owners:Array(String)}
"""

#: Rows of `timelines` with what the reports read of them, each with its subscriber's user and workspace. Only rows without
#: a segment have these themselves: the few others, of subscribers with very many facts, get them from there (rule 11).
TIMELINES = """
    SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, items, locations, starts, ends
    FROM timelines FINAL
    WHERE partner_id IN {owners:Array(String)} AND segment = ''
    UNION ALL
    SELECT partner_id, customer_id, subscriber_id, head.user_id, head.workspace_id, items, locations, starts, ends
    FROM
    (
        SELECT partner_id, customer_id, subscriber_id, items, locations, starts, ends
        FROM timelines FINAL PREWHERE segment != ''
        WHERE partner_id IN {owners:Array(String)}
    ) AS older
    INNER JOIN
    (
        SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id
        FROM timelines FINAL
        WHERE partner_id IN {owners:Array(String)} AND segment = '' AND (partner_id, customer_id, subscriber_id) IN
        (
            SELECT partner_id, customer_id, subscriber_id
            FROM timelines PREWHERE segment != ''
            WHERE partner_id IN {owners:Array(String)}
        )
    ) AS head USING (partner_id, customer_id, subscriber_id)
"""

# The few customers that are not billed as all others of their owner.
_SPECIAL = "SELECT partner_id, customer_id FROM customers FINAL WHERE partner_id IN {owners:Array(String)} AND (subscription_id != '' OR internal)"

OWN_SUBSCRIPTION = "transform(partner_id, {owners:Array(String)}, {owner_subscriptions:Array(String)}, '')"
SUBSCRIPTION = f"if(customer.subscription_id != '', customer.subscription_id, {OWN_SUBSCRIPTION})"
NOT_INTERNAL = "({internal:Bool} OR NOT customer.internal)"


def report_query(request: ReportRequest, owners: list[Owner]) -> Query:
    """The rows of a billing report, in no order."""
    build = {ReportType.PARTNER: _partner, ReportType.CUSTOMER: _customer, ReportType.USER: _user}
    late = any(owner.first_day != request.first_day for owner in owners)
    return Query(
        build[request.report_type](late),
        {
            **owner_parameters(request, owners),
            "owner_first_days": [owner.first_day for owner in owners],
            "owner_first_microdays": [owner.first_day * MICRODAYS_PER_DAY for owner in owners],
            "first_day": request.first_day,
            "last_day": request.last_day,
            "first_microday": request.first_day * MICRODAYS_PER_DAY,
            "end_microday": (request.last_day + 1) * MICRODAYS_PER_DAY,
        },
    )


def owner_parameters(request: ReportRequest, owners: list[Owner]) -> dict[str, object]:
    """The parameters that every report's query has."""
    return {
        "owners": [owner.org_id for owner in owners],
        "owner_subscriptions": [owner.subscription_id for owner in owners],
        "internal": request.internal,
    }


def _daily(late: bool) -> str:
    """Usage of the days; `late`: some owner's billing starts within the period (rule 23)."""
    since = "AND used_day >= transform(partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)"
    return f"""
    SELECT partner_id, customer_id, location_id, item, toInt32(day) AS used_day, quantity_microdays AS quantity
    FROM daily_usage FINAL
    WHERE partner_id IN {{owners:Array(String)}}
      AND day BETWEEN toDate32({{first_day:Int32}}) AND toDate32({{last_day:Int32}})
      AND quantity != 0 {since if late else ""}
"""


_SUMS = "min(used_day) AS first_used, max(used_day) AS last_used, sum(quantity) AS total"


def _partner(late: bool) -> str:
    # Nearly all customers have the subscription of their owner: their usage needs no look at who they are. The join of
    # the others is a LEFT one: ANY INNER would keep one row of usage per customer.
    return f"""
SELECT owner_id, subscription, service, '' AS customer_shown, '' AS location_shown, '' AS subscriber, '' AS external,
       '' AS user, '' AS workspace, min(first_used) AS first_used, max(last_used) AS last_used, sum(total) AS total
FROM
(
    SELECT partner_id AS owner_id, {OWN_SUBSCRIPTION} AS subscription, item AS service, {_SUMS}
    FROM ({_daily(late)})
    WHERE (partner_id, customer_id) NOT IN ({_SPECIAL})
    GROUP BY partner_id, item
    UNION ALL
    SELECT partner_id AS owner_id, {SUBSCRIPTION} AS subscription, item AS service, {_SUMS}
    FROM ({_daily(late)}) AS usage
    LEFT ANY JOIN ({CUSTOMERS}) AS customer USING (partner_id, customer_id)
    WHERE (partner_id, customer_id) IN ({_SPECIAL}) AND {NOT_INTERNAL}
    GROUP BY owner_id, subscription, service
)
GROUP BY owner_id, subscription, service
"""


def _customer(late: bool) -> str:
    return f"""
SELECT partner_id AS owner_id, {SUBSCRIPTION} AS subscription, item AS service,
       customer_id AS customer_shown, location_id AS location_shown, '' AS subscriber,
       customer.external_id AS external, '' AS user, '' AS workspace, first_used, last_used, total
FROM
(
    SELECT partner_id, customer_id, location_id, item, {_SUMS}
    FROM ({_daily(late)})
    GROUP BY partner_id, customer_id, location_id, item
) AS usage
LEFT ANY JOIN ({CUSTOMERS}) AS customer USING (partner_id, customer_id)
WHERE {NOT_INTERNAL}
"""


def _user(late: bool) -> str:
    by_owner = "transform(partner_id, {owners:Array(String)}, {owner_first_microdays:Array(Int64)}, 0)"
    first_day = "transform(partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)"
    return f"""
SELECT partner_id AS owner_id, {SUBSCRIPTION} AS subscription, item AS service,
       customer_id AS customer_shown, location_id AS location_shown, subscriber_id AS subscriber,
       customer.external_id AS external, user_id AS user, workspace_id AS workspace, first_used, last_used, total
FROM
(
    SELECT partner_id, customer_id, location AS location_id, item, subscriber_id,
           any(user) AS user_id, any(workspace) AS workspace_id,
           toInt32(intDiv(min(since), {MICRODAYS_PER_DAY})) AS first_used,
           toInt32(intDiv(max(until) - 1, {MICRODAYS_PER_DAY})) AS last_used,
           sum(until - since) AS total
    FROM
    (
        SELECT partner_id, customer_id, subscriber_id, user_id AS user, workspace_id AS workspace, location, item,
               greatest(start, {by_owner if late else "{first_microday:Int64}"}) AS since,
               least(end, {{end_microday:Int64}}) AS until
        FROM ({TIMELINES})
        ARRAY JOIN items AS item, locations AS location, starts AS start, ends AS end
        WHERE since < until
    )
    GROUP BY partner_id, customer_id, subscriber_id, item, location
    UNION ALL
    SELECT partner_id, customer_id, location AS location_id, item, '', '', '',
           min(day) AS first_used, max(day) AS last_used, sum(quantity) AS total
    FROM customers FINAL
    ARRAY JOIN order_items AS item, order_locations AS location, order_days AS day, order_quantities AS quantity
    WHERE partner_id IN {{owners:Array(String)}} AND day <= {{last_day:Int32}} AND quantity != 0
      AND day >= {first_day if late else "{first_day:Int32}"}
    GROUP BY partner_id, customer_id, item, location
) AS usage
LEFT ANY JOIN ({CUSTOMERS}) AS customer USING (partner_id, customer_id)
WHERE {NOT_INTERNAL}
"""


#: Per partition: the input prefix whose state is stored, and the last closed day (days since the epoch).
PROGRESS = """
SELECT partition, revision, toInt32(closed_through_day), metered, duplicates, refused, day_closes
FROM partition_progress FINAL ORDER BY partition
"""

DEAD_LETTERS_BY_REASON = "SELECT reason, count() FROM dead_letters FINAL GROUP BY reason ORDER BY reason"
