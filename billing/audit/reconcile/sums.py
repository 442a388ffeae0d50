"""Days add up to intervals, and every level to the next, exactly."""

from collections import defaultdict

from billing.audit.reconcile.check import Findings, Subject, scope_condition, scope_parameters
from billing.queries import PROGRESS, report_query
from billing.report import Owner, ReportRequest, ReportType, quantity_text, signed_quantity_text
from schemas.instants import day_number, day_text
from streams.core.grid import MICRODAYS_PER_DAY

# Of each interval the part within the month, by day; both sides of the comparison in one sum per key. A day counts
# from when its partition has closed it.
_DAYS = """
SELECT partner_id, customer_id, location, item, used_day,
       sum(expected_quantity) AS eq, sum(expected_active) AS ea, sum(found_quantity) AS fq, sum(found_active) AS fa
FROM
(
    SELECT partner_id, customer_id, location, item, used_day,
           toInt64(least(end, (used_day + 1) * {day}) - greatest(start, used_day * {day})) AS expected_quantity,
           toInt64(start < (used_day + 1) * {day} AND end >= (used_day + 1) * {day}) AS expected_active,
           toInt64(0) AS found_quantity, toInt64(0) AS found_active
    FROM
    (
        SELECT partner_id, customer_id, location, item, start, end,
               transform(partition, {{partitions:Array(UInt32)}}, {{closed:Array(Int32)}}, -100000) AS closed_through,
               arrayJoin(range(
                   toInt32(greatest(intDiv(start, {day}), {{first_day:Int32}})),
                   toInt32(least(intDiv(end - 1, {day}), {{last_day:Int32}}, closed_through)) + 1)) AS used_day
        FROM timelines FINAL
        ARRAY JOIN items AS item, locations AS location, starts AS start, ends AS end
        WHERE start < end AND {condition}
    )
    UNION ALL
    SELECT partner_id, customer_id, location, item, toInt32(ordered_day), quantity, toInt64(0), toInt64(0), toInt64(0)
    FROM customers FINAL
    ARRAY JOIN order_items AS item, order_locations AS location, order_days AS ordered_day, order_quantities AS quantity
    WHERE ordered_day BETWEEN {{first_day:Int32}} AND least({{last_day:Int32}},
              transform(partition, {{partitions:Array(UInt32)}}, {{closed:Array(Int32)}}, -100000)) AND {condition}
    UNION ALL
    SELECT partner_id, customer_id, location_id, item, toInt32(day), toInt64(0), toInt64(0),
           quantity_microdays, active_licences
    FROM daily_usage FINAL
    WHERE day BETWEEN toDate32({{first_day:Int32}}) AND toDate32({{last_day:Int32}}) AND {condition}
)
GROUP BY partner_id, customer_id, location, item, used_day
"""
_ORGS = """
SELECT DISTINCT partner_id FROM timelines WHERE {condition}
UNION DISTINCT SELECT DISTINCT partner_id FROM customers WHERE {condition}
"""
_NO_DAY = -(2**31)


def days_against_intervals(subject: Subject) -> Findings:
    """Each closed day of the period: its quantity and active licences are those of the intervals and orders."""
    findings = subject.findings()
    closed = {row[0]: row[2] for row in subject.store.query(PROGRESS) if row[2] is not None}
    sql = _DAYS.format(day=MICRODAYS_PER_DAY, condition=scope_condition(subject.scope))
    parameters = {
        **scope_parameters(subject.scope),
        # The engine wants one element at least; no partition has this number.
        "partitions": [*closed, 2**32 - 1],
        "closed": [*closed.values(), _NO_DAY],
    }
    ((findings.looked_at,),) = subject.store.query(f"SELECT count() FROM ({sql})", parameters)
    for rows in subject.store.stream(f"{sql} HAVING eq != fq OR ea != fa", parameters):
        for partner_id, customer_id, location, item, day, expected, active, found, found_active in rows:
            findings.add(
                f"day {partner_id}/{customer_id}/{location}/{item}/{day_text(day)}",
                f"{quantity_text(expected)} days, {active} active",
                f"{signed_quantity_text(found)} days, {found_active} active",
            )
    return findings


def report_totals(subject: Subject) -> Findings:
    """PARTNER, CUSTOMER and USER reports give the same totals by org, subscription and service, internal or not.

    A slice of the customers has no report: then this looks at everybody of the orgs.
    """
    findings = subject.findings()
    if not _all_closed(subject):
        # PARTNER and CUSTOMER reports hold closed days only: there is nothing to compare.
        findings.passed_over += 1
        return findings
    owners = _owners(subject)
    if not owners:
        return findings
    for internal in (False, True):
        by_type: dict[ReportType, dict[tuple[str, str, str], int]] = {}
        for report_type in ReportType:
            request = ReportRequest(
                report_type, owners[0].org_id, None, subject.scope.first_day, subject.scope.last_day, internal
            )
            query = report_query(request, owners)
            totals: dict[tuple[str, str, str], int] = defaultdict(int)
            grouped = f"SELECT owner_id, subscription, service, sum(total) FROM ({query.sql}) GROUP BY ALL"
            for owner_id, subscription_id, item, total in subject.store.query(grouped, query.parameters):
                totals[owner_id, subscription_id, item] += total
            by_type[report_type] = totals
        keys = set().union(*by_type.values())
        findings.looked_at += len(keys)
        for key in sorted(keys):
            shown = {report_type.value: by_type[report_type].get(key, 0) for report_type in ReportType}
            if len(set(shown.values())) > 1:
                texts = ", ".join(f"{name} {signed_quantity_text(total)}" for name, total in shown.items())
                findings.add(f"totals {'/'.join(key)}{' with internal' if internal else ''}", "three equal ones", texts)
    return findings


def _all_closed(subject: Subject) -> bool:
    closed = [row[2] for row in subject.store.query(PROGRESS)]
    return all(day is not None and day >= subject.scope.last_day for day in closed)


def _owners(subject: Subject) -> list[Owner]:
    """Every org with usage, as the owner that a report of its parent has."""
    condition = scope_condition(subject.scope) if subject.scope.customers is None else "1"
    scope, catalog = subject.scope, subject.catalog
    if scope.org_ids is not None:
        orgs = list(scope.org_ids)
    else:
        orgs = [row[0] for row in subject.store.query(_ORGS.format(condition=condition), scope_parameters(scope))]
    owners = []
    for org_id in sorted(orgs):
        entry = catalog.partners.get(org_id)
        first_day = scope.first_day
        if entry is not None and entry.parent_org_id is not None and entry.billing_start_date is not None:
            first_day = max(first_day, day_number(entry.billing_start_date))
        name = "" if entry is None else entry.name
        owners.append(Owner(org_id, name, catalog.default_subscription(org_id) or "", first_day))
    return owners
