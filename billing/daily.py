"""Daily usage by owner and service: what charts show."""

from msgspec import Struct

from billing.report import ReportRequest, owners_of
from sinks.catalog import load_catalog
from sinks.store import ReadableStore

_SQL = """
SELECT usage.partner_id AS owner_id, item, toInt32(day) AS used_day,
       sum(quantity_microdays) AS quantity, sum(active_licences) AS active
FROM
(
    SELECT partner_id, customer_id, item, day, quantity_microdays, active_licences
    FROM daily_usage FINAL
    WHERE partner_id IN {owners:Array(String)}
      AND day BETWEEN toDate32({first_day:Int32}) AND toDate32({last_day:Int32})
      AND toInt32(day) >= transform(partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)
) AS usage
LEFT JOIN
(
    SELECT partner_id, customer_id, internal FROM customers FINAL WHERE partner_id IN {owners:Array(String)}
) AS customer USING (partner_id, customer_id)
WHERE {internal:Bool} OR NOT customer.internal
GROUP BY owner_id, item, used_day
HAVING quantity != 0 OR active != 0
ORDER BY used_day, owner_id, item
"""


class DailyUsage(Struct, frozen=True):
    """Usage of a closed day: quantity in microdays, and the licences active at its close."""

    owner_id: str
    item: str
    day: int
    quantity_microdays: int
    active_licences: int


def daily_usage(store: ReadableStore, request: ReportRequest) -> list[DailyUsage]:
    """By day, owner and service, in that order; the owners are those of a report of the request (rule 24)."""
    owners = owners_of(request, load_catalog(store))
    rows = store.query(
        _SQL,
        {
            "owners": [owner.org_id for owner in owners],
            "owner_first_days": [owner.first_day for owner in owners],
            "first_day": request.first_day,
            "last_day": request.last_day,
            "internal": request.internal,
        },
    )
    return [DailyUsage(*row) for row in rows]
