"""Explanations out of the store of a month: they are the reports, the tables agree, and what was known then is told."""

import csv
import io
from collections.abc import Iterator

import msgspec
import pytest

from billing.audit.explain import TooManyRecords, explain
from billing.audit.explanation import Agreement, Explanation, NotFound
from billing.audit.judged import judge
from billing.audit.question import Question
from billing.audit.raw_events import NOW, AsOf, events_of_customer
from billing.export import export_csv
from billing.report import ReportRequest, ReportType, safe_text
from schemas.instants import parse_time_ms
from schemas.topics import PACKAGE_ASSIGNMENTS, TopicNames
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from tests.billing.audit.records import FIRST_DAY, LAST_DAY, explained_at
from tests.billing.audit.test_explained_months import arithmetic_holds, reported_rows
from tests.store_process import RECEIVED_AT_MS

NAMES = TopicNames.with_prefix("")
#: The month's records, and the one that closes its days.
END = 511


def ask(
    store: ReadableStore,
    partner_id: str,
    customer_id: str,
    subscriber_id: str | None,
    as_of: AsOf = NOW,
    **more: object,
) -> Explanation:
    text = None if as_of == NOW else "then"
    question = Question(partner_id, customer_id, subscriber_id, FIRST_DAY, LAST_DAY, as_of, text, **more)  # type: ignore[arg-type]
    return explain(store, NAMES, question)


def subscribers(store: ReadableStore) -> Iterator[tuple[str, str, str]]:
    yield from store.query("SELECT partner_id, customer_id, subscriber_id FROM timelines FINAL ORDER BY ALL")


def customers(store: ReadableStore) -> list[tuple[str, str]]:
    return sorted({(partner_id, customer_id) for partner_id, customer_id, _ in subscribers(store)})


def report_rows(store: ReadableStore, report_type: ReportType) -> set[tuple[str, ...]]:
    """Every row of the month's reports, internal customers' too, without the partner's name."""
    found = set()
    for (partner_id,) in store.query("SELECT DISTINCT partner_id FROM timelines"):
        request = ReportRequest(report_type, partner_id, None, FIRST_DAY, LAST_DAY, internal=True)
        text = b"".join(export_csv(store, request)).decode()
        rows = csv.DictReader(io.StringIO(text, newline=""))
        found |= {tuple(row.values())[1:] for row in rows if row["PARTNER_ORG_ID"] == safe_text(partner_id)}
    return found


def test_every_subscriber_of_the_month_is_explained_as_it_is_reported(month_store: ReadableStore) -> None:
    catalog = load_catalog(month_store)
    of_customer = {
        customer_id: judge(list(events_of_customer(month_store, PACKAGE_ASSIGNMENTS, customer_id)))
        for _, customer_id in customers(month_store)
    }
    found = set()
    for number, (partner_id, customer_id, subscriber_id) in enumerate(subscribers(month_store)):
        explained = explained_at(of_customer[customer_id], partner_id, customer_id, subscriber_id, catalog)
        arithmetic_holds(explained)
        found |= reported_rows(explained)
        if number % 20 == 0:  # the same read from the store, which takes longer
            asked = ask(month_store, partner_id, customer_id, subscriber_id)
            assert {table.agreement for table in asked.tables} == {Agreement.AGREES}
            assert asked.known.behind == 0
            assert msgspec.json.encode(asked.records) == msgspec.json.encode(explained.records)
            assert reported_rows(asked) == reported_rows(explained)
    assert found == {row for row in report_rows(month_store, ReportType.USER) if row[11]}
    assert len(found) > 100


def test_every_customer_of_the_month_is_explained_as_it_is_reported(month_store: ReadableStore) -> None:
    found = set()
    for partner_id, customer_id in customers(month_store):
        explained = ask(month_store, partner_id, customer_id, None)
        arithmetic_holds(explained)
        assert {table.agreement for table in explained.tables} == {Agreement.AGREES}
        found |= reported_rows(explained)
    assert found == report_rows(month_store, ReportType.CUSTOMER)


