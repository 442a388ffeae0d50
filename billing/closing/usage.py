"""Usage at a cut, out of the store's history: what a close prices, by two ways that must agree.

By days, as PARTNER reports have it, and by intervals, as USER reports do. The current tables will not do: the pipeline
goes on while a month is closed, and what it writes is not of the cut.
"""

from collections.abc import Mapping, Sequence

from billing.closing.invoices import Cut
from billing.closing.lines import Quantities, UsageKey
from billing.closing.period import Period
from billing.queries import OWN_SUBSCRIPTION
from billing.report import Owner, ReportRequest, ReportType, owners_of
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState
from streams.core.grid import MICRODAYS_PER_DAY

_OF_OWNERS = "partner_id IN {owners:Array(String)}"
# A row of revision r is of the first r records: of a cut are the newest rows that are not beyond it.
_BEFORE_CUT = "revision <= transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, 0)"

_CUSTOMERS = f"""
    SELECT * FROM customers_history WHERE {_OF_OWNERS} AND {_BEFORE_CUT}
    ORDER BY partner_id, customer_id, revision DESC LIMIT 1 BY partner_id, customer_id
"""
# Daily rows do not say which partition they are of. Every account with usage has a subscriber or an order.
_CUTS = f"""
    SELECT partner_id, customer_id,
           transform(any(partition), {{partitions:Array(UInt32)}}, {{cuts:Array(UInt64)}}, 0) AS cut FROM
    (
        SELECT partner_id, customer_id, partition FROM timelines WHERE {_OF_OWNERS}
        UNION ALL SELECT partner_id, customer_id, partition FROM customers WHERE {_OF_OWNERS}
    )
    GROUP BY partner_id, customer_id
"""


def _days(day: str) -> str:
    # The engine reads the rows in about this order, and keeps of each key a hash of 128 bits. To aggregate by keys of so
    # many letters took it nearly twice as long.
    return f"""
    SELECT partner_id, customer_id, item, {day} AS used_day, sum(quantity_microdays) AS quantity FROM
    (
        SELECT partner_id, customer_id, item, day, quantity_microdays
        FROM daily_usage_history AS row INNER JOIN ({_CUTS}) AS account USING (partner_id, customer_id)
        WHERE {_OF_OWNERS} AND day BETWEEN toDate32({{first_day:Int32}}) AND toDate32({{last_day:Int32}})
          AND toInt32(day) >= transform(partner_id, {{owners:Array(String)}}, {{owner_first_days:Array(Int32)}}, 0)
          AND revision <= cut
        ORDER BY partner_id, customer_id, location_id, item, day, revision DESC
        LIMIT 1 BY partner_id, customer_id, location_id, item, day
    )
    GROUP BY partner_id, customer_id, item, used_day
"""


_INTERVALS = f"""
    SELECT partner_id, customer_id, item, 0 AS used_day,
           sum(greatest(0, least(end, {{end_microday:Int64}}) - greatest(start, since))) AS quantity
    FROM
    (
        SELECT partner_id, customer_id, items, starts, ends,
               transform(partner_id, {{owners:Array(String)}}, {{owner_first_microdays:Array(Int64)}}, 0) AS since
        FROM timelines_history WHERE {_OF_OWNERS} AND {_BEFORE_CUT}
        ORDER BY partner_id, customer_id, subscriber_id, segment, revision DESC
        LIMIT 1 BY partner_id, customer_id, subscriber_id, segment
    )
    ARRAY JOIN items AS item, starts AS start, ends AS end
    GROUP BY partner_id, customer_id, item
    UNION ALL
    SELECT partner_id, customer_id, item, 0, sum(quantity)
    FROM ({_CUSTOMERS}) ARRAY JOIN order_items AS item, order_days AS day, order_quantities AS quantity
    WHERE day <= {{last_day:Int32}}
      AND day >= transform(partner_id, {{owners:Array(String)}}, {{owner_first_days:Array(Int32)}}, 0)
    GROUP BY partner_id, customer_id, item
"""


