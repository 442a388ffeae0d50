"""Point-in-time reports (rule 33, our own extension): which licences are held now, not what was used.

The columns are those of the billing report of the type. QUANTITY is the number of licences; both dates are the day on
which the report was asked for. "Now" is what the store holds when the report is made: intervals that still run.
"""

import itertools
from collections.abc import Iterator

from billing.csv_lines import csv_lines, header
from billing.queries import CUSTOMERS, NOT_INTERNAL, SUBSCRIPTION, TIMELINES, Query, owner_parameters
from billing.report import ReportRequest, ReportType, owners_of
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from streams.core.grid import MICRODAYS_PER_DAY

#: `ends` of an interval that still runs.
STILL_RUNS = 2**63 - 1


def point_in_time_csv(store: ReadableStore, request: ReportRequest) -> Iterator[bytes]:
    """The CSV, in pieces. NotAChild if the sub-partner is none of the partner's."""
    catalog = load_catalog(store)
    owners = owners_of(request, catalog)
    rows = Query(_rows(request.report_type), {**owner_parameters(request, owners), "day": request.last_day})
    lines = csv_lines(rows, request, owners, catalog)
    return itertools.chain([header(request.report_type)], store.stream_text(lines.sql, lines.parameters))


def _rows(report_type: ReportType) -> str:
    def shown(column: str, *types: ReportType) -> str:
        return column if report_type in types else "''"

    user = ReportType.USER
    customer = (ReportType.CUSTOMER, user)
    return f"""
SELECT partner_id AS owner_id, {SUBSCRIPTION} AS subscription, item AS service,
       {shown("customer_id", *customer)} AS customer_shown, {shown("location_id", *customer)} AS location_shown,
       {shown("subscriber_id", user)} AS subscriber, {shown("customer.external_id", *customer)} AS external,
       {shown("user_id", user)} AS user, {shown("workspace_id", user)} AS workspace,
       {{day:Int32}} AS first_used, {{day:Int32}} AS last_used, toInt64(count()) * {MICRODAYS_PER_DAY} AS total
FROM
(
    SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, item, location AS location_id
    FROM ({TIMELINES})
    ARRAY JOIN items AS item, locations AS location, ends AS end
    WHERE end = {STILL_RUNS}
) AS held
LEFT ANY JOIN ({CUSTOMERS}) AS customer USING (partner_id, customer_id)
WHERE {NOT_INTERNAL}
GROUP BY owner_id, subscription, service, customer_shown, location_shown, subscriber, external, user, workspace
"""
