"""The state that the raw events give, by the core, and the tables beside it."""

from collections.abc import Iterator
from typing import Any

from billing.audit.raw_events import RECORDS_PER_RUN
from billing.audit.reconcile.check import Findings, Scope, Subject, scope_condition, scope_parameters
from schemas.entitlements import CustomerRecord, SubscriberRecord
from streams.core.account import Account
from streams.core.grid import microday
from streams.core.partition import PartitionState

STILL_RUNS = 2**63 - 1

_TIMELINES = """
SELECT partner_id, customer_id, subscriber_id, max(revision) AS last,
       anyIf(user_id, segment = ''), anyIf(workspace_id, segment = ''), anyIf(anomalies, segment = ''),
       arraySort(arrayFlatten(groupArray(arrayZip(start_ms, items, locations, addon, end_ms, starts, ends))))
FROM timelines FINAL WHERE partition = {{partition:UInt32}} AND {condition}
GROUP BY partner_id, customer_id, subscriber_id
"""
_CUSTOMERS = """
SELECT partner_id, customer_id, revision, external_id, subscription_id, name, internal,
       arrayZip(order_ids, order_items, order_locations, order_days, order_quantities)
FROM customers FINAL WHERE partition = {{partition:UInt32}} AND {condition}
"""
_LETTERS = """
SELECT offset, reason, value FROM dead_letters FINAL
WHERE topic = {{topic:String}} AND partition = {{partition:UInt32}} AND offset < {{cut:Int64}} AND {condition}
"""
_RAW = """
SELECT offset, toUnixTimestamp64Milli(append_time), key, value
FROM raw_events FINAL
WHERE topic = {{topic:String}} AND partition = {{partition:UInt32}} AND offset < {{cut:Int64}} AND {condition}
ORDER BY offset
"""


class _Record:
    __slots__ = ("key", "offset", "timestamp", "value")

    def __init__(self, offset: int, timestamp: int, key: bytes | None, value: bytes | None) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value


def state_against_tables(subject: Subject) -> Findings:
    """Timelines, customers and dead letters are what the core makes of the raw events up to the cut, both ways.

    One partition at a time, whose state is held in memory. Rows that are newer than the cut are passed over.
    """
    findings = subject.findings()
    for partition, cut in sorted(subject.scope.cuts.items()):
        state, letters = _recompute(subject, partition, cut)
        _compare_letters(subject, partition, cut, letters, findings)
        accounts = {owner: account for owner, account in state.accounts.items() if _in_scope(subject.scope, owner)}
        _compare_timelines(subject, partition, cut, accounts, findings)
        _compare_customers(subject, partition, cut, accounts, findings)
    return findings


def _recompute(subject: Subject, partition: int, cut: int) -> tuple[PartitionState, dict[int, tuple[str, bytes]]]:
    """The state of the prefix, and its dead letters: reason and bytes by offset."""
    topic = subject.names.package_assignments
    state = PartitionState(topic, partition)
    letters: dict[int, tuple[str, bytes]] = {}
    for applied in state.apply_in_runs(_raw(subject, topic, partition, cut), RECORDS_PER_RUN):
        letters.update({letter.offset: (letter.reason, letter.value or b"") for letter in applied.dead_letters})
    return state, letters


def _raw(subject: Subject, topic: str, partition: int, cut: int) -> Iterator[_Record]:
    scope = subject.scope
    condition = scope_condition(
        scope, "JSONExtractString(ifNull(value, ''), 'data', 'partnerOrgId')", "ifNull(key, '')"
    )
    parameters = {**scope_parameters(scope), "topic": topic, "partition": partition, "cut": cut}
    for rows in subject.store.stream_binary(_RAW.format(condition=condition), parameters):
        for row in rows:
            yield _Record(*row)


def _in_scope(scope: Scope, owner: tuple[str, str]) -> bool:
    # The slice was chosen by the records' keys: whose key is another customer's is refused.
    return scope.org_ids is None or owner[0] in scope.org_ids