# Over-counts what was restated: it is for dividing the work.
_ROWS_BY_OWNER = """
SELECT partner_id, sum(rows) FROM
(
    SELECT partner_id, count() AS rows FROM daily_usage_history
    WHERE day BETWEEN toDate32({first_day:Int32}) AND toDate32({last_day:Int32}) GROUP BY partner_id
    UNION ALL SELECT partner_id, count() AS rows FROM timelines_history GROUP BY partner_id
)
GROUP BY partner_id
"""


def rows_by_owner(store: ReadableStore, first_day: int, last_day: int) -> dict[str, int]:
    """Of each org that ever held anything, how many rows a close of these days reads."""
    return dict(store.query(_ROWS_BY_OWNER, {"first_day": first_day, "last_day": last_day}))  # type: ignore[arg-type]


def billed_owners(catalog: CatalogState, partner_id: str, period: Period) -> list[Owner]:
    """The orgs that a partner's invoice is over: itself and its sub-partners, from their billing start on (rules 23, 25)."""
    return owners_of(invoice_request(partner_id, period), catalog)


def invoice_request(partner_id: str, period: Period) -> ReportRequest:
    """The report that holds an invoice's own quantities: without internal customers."""
    return ReportRequest(ReportType.PARTNER, partner_id, None, period.first_day, period.last_day)


def daily_usage(
    store: ReadableStore, cut: Cut, owners: Sequence[Owner], period: Period
) -> dict[tuple[UsageKey, int], int]:
    """Usage of each closed day of a period (days since the epoch), as known at a cut."""
    return _ask(store, _days("toInt32(day)"), cut, owners, period)


def usage_by_days(store: ReadableStore, cut: Cut, owners: Sequence[Owner], period: Period) -> Quantities:
    """Usage of the closed days of a period, as known at a cut, by one pass over the owners' days."""
    found = _ask(store, _days("0"), cut, owners, period)
    return {key: quantity for (key, _), quantity in found.items()}


def usage_by_intervals(store: ReadableStore, cut: Cut, owners: Sequence[Owner], period: Period) -> Quantities:
    """The same from intervals and orders."""
    found = _ask(store, _INTERVALS, cut, owners, period)
    return {key: quantity for (key, _), quantity in found.items()}


def _ask(
    store: ReadableStore, usage: str, cut: Cut, owners: Sequence[Owner], period: Period
) -> dict[tuple[UsageKey, int], int]:
    parameters: dict[str, object] = {
        **cut_parameters(cut.partitions),
        "owners": [owner.org_id for owner in owners],
        "owner_subscriptions": [owner.subscription_id for owner in owners],
        "owner_first_days": [owner.first_day for owner in owners],
        "owner_first_microdays": [owner.first_day * MICRODAYS_PER_DAY for owner in owners],
        "first_day": period.first_day,
        "last_day": period.last_day,
        "end_microday": (period.last_day + 1) * MICRODAYS_PER_DAY,
    }
    sql = f"""
SELECT partner_id, if(customer.subscription_id != '', customer.subscription_id, {OWN_SUBSCRIPTION}) AS subscription,
       item, used_day, sum(quantity) AS total
FROM ({usage}) AS usage
LEFT ANY JOIN ({_CUSTOMERS}) AS customer USING (partner_id, customer_id)
WHERE NOT customer.internal
GROUP BY partner_id, subscription, item, used_day
HAVING total != 0
"""
    return {
        (UsageKey(owner, subscription, item), day): total
        for owner, subscription, item, day, total in store.query(sql, parameters)
    }


def cut_parameters(partitions: Mapping[int, int]) -> dict[str, object]:
    """What a query compares offsets or revisions of a partition with: `partitions` and, in their order, `cuts`."""
    # The engine wants one element at least; no partition has this number.
    return {"partitions": [*partitions, 2**32 - 1], "cuts": [*partitions.values(), 0]}