def test_as_of_a_cut_it_is_the_explanation_of_that_prefix_alone(month_store: ReadableStore) -> None:
    catalog = load_catalog(month_store)
    known_at: dict[int, int] = {}
    for partner_id, customer_id in customers(month_store)[::8]:
        events = list(events_of_customer(month_store, PACKAGE_ASSIGNMENTS, customer_id))
        for cut in (events[0].offset + 1, 250, 400, END):
            prefix = judge([event for event in events if event.offset < cut])
            if not any(record.partner_id == partner_id for record in prefix):
                with pytest.raises(NotFound):
                    ask(month_store, partner_id, customer_id, None, AsOf(before_offset=cut))
                continue
            then = ask(month_store, partner_id, customer_id, None, AsOf(before_offset=cut), every_record=True)
            alone = explained_at(prefix, partner_id, customer_id, None, catalog, every_record=True)
            assert then.known.cut == cut
            assert not then.disagrees
            known_at[cut] = known_at.get(cut, 0) + then.quantity_microdays
            for made in (then, alone):  # how far the whole partition goes is not the prefix's to know
                made.known = alone.known
                made.tables = []
                made.said = made.said[:1]
            assert msgspec.json.encode(then) == msgspec.json.encode(alone)
    assert known_at[400] != known_at[END], "what came later changed something"


def test_as_of_a_time_it_is_what_had_arrived_by_then(month_store: ReadableStore) -> None:
    partner_id, customer_id, subscriber_id = next(subscribers(month_store))
    now = ask(month_store, partner_id, customer_id, subscriber_id)
    then = ask(month_store, partner_id, customer_id, subscriber_id, AsOf(until_ms=RECEIVED_AT_MS))
    assert then.intervals and msgspec.json.encode(then.intervals) == msgspec.json.encode(now.intervals)
    assert then.reported == now.reported, "the catalog as it had arrived is all of it"
    assert [table.table for table in then.tables] == ["timelines_history", "customers_history", "daily_usage_history"]
    with pytest.raises(NotFound, match="as known at then"):
        ask(month_store, partner_id, customer_id, subscriber_id, AsOf(until_ms=RECEIVED_AT_MS - 1))


def test_a_cut_inside_a_run_has_no_row_of_its_own_and_that_is_no_disagreement(month_store: ReadableStore) -> None:
    # The store of the month was written in two runs: up to the close, and the close.
    partner_id, customer_id = customers(month_store)[0]
    explained = ask(month_store, partner_id, customer_id, None, AsOf(before_offset=400))
    assert explained.tables[0].agreement is Agreement.NOT_KEPT
    assert "only revisions 510 and later are kept" in explained.tables[0].said
    assert not explained.disagrees
    whole_run = ask(month_store, partner_id, customer_id, None, AsOf(before_offset=510))
    assert {table.agreement for table in whole_run.tables} == {Agreement.AGREES}


def test_an_unknown_subscriber_or_customer_says_what_is_near(month_store: ReadableStore) -> None:
    partner_id, customer_id, subscriber_id = next(subscribers(month_store))
    with pytest.raises(NotFound, match=f"has no subscriber `{subscriber_id}x`") as of_subscriber:
        ask(month_store, partner_id, customer_id, f"{subscriber_id}x")
    assert any(subscriber_id in sentence for sentence in of_subscriber.value.near)
    with pytest.raises(NotFound, match="No record is known of customer") as of_partner:
        ask(month_store, "P-nobody", customer_id, subscriber_id)
    near = " ".join(of_partner.value.near)
    assert f"Customer `{customer_id}` is one of `{partner_id}`." in near
    assert f"A subscriber of that id is one of customer `{customer_id}` of `{partner_id}`." in near


def test_whoever_may_see_only_the_own_hears_of_nothing_else(month_store: ReadableStore) -> None:
    partner_id, customer_id, subscriber_id = next(subscribers(month_store))
    heard = []
    for customer in (customer_id, "no-such-customer"):
        with pytest.raises(NotFound) as not_found:
            ask(month_store, "P-nobody", customer, subscriber_id, own_only=True, most_records=0)
        assert not_found.value.near == []
        heard.append(str(not_found.value).replace(customer, "…"))
    assert heard[0] == heard[1]
    with pytest.raises(TooManyRecords):
        ask(month_store, partner_id, customer_id, subscriber_id, own_only=True, most_records=0)


def test_days_that_are_not_over_are_said_to_be_counted(month_store: ReadableStore) -> None:
    partner_id, customer_id, subscriber_id = next(subscribers(month_store))
    during = ask(month_store, partner_id, customer_id, subscriber_id, today=FIRST_DAY + 9)
    assert during.said[-1] == "Days from 2026-10-10 on are not over: what runs is counted as if it ran on."
    after = ask(
        month_store, partner_id, customer_id, subscriber_id, today=parse_time_ms("2026-11-01T00:00:00Z") // 86_400_000
    )
    assert "not over" not in " ".join(after.said)
