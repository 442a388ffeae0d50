"""On random months rich in trouble: what is explained adds up to the reports, and every record is told once."""

import csv
import io
import random
from collections import Counter

import msgspec
import pytest

from billing.audit.explanation import Effect, ExplainedInterval, ExplainedRecord, Explanation
from billing.audit.judged import Verdict
from billing.audit.words import printable
from billing.meter import Metered
from billing.report import ReportRequest, ReportType, quantity_text, safe_text
from schemas.instants import day_of_ms, day_text
from streams.core.partition import PartitionState
from tests.billing.audit.records import FIRST_DAY, LAST_DAY, explained_at, judged_of, raw_events
from tests.oracle.random_month import RECEIVED_AT_MS, random_month

SEEDS = range(40)
Row = tuple[str, ...]


def rows_of(metered: Metered, report_type: ReportType, partner_id: str) -> set[Row]:
    """The rows of an org's own customers, internal ones too, without the partner's name."""
    request = ReportRequest(report_type, partner_id, None, FIRST_DAY, LAST_DAY, internal=True)
    text = b"".join(metered.report(request)).decode()
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {tuple(row.values())[1:] for row in rows if row["PARTNER_ORG_ID"] == safe_text(partner_id)}


def reported_rows(explained: Explanation) -> set[Row]:
    """What an explanation says is reported, as cells."""
    found = set()
    for row in explained.reported.rows:
        if row.quantity_microdays:
            assert row.first_used_day is not None and row.last_used_day is not None
            cells = [
                *(explained.partner_id, explained.customer_id, explained.reported.external_id, row.subscription_id),
                *(row.item, row.sku, row.description, day_text(row.first_used_day), day_text(row.last_used_day)),
                *(quantity_text(row.quantity_microdays), row.location_id or ""),
            ]
            if explained.subscriber_id is not None:
                cells += [explained.subscriber_id, explained.user_id or "", explained.workspace_id or ""]
            found.add(tuple(safe_text(cell) for cell in cells))
    return found


