"""Point-in-time reports (rule 33, our own extension): which licences are held now, not what was used.

The columns are those of the billing report of the type. QUANTITY is the number of licences; both dates are the day on
which the report was asked for. "Now" is what the store holds when the report is made: intervals that still run.
"""

from collections.abc import Iterator

from billing.queries import Query
from billing.report import Owner, ReportRequest, ReportType, UsageRow, owners_of, write_csv
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from streams.core.grid import MICRODAYS_PER_DAY

_RUNS = "9223372036854775807"


def point_in_time_csv(store: ReadableStore, request: ReportRequest) -> Iterator[bytes]:
    """The CSV, in pieces. NotAChild if the sub-partner is none of the partner's."""
    catalog = load_catalog(store)
    query = _query(request, owners_of(request, catalog))
    rows = (UsageRow(*row) for block in store.stream(query.sql, query.parameters) for row in block)
    return write_csv(request, rows, catalog)


def _query(request: ReportRequest, owners: list[Owner]) -> Query:
    def shown(column: str, *types: ReportType) -> str:
        return column if request.report_type in types else "''"

    user = ReportType.USER
    customer = (ReportType.CUSTOMER, user)
    sql = f"""
SELECT held.partner_id AS owner_id,
       if(customer.subscription_id != '', customer.subscription_id,
          transform(held.partner_id, {{owners:Array(String)}}, {{owner_subscriptions:Array(String)}}, '')) AS subscription,
       held.item AS service,
       {shown("held.customer_id", *customer)} AS customer_shown,
       {shown("held.location_id", *customer)} AS location_shown,
       {shown("held.subscriber_id", user)} AS subscriber,
       {shown("customer.external_id", *customer)} AS external,
       {shown("held.user_id", user)} AS user,
       {shown("held.workspace_id", user)} AS workspace,
       {{day:Int32}} AS first_used,
       {{day:Int32}} AS last_used,
       toInt64(count()) * {MICRODAYS_PER_DAY} AS total
FROM
(
    SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, item, location AS location_id
    FROM timelines FINAL
    ARRAY JOIN items AS item, locations AS location, ends AS end
    WHERE partner_id IN {{owners:Array(String)}} AND end = {_RUNS}
) AS held
LEFT JOIN
(
    SELECT partner_id, customer_id, external_id, subscription_id, internal
    FROM customers FINAL
    WHERE partner_id IN {{owners:Array(String)}}
) AS customer USING (partner_id, customer_id)
WHERE {{internal:Bool}} OR NOT customer.internal
GROUP BY owner_id, subscription, service, customer_shown, location_shown, subscriber, external, user, workspace
ORDER BY owner_id, subscription, service, customer_shown, location_shown, subscriber
"""
    return Query(
        sql,
        {
            "owners": [owner.org_id for owner in owners],
            "owner_subscriptions": [owner.subscription_id for owner in owners],
            "day": request.last_day,
            "internal": request.internal,
        },
    )
