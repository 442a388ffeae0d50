"""What is no wrong number, but somebody should look at."""

from billing.audit.reconcile.check import Findings, Subject, scope_condition, scope_parameters
from billing.queries import PROGRESS
from schemas.instants import MS_PER_DAY, day_text, time_text

_HELD_BY_SEVERAL = """
SELECT subscriber_id, arraySort(groupArray((start, end, partner_id, customer_id)))
FROM
(
    SELECT subscriber_id, partner_id, customer_id, start, end
    FROM timelines FINAL
    ARRAY JOIN start_ms AS start, end_ms AS end
    WHERE subscriber_id IN
    (
        SELECT subscriber_id FROM timelines FINAL GROUP BY subscriber_id HAVING uniq(partner_id, customer_id) > 1
    )
    AND start < {{until_ms:Int64}} AND end > {{since_ms:Int64}}
)
GROUP BY subscriber_id
HAVING countIf({condition}) > 0
"""
_SUBSCRIBERS = "SELECT count() FROM timelines FINAL WHERE {condition}"
# Of records that arrived in the period, because an identity is of one moment.
_REUSED = """
SELECT JSONExtractString(body, 'source') AS source, JSONExtractString(body, 'id') AS id,
       uniqExact(JSONExtractString(body, 'data', 'partnerOrgId'), JSONExtractString(body, 'data', 'customerOrgId'),
                 JSONExtractString(body, 'data', 'subscriberId')) AS owners,
       groupUniqArray(5)(concat(JSONExtractString(body, 'data', 'partnerOrgId'), '/',
                                JSONExtractString(body, 'data', 'customerOrgId'), '/',
                                JSONExtractString(body, 'data', 'subscriberId'))) AS examples
FROM (SELECT ifNull(value, '') AS body FROM raw_events FINAL
      WHERE topic = {{topic:String}} AND append_time >= fromUnixTimestamp64Milli({{since_ms:Int64}})
        AND append_time < fromUnixTimestamp64Milli({{until_ms:Int64}}) AND isNotNull(key))
WHERE id != '' AND {condition}
GROUP BY source, id
HAVING owners > 1
"""
_SERVICES = """
SELECT partner_id, subscription_id, item
FROM
(
    SELECT partner_id, customer_id, item FROM daily_usage FINAL
    WHERE day BETWEEN toDate32({{first_day:Int32}}) AND toDate32({{last_day:Int32}}) AND {condition}
      AND quantity_microdays != 0
    GROUP BY partner_id, customer_id, item
) AS used
LEFT ANY JOIN (SELECT partner_id, customer_id, subscription_id FROM customers FINAL) AS customer
    USING (partner_id, customer_id)
GROUP BY partner_id, subscription_id, item ORDER BY partner_id, subscription_id, item
"""


def held_twice(subject: Subject) -> Findings:
    """No subscriber is held by two customers at once: that is a transfer of which one half did not arrive (rule 7)."""
    findings = subject.findings()
    parameters = {**scope_parameters(subject.scope), **_instants(subject)}
    counted = _SUBSCRIBERS.format(condition=scope_condition(subject.scope))
    ((findings.looked_at,),) = subject.store.query(counted, scope_parameters(subject.scope))
    condition = scope_condition(subject.scope)
    for subscriber_id, intervals in subject.store.query(_HELD_BY_SEVERAL.format(condition=condition), parameters):
        longest = intervals[0]
        for interval in intervals[1:]:
            if interval[0] < longest[1] and interval[2:] != longest[2:]:
                both = f"{'/'.join(longest[2:])} and {'/'.join(interval[2:])} from {time_text(interval[0])} on"
                findings.add(f"subscriber {subscriber_id}", "one customer at a time", both)
                break
            longest = max(longest, interval, key=lambda one: one[1])
    return findings


def reused_identities(subject: Subject) -> Findings:
    """No (source, id) stands for events of two subscribers or customers, among what arrived in the period."""
    findings = subject.findings()
    condition = scope_condition(
        subject.scope,
        "JSONExtractString(body, 'data', 'partnerOrgId')",
        "JSONExtractString(body, 'data', 'customerOrgId')",
    )
    parameters = {
        **scope_parameters(subject.scope),
        **_instants(subject),
        "topic": subject.names.package_assignments,
    }
    for source, identifier, _, examples in subject.store.query(_REUSED.format(condition=condition), parameters):
        findings.add(f"event {identifier} of {source}", "one owner", " and ".join(sorted(examples)))
    return findings


def days_not_closed(subject: Subject) -> Findings:
    """Every partition has closed the period's days."""
    findings = subject.findings()
    for partition, _, day, *_ in subject.store.query(PROGRESS):
        findings.looked_at += 1
        if day is None or day < subject.scope.last_day:
            shown = "no day" if day is None else f"days through {day_text(day)}"
            findings.add(f"partition {partition}", f"days through {day_text(subject.scope.last_day)} closed", shown)
    return findings


def without_price(subject: Subject) -> Findings:
    """Everything used is on a purchase order, of a partner that the catalog knows (rule 19)."""
    findings = subject.findings()
    sql = _SERVICES.format(condition=scope_condition(subject.scope))
    for org_id, named, item in subject.store.query(sql, scope_parameters(subject.scope)):
        findings.looked_at += 1
        subscription_id = named or subject.catalog.default_subscription(org_id)
        if org_id not in subject.catalog.partners:
            findings.add(f"{org_id}/{item}", "a partner in the catalog", "none")
        elif subject.catalog.service(subscription_id, item) is None:
            findings.add(f"{org_id}/{item}", f"an entry in subscription {subscription_id or '(none)'}", "none")
    return findings


def _instants(subject: Subject) -> dict[str, object]:
    return {
        "since_ms": subject.scope.first_day * MS_PER_DAY,
        "until_ms": (subject.scope.last_day + 1) * MS_PER_DAY,
    }