def _compare_letters(
    subject: Subject, partition: int, cut: int, letters: dict[int, tuple[str, bytes]], findings: Findings
) -> None:
    condition = scope_condition(
        subject.scope, "JSONExtractString(ifNull(value, ''), 'data', 'partnerOrgId')", "ifNull(key, '')"
    )
    topic = subject.names.package_assignments
    parameters = {**scope_parameters(subject.scope), "topic": topic, "partition": partition, "cut": cut}
    missing = dict(letters)
    findings.looked_at += len(missing)
    for rows in subject.store.stream_binary(_LETTERS.format(condition=condition), parameters):
        for offset, reason, value in rows:
            expected = missing.pop(offset, None)
            found = (reason.decode() if isinstance(reason, bytes) else reason, value or b"")
            if expected is None:
                findings.add(f"dead letter {topic}/{partition}/{offset}", "no dead letter", found[0])
            elif expected != found:
                findings.add(f"dead letter {topic}/{partition}/{offset}", expected[0], f"{found[0]}, or other bytes")
    for offset, (reason, _) in missing.items():
        findings.add(f"dead letter {topic}/{partition}/{offset}", reason, "no dead letter")


def _compare_timelines(
    subject: Subject, partition: int, cut: int, accounts: dict[tuple[str, str], Account], findings: Findings
) -> None:
    expected: dict[tuple[str, str], dict[str, SubscriberRecord]] = {}
    for row in _rows(subject, _TIMELINES, partition):
        partner_id, customer_id, subscriber_id, revision, *found = row
        owner = (partner_id, customer_id)
        if owner not in expected:
            account = accounts.get(owner)
            expected[owner] = {} if account is None else dict(account.subscriber_records())
        record = expected[owner].pop(subscriber_id, None)
        findings.looked_at += 1
        who = f"timeline {partner_id}/{customer_id}/{subscriber_id}"
        if revision > cut:
            findings.passed_over += 1
        elif record is None:
            findings.add(who, "no facts", found)
        elif (wanted := _timeline(record)) != _normal(found):
            findings.add(who, wanted, _normal(found))
    for owner, account in accounts.items():
        left = expected[owner] if owner in expected else dict(account.subscriber_records())
        for subscriber_id, record in left.items():
            findings.looked_at += 1
            findings.add(f"timeline {owner[0]}/{owner[1]}/{subscriber_id}", _timeline(record), "no row")


def _compare_customers(
    subject: Subject, partition: int, cut: int, accounts: dict[tuple[str, str], Account], findings: Findings
) -> None:
    missing = {
        owner: record for owner, account in accounts.items() if (record := account.customer_record()) is not None
    }
    for partner_id, customer_id, revision, *found in _rows(subject, _CUSTOMERS, partition):
        record = missing.pop((partner_id, customer_id), None)
        findings.looked_at += 1
        who = f"customer {partner_id}/{customer_id}"
        if revision > cut:
            findings.passed_over += 1
        elif record is None:
            findings.add(who, "no facts", found)
        elif (wanted := _customer(record)) != [*found[:4], [tuple(order) for order in found[4]]]:
            findings.add(who, wanted, found)
    for (partner_id, customer_id), record in missing.items():
        findings.add(f"customer {partner_id}/{customer_id}", _customer(record), "no row")


def _rows(subject: Subject, sql: str, partition: int) -> Iterator[tuple[Any, ...]]:
    scope = subject.scope
    parameters = {**scope_parameters(scope), "partition": partition}
    for rows in subject.store.stream(sql.format(condition=scope_condition(scope)), parameters):
        yield from rows


def _timeline(record: SubscriberRecord) -> list[Any]:
    """User, workspace, anomalies and intervals, in the form of a row of `_TIMELINES`."""
    intervals = [
        (
            interval.start_ms,
            interval.item,
            interval.location_id or "",
            interval.slot != 0,
            STILL_RUNS if interval.end_ms is None else interval.end_ms,
            microday(interval.start_ms),
            STILL_RUNS if interval.end_ms is None else microday(interval.end_ms),
        )
        for interval in record.intervals
    ]
    return [record.user_id or "", record.workspace_id or "", record.anomalies, sorted(intervals)]


def _normal(found: list[Any]) -> list[Any]:
    user_id, workspace_id, anomalies, intervals = found
    return [user_id, workspace_id, anomalies, sorted(tuple(interval) for interval in intervals)]


def _customer(record: CustomerRecord) -> list[Any]:
    orders = [
        (order.order_id, order.item, order.location_id or "", order.day, order.quantity_microdays)
        for order in record.orders
    ]
    return [
        record.external_id or "",
        record.subscription_id or "",
        record.name or "",
        record.internal,
        orders,
    ]
