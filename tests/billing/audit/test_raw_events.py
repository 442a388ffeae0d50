"""The raw events give back what was sent, and the state that they give is the one that is stored."""

import pytest

from billing.audit.raw_events import AsOf, account_from_events, events_of_customer, events_of_partition
from schemas.topics import PACKAGE_ASSIGNMENTS
from sinks.store import ReadableStore
from tests.month import MONTH
from tests.store_process import RECEIVED_AT_MS

LINES = (MONTH / "events.jsonl").read_bytes().splitlines()


def test_the_records_of_a_partition_come_back_as_they_were_sent(month_store: ReadableStore) -> None:
    found = list(events_of_partition(month_store, PACKAGE_ASSIGNMENTS, 0))
    assert [event.offset for event in found] == list(range(len(LINES) + 1)), "the last one closes the month"
    assert [event.value for event in found[:-1]] == LINES


def test_a_cut_and_a_time_leave_out_what_was_not_known(month_store: ReadableStore) -> None:
    early = events_of_partition(month_store, PACKAGE_ASSIGNMENTS, 0, 10, AsOf(before_offset=20))
    assert [event.offset for event in early] == list(range(10, 20))
    before_all = AsOf(until_ms=RECEIVED_AT_MS - 1)
    assert not list(events_of_partition(month_store, PACKAGE_ASSIGNMENTS, 0, as_of=before_all))


def test_the_state_from_the_raw_events_is_the_stored_one(month_store: ReadableStore) -> None:
    stored: dict[tuple[str, str], dict[str, list[int]]] = {}
    for partner_id, customer_id, subscriber_id, starts in month_store.query(
        "SELECT partner_id, customer_id, subscriber_id, start_ms FROM timelines FINAL"
    ):
        stored.setdefault((partner_id, customer_id), {})[subscriber_id] = list(starts)
    assert stored
    for (partner_id, customer_id), subscribers in stored.items():
        events = events_of_customer(month_store, PACKAGE_ASSIGNMENTS, customer_id)
        account = account_from_events(events, PACKAGE_ASSIGNMENTS, partner_id, customer_id)
        assert account is not None
        assert subscribers == {
            subscriber_id: [interval.start_ms for interval in record.intervals]
            for subscriber_id, record in account.subscriber_records()
        }


def test_bytes_that_are_no_text_come_back_as_they_are(month_store: ReadableStore) -> None:
    ((rows,),) = [month_store.stream_binary(r"SELECT unhex('ff00fe') AS value")]
    assert [row[0] for row in rows] == [b"\xff\x00\xfe"]


@pytest.mark.parametrize("customer", ["", "nobody"])
def test_a_customer_without_events_has_no_account(month_store: ReadableStore, customer: str) -> None:
    events = events_of_customer(month_store, PACKAGE_ASSIGNMENTS, customer)
    assert account_from_events(events, PACKAGE_ASSIGNMENTS, "p", customer) is None
