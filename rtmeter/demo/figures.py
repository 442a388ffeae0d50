"""What the store says about the demo: counts, refusals, and the usage of each day."""

from msgspec import Struct

from billing.queries import DEAD_LETTERS_BY_REASON, PROGRESS
from billing.report import Owner
from sinks.store import ReadableStore

_COUNTS = """
SELECT (SELECT count() FROM customers FINAL),
       (SELECT count() FROM timelines FINAL WHERE segment = ''),
       (SELECT sum(length(items)) FROM timelines FINAL),
       (SELECT sum(anomalies) FROM timelines FINAL),
       (SELECT count() FROM daily_usage FINAL)
"""

# Each close and each restatement of a row is a row of the history.
_VERSIONS_BY_DAY = "SELECT toInt32(day), count() FROM daily_usage_history FINAL GROUP BY day ORDER BY day"

# As the reports cut it: without internal customers (rule 32), and from each owner's first day on (rule 23).
_USAGE_BY_DAY = """
SELECT toInt32(usage.day) AS used_day, usage.item AS service, sum(usage.quantity_microdays) AS quantity
FROM (SELECT * FROM daily_usage FINAL) AS usage
LEFT JOIN (SELECT partner_id, customer_id, internal FROM customers FINAL) AS customer USING (partner_id, customer_id)
WHERE usage.partner_id IN {owners:Array(String)}
  AND used_day >= transform(usage.partner_id, {owners:Array(String)}, {owner_first_days:Array(Int32)}, 0)
  AND used_day <= {last_day:Int32}
  AND NOT customer.internal
GROUP BY used_day, service
HAVING quantity != 0
ORDER BY used_day, service
"""

#: Quantity in microdays, by day (days since the epoch) and service.
DailyUsage = dict[int, dict[str, int]]


class Figures(Struct, frozen=True):
    """Counts over the whole store. `refused`: dead letters by reason, those of the catalog included."""

    metered: int
    duplicates: int
    refused_events: int
    refused: dict[str, int]
    customers: int
    subscribers: int
    intervals: int
    anomalies: int
    daily_rows: int


def read_figures(store: ReadableStore) -> Figures:
    """The counts as of now."""
    progress = store.query(PROGRESS)
    customers, subscribers, intervals, anomalies, daily_rows = store.query(_COUNTS)[0]
    return Figures(
        metered=sum(row[3] for row in progress),
        duplicates=sum(row[4] for row in progress),
        refused_events=sum(row[5] for row in progress),
        refused={row[0]: row[1] for row in store.query(DEAD_LETTERS_BY_REASON)},
        customers=customers,
        subscribers=subscribers,
        intervals=intervals,
        anomalies=anomalies,
        daily_rows=daily_rows,
    )


def daily_usage(store: ReadableStore, owners: list[Owner], last_day: int) -> DailyUsage:
    """The usage that is reported, by day and service."""
    parameters: dict[str, object] = {
        "owners": [owner.org_id for owner in owners],
        "owner_first_days": [owner.first_day for owner in owners],
        "last_day": last_day,
    }
    usage: DailyUsage = {}
    for day, service, quantity in store.query(_USAGE_BY_DAY, parameters):
        usage.setdefault(day, {})[service] = quantity
    return usage


def row_versions(store: ReadableStore) -> dict[int, int]:
    """How many daily rows were ever stored, restated ones once more each time, by day."""
    return dict(store.query(_VERSIONS_BY_DAY))  # type: ignore[arg-type]
