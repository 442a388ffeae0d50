"""The SQL of reports: pure builders, each with its parameters, tested on the engine.

PARTNER and CUSTOMER reports sum daily usage, USER reports sum intervals; both give the same totals exactly.
Every query starts from the owners' ids, because every sort key does.
"""

from msgspec import Struct

from billing.report import Owner, ReportRequest, ReportType
from streams.core.grid import MICRODAYS_PER_DAY


class Query(Struct, frozen=True):
    """A statement and its bound parameters."""

    sql: str
    parameters: dict[str, object]


# `customers` knows only those that a fact described; usage needs no description (rule 9).
_CUSTOMERS = """
    SELECT partner_id, customer_id, external_id, subscription_id, internal
    FROM customers FINAL
    WHERE partner_id IN {owners:Array(String)}
"""

_DAILY = """
    SELECT partner_id, customer_id, location_id, item, toInt32(day) AS used_day, quantity_microdays AS quantity
    FROM daily_usage FINAL
    WHERE partner_id IN {owners:Array(String)}
      AND day BETWEEN toDate32({first_day:Int32}) AND toDate32({last_day:Int32})
      AND used_day >= transform(partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)
      AND quantity != 0
"""

_INTERVALS = """
    SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, location AS location_id, item,
           greatest(start, transform(partner_id, {owners:Array(String)}, {owner_first_microdays:Array(Int64)}, 0)) AS since,
           least(end, {end_microday:Int64}) AS until
    FROM timelines FINAL
    ARRAY JOIN items AS item, locations AS location, starts AS start, ends AS end
    WHERE partner_id IN {owners:Array(String)} AND since < until
"""

_ORDERS = """
    SELECT partner_id, customer_id, location AS location_id, item, day AS used_day, quantity
    FROM customers FINAL
    ARRAY JOIN order_items AS item, order_locations AS location, order_days AS day, order_quantities AS quantity
    WHERE partner_id IN {owners:Array(String)}
      AND used_day BETWEEN transform(partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)
                       AND {last_day:Int32}
"""

_SUBSCRIPTION = """if(customer.subscription_id != '', customer.subscription_id,
       transform(usage.partner_id, {owners:Array(String)}, {owner_subscriptions:Array(String)}, ''))"""


def report_query(request: ReportRequest, owners: list[Owner]) -> Query:
    """The rows of a report, in its order: the members of `billing.report.UsageRow`, in theirs."""
    shown = request.report_type
    customer = "usage.customer_id" if shown is not ReportType.PARTNER else "''"
    external = "customer.external_id" if shown is not ReportType.PARTNER else "''"
    location = "usage.location_id" if shown is not ReportType.PARTNER else "''"
    sql = f"""
SELECT usage.partner_id AS owner_id,
       {_SUBSCRIPTION} AS subscription,
       usage.item AS service,
       {customer} AS customer_shown,
       {location} AS location_shown,
       usage.subscriber_id AS subscriber,
       {external} AS external,
       usage.user_id AS user,
       usage.workspace_id AS workspace,
       min(usage.first_used_day) AS first_used,
       max(usage.last_used_day) AS last_used,
       sum(usage.quantity) AS total
FROM ({_usage(shown)}) AS usage
LEFT JOIN ({_CUSTOMERS}) AS customer USING (partner_id, customer_id)
WHERE {{internal:Bool}} OR NOT customer.internal
GROUP BY owner_id, subscription, service, customer_shown, location_shown, subscriber, external, user, workspace
HAVING total != 0
ORDER BY owner_id, subscription, service, customer_shown, location_shown, subscriber
"""
    return Query(
        sql,
        {
            "owners": [owner.org_id for owner in owners],
            "owner_first_days": [owner.first_day for owner in owners],
            "owner_first_microdays": [owner.first_day * MICRODAYS_PER_DAY for owner in owners],
            "owner_subscriptions": [owner.subscription_id for owner in owners],
            "first_day": request.first_day,
            "last_day": request.last_day,
            "end_microday": (request.last_day + 1) * MICRODAYS_PER_DAY,
            "internal": request.internal,
        },
    )


def _usage(shown: ReportType) -> str:
    if shown is not ReportType.USER:
        return f"""
    SELECT partner_id, customer_id, location_id, item, '' AS subscriber_id, '' AS user_id, '' AS workspace_id,
           used_day AS first_used_day, used_day AS last_used_day, quantity
    FROM ({_DAILY})"""
    return f"""
    SELECT partner_id, customer_id, location_id, item, subscriber_id, user_id, workspace_id,
           toInt32(intDiv(since, {MICRODAYS_PER_DAY})) AS first_used_day,
           toInt32(intDiv(until - 1, {MICRODAYS_PER_DAY})) AS last_used_day, until - since AS quantity
    FROM ({_INTERVALS})
    UNION ALL
    SELECT partner_id, customer_id, location_id, item, '', '', '', used_day, used_day, quantity
    FROM ({_ORDERS})"""


#: Per partition: the input prefix whose state is stored, and the last closed day (days since the epoch).
PROGRESS = """
SELECT partition, revision, toInt32(closed_through_day), metered, duplicates, refused, day_closes
FROM partition_progress FINAL ORDER BY partition
"""

DEAD_LETTERS_BY_REASON = "SELECT reason, count() FROM dead_letters FINAL GROUP BY reason ORDER BY reason"