def arithmetic_holds(explained: Explanation) -> None:
    """Every sum that is shown is the sum of what is shown beneath it."""
    for interval in explained.intervals:
        assert interval.start_microday == (10 * interval.start_ms + 432) // 864
        for part in interval.days:
            assert part.quantity_microdays == part.end_microday - part.start_microday
            assert part.day * 1_000_000 <= part.start_microday < part.end_microday <= (part.day + 1) * 1_000_000
        assert interval.quantity_microdays == sum(part.quantity_microdays for part in interval.days)
    assert explained.quantity_microdays == sum(total.quantity_microdays for total in explained.totals)
    assert explained.quantity_microdays == sum(day.quantity_microdays for day in explained.days)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_explained_is_what_is_reported(seed: int) -> None:
    catalog, lines = random_month(random.Random(seed))
    metered = Metered([*catalog, *lines], RECEIVED_AT_MS)
    events = raw_events(lines, RECEIVED_AT_MS)
    explained_users: dict[str, set[Row]] = {}
    explained_customers: dict[str, set[Row]] = {}
    orders: dict[str, set[Row]] = {}
    for (partner_id, customer_id), account in metered.state.accounts.items():
        records = judged_of(events, customer_id)
        of_customer = explained_at(records, partner_id, customer_id, None, metered.catalog)
        arithmetic_holds(of_customer)
        explained_customers.setdefault(partner_id, set()).update(reported_rows(of_customer))
        summed = {each.subscriber_id: each.quantity_microdays for each in of_customer.subscribers}
        for subscriber_id, record in account.subscriber_records():
            explained = explained_at(records, partner_id, customer_id, subscriber_id, metered.catalog)
            arithmetic_holds(explained)
            assert explained.quantity_microdays == summed[subscriber_id]
            assert sum(i.quantity_microdays for i in explained.intervals) == explained.quantity_microdays
            assert explained.anomalies == record.anomalies
            explained_users.setdefault(partner_id, set()).update(reported_rows(explained))
        # Setup Assist stands in a USER report without a subscriber.
        orders.setdefault(partner_id, set()).update(
            (*row, "", "", "") for row in reported_rows(of_customer) if row[4].startswith("SETUP_ASSIST")
        )
    for partner_id, rows in explained_customers.items():
        assert rows == rows_of(metered, ReportType.CUSTOMER, partner_id)
        assert explained_users.get(partner_id, set()) | orders[partner_id] == rows_of(
            metered, ReportType.USER, partner_id
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_is_told_once_and_as_the_core_judged_it(seed: int) -> None:
    catalog, lines = random_month(random.Random(seed))
    events = raw_events(lines, RECEIVED_AT_MS)
    metered = Metered([*catalog, *lines], RECEIVED_AT_MS)
    state = PartitionState("t", 0)
    applied = state.apply(events)
    letters = {letter.offset: letter.reason for letter in applied.dead_letters}
    told_elsewhere: Counter[int] = Counter()
    for partner_id, customer_id in state.accounts:
        records = judged_of(events, customer_id)
        explained = explained_at(records, partner_id, customer_id, None, metered.catalog, every_record=True)
        assert explained.left_out == 0
        own = [r.offset for r in records if r.partner_id in (partner_id, None)]
        assert sorted(record.offset for record in explained.records) == own
        for record in explained.records:
            assert record.reason == letters.get(record.offset, "")
            assert (record.verdict in (Verdict.REFUSED, Verdict.CONFLICT)) is (record.offset in letters)
            assert record.said
            assert printable(record.said) == record.said
            told_elsewhere[record.offset] += record.verdict is not Verdict.REFUSED
    assert all(count <= 1 for count in told_elsewhere.values()), "no metered record is of two accounts"
    duplicates = state.watermark.duplicates
    every = [
        record
        for partner_id, customer_id in state.accounts
        for record in explained_at(
            judged_of(events, customer_id), partner_id, customer_id, None, metered.catalog, every_record=True
        ).records
    ]
    assert sum(record.effect is Effect.DUPLICATE for record in every) == duplicates


def test_the_months_hold_what_the_explanation_must_know() -> None:
    seen: Counter[Effect] = Counter()
    for seed in SEEDS:
        catalog, lines = random_month(random.Random(seed))
        metered = Metered([*catalog, *lines], RECEIVED_AT_MS)
        events = raw_events(lines, RECEIVED_AT_MS)
        for partner_id, customer_id in metered.state.accounts:
            records = judged_of(events, customer_id)
            made = explained_at(records, partner_id, customer_id, None, metered.catalog, every_record=True)
            seen.update(record.effect for record in made.records)
    assert seen.keys() == set(Effect)


def cited_in_record(record: ExplainedRecord) -> set[int]:
    return {each.offset for each in (record.because, record.overridden_by, record.voids) if each is not None}


def cited_in_interval(interval: ExplainedInterval) -> set[int]:
    by = (interval.started_by, interval.ended_by, interval.assigned_by, interval.located_by)
    return {each.offset for each in by if each is not None}


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_out_is_of_other_days_and_nothing_shown_depends_on_it(seed: int) -> None:
    catalog, lines = random_month(random.Random(seed))
    metered = Metered([*catalog, *lines], RECEIVED_AT_MS)
    events = raw_events(lines, RECEIVED_AT_MS)
    left_out = 0
    for (partner_id, customer_id), account in metered.state.accounts.items():
        records = judged_of(events, customer_id)
        for subscriber_id, _ in account.subscriber_records():
            some = explained_at(records, partner_id, customer_id, subscriber_id, metered.catalog)
            whole = explained_at(records, partner_id, customer_id, subscriber_id, metered.catalog, every_record=True)
            shown = {record.offset for record in some.records}
            others = [record for record in whole.records if record.offset not in shown]
            assert len(others) == some.left_out
            left_out += some.left_out
            assert all(r.time_ms and not FIRST_DAY <= day_of_ms(r.time_ms) <= LAST_DAY for r in others)
            of_days = {r.offset for r in some.records if r.time_ms and FIRST_DAY <= day_of_ms(r.time_ms) <= LAST_DAY}
            assert {offset for r in some.records if r.offset in of_days for offset in cited_in_record(r)} <= shown
            assert {offset for i in some.intervals for offset in cited_in_interval(i)} <= shown
            assert [msgspec.json.encode(i) for i in some.intervals] == [msgspec.json.encode(i) for i in whole.intervals]
    assert left_out > 0
