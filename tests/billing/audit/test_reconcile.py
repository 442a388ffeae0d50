"""A store that says what its raw events say passes every check; one planted fault is found by the check that is for it."""

import json
import random
from pathlib import Path

import pytest

from billing.audit.reconcile.check import Slice
from billing.audit.reconcile.run import CHECKS, Reconciled, reconcile, scope_of
from schemas.instants import day_number
from schemas.topics import TopicNames
from sinks.store import ReadableStore, open_for_reading
from tests.month import MONTH
from tests.oracle.random_month import random_month
from tests.store_process import serving

FIRST, LAST = day_number("2026-10-01"), day_number("2026-10-31")
NAMES = TopicNames.with_prefix("")
FILES = [MONTH / "catalog.jsonl", MONTH / "events.jsonl"]
#: A subscriber of the month that holds something, and a day on which a group of it has usage.
_SOME = "SELECT {columns} FROM {table} FINAL WHERE {condition} ORDER BY ALL LIMIT 1"


def reconciled(store: ReadableStore, org_ids: tuple[str, ...] | None = None, slice_: Slice | None = None) -> Reconciled:
    return reconcile(store, NAMES, scope_of(store, NAMES, FIRST, LAST, org_ids, slice_), sleep=lambda _: None)


def different(found: Reconciled) -> set[str]:
    return {result.name for result in found.results if result.findings}


def in_spoilt_store(folder: Path, *planted: str) -> set[str]:
    """The checks that find something, in the store of the month after these statements, but not without them."""
    with serving(folder, FILES, planted):
        return different(reconciled(open_for_reading(None, folder / "store"))) - {"priced"}


def test_the_month_is_clean(month_store: ReadableStore) -> None:
    found = reconciled(month_store)
    assert [(result.name, result.examples) for result in found.results if result.differs] == []
    assert found.clean
    assert [result.name for result in found.results] == [check.name for check in CHECKS]
    looked_at = {result.name: result.looked_at for result in found.results}
    assert all(looked_at[check.name] for check in CHECKS if check.name != "identities"), looked_at


@pytest.mark.parametrize("seed", [5, 31])
def test_random_months_are_clean(tmp_path: Path, seed: int) -> None:
    catalog, events = random_month(random.Random(seed), customers=30, events=2500)
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\n".join([*catalog, *(line for line in events if line and b"\n" not in line)]))
    with serving(tmp_path, [file]):
        found = reconciled(open_for_reading(None, tmp_path / "store"))
    assert [(result.name, result.examples[:2]) for result in found.results if result.differs] == []


def test_one_partner_is_looked_at_alone(month_store: ReadableStore) -> None:
    whole = {result.name: result.looked_at for result in reconciled(month_store).results}
    beta = reconciled(month_store, ("P-beta",))
    assert beta.clean
    of_beta = {result.name: result.looked_at for result in beta.results}
    assert 0 < of_beta["state"] < whole["state"]
    assert 0 < of_beta["days"] < whole["days"]


def test_the_slices_are_everybody_once(month_store: ReadableStore) -> None:
    whole = {result.name: result.looked_at for result in reconciled(month_store).results}
    slices = [reconciled(month_store, slice_=Slice(number, 3)) for number in range(3)]
    assert all(one.clean for one in slices)
    for name in ("days", "newest"):
        looked_at = [result.looked_at for one in slices for result in one.results if result.name == name]
        assert sum(looked_at) == whole[name]
        assert max(looked_at) < whole[name]


DELETE = "DELETE FROM {} WHERE {} SETTINGS mutations_sync = 2"
AGAIN = "INSERT INTO {table} SELECT * REPLACE({changed}) FROM {table} FINAL WHERE {condition} ORDER BY ALL LIMIT 1"
ONE = "(partner_id, customer_id, subscriber_id) IN (SELECT partner_id, customer_id, subscriber_id FROM timelines FINAL WHERE partner_id = 'P-beta' AND notEmpty(items) ORDER BY ALL LIMIT 1)"
ONE_DAY = "(partner_id, customer_id, location_id, item, day) IN (SELECT partner_id, customer_id, location_id, item, day FROM daily_usage FINAL WHERE partner_id = 'P-beta' AND quantity_microdays > 5 AND day = '2026-10-20' ORDER BY ALL LIMIT 1)"
PLANTED = {
    "a raw row is missing": (
        {"input-holes", "state"},
        [DELETE.format("raw_events", "topic = 'package-assignments' AND offset IN (SELECT min(offset) + 3 FROM raw_events WHERE topic = 'package-assignments')")],
    ),
    "more was metered than the counters say": (
        {"input-accounted"},
        ["INSERT INTO partition_progress SELECT * REPLACE(metered + 1 AS metered) FROM partition_progress FINAL"],
    ),
    "a subscriber is missing": ({"state", "days", "totals", "newest"}, [DELETE.format("timelines", ONE)]),
    "an interval ends later than its facts say": (
        {"state", "days", "totals", "newest"},
        [f"INSERT INTO timelines SELECT * REPLACE(arrayMap(x -> x - 1000, starts) AS starts) FROM timelines FINAL WHERE {ONE}"],
    ),
    "a subscriber has another user": (
        {"state", "newest"},
        [f"INSERT INTO timelines SELECT * REPLACE('somebody else' AS user_id) FROM timelines FINAL WHERE {ONE}"],
    ),
    "a subscriber has an anomaly too many": (
        {"state", "newest"},
        [f"INSERT INTO timelines SELECT * REPLACE(anomalies + 1 AS anomalies) FROM timelines FINAL WHERE {ONE}"],
    ),
    "a customer's attribute is not its facts'": (
        {"state", "newest"},
        ["INSERT INTO customers SELECT * REPLACE('other' AS name) FROM customers FINAL WHERE partner_id = 'P-beta' ORDER BY customer_id LIMIT 1"],
    ),
    "a dead letter is missing": (
        {"state"},
        [DELETE.format("dead_letters", "topic = 'package-assignments'")],
    ),
    "a dead letter is of no record": (
        {"state"},
        ["INSERT INTO dead_letters (topic, partition, offset, append_time, reason, detail, key, value) SELECT topic, partition, offset, append_time, 'bad-field', 'none', key, value FROM raw_events FINAL WHERE topic = 'package-assignments' AND offset = 1"],
    ),
    "a day is missing": ({"days", "totals", "newest"}, [DELETE.format("daily_usage", ONE_DAY)]),
    "a day is a microday too long": (
        {"days", "totals", "newest"},
        [f"INSERT INTO daily_usage SELECT * REPLACE(quantity_microdays + 1 AS quantity_microdays) FROM daily_usage FINAL WHERE {ONE_DAY}"],
    ),
    "a day has a licence too many": (
        {"days", "newest"},
        [f"INSERT INTO daily_usage SELECT * REPLACE(active_licences + 1 AS active_licences) FROM daily_usage FINAL WHERE {ONE_DAY}"],
    ),
    "the history lacks the current row": ({"newest"}, [DELETE.format("daily_usage_history", ONE_DAY)]),
    "a revision has two contents": (
        {"one-content", "newest"},
        [
            "SYSTEM STOP MERGES daily_usage_history",
            f"INSERT INTO daily_usage_history SELECT * REPLACE(quantity_microdays + 1 AS quantity_microdays) FROM daily_usage_history WHERE {ONE_DAY}",
        ],
    ),
    "a day is not closed": (
        {"days-closed", "days"},
        [
            DELETE.format("partition_progress", "1"),
            "INSERT INTO partition_progress (partition, revision, closed_through_day, metered) VALUES (0, 1, '2026-10-30', 1)",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(tmp_path: Path, fault: str) -> None:
    expected, statements = PLANTED[fault]
    found = in_spoilt_store(tmp_path, *statements)
    assert expected & found, f"{fault}: nothing of {expected} was found, but {found}"
    assert found <= expected, f"{fault}: also {found - expected}"


def _assigned(n: int, customer: str, subscriber: str, identifier: str) -> str:
    data = {"partnerOrgId": "p", "customerOrgId": customer, "subscriberId": subscriber, "package": "X", "userId": "u"}
    return json.dumps(
        {
            "specversion": "1.0",
            "id": identifier,
            "source": "/t",
            "type": "wholesale.package.assigned.v1",
            "time": f"2026-10-0{n}T00:00:00Z",
            "data": data,
        }
    )


def test_a_subscriber_of_two_customers_and_an_identity_of_two_subscribers_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(
        "\n".join([_assigned(1, "c1", "s", "1"), _assigned(2, "c2", "s", "2"), _assigned(3, "c1", "t", "1")])
    )
    november = (day_number("2026-11-01"), day_number("2026-11-30"))
    with serving(tmp_path, [file]):
        store = open_for_reading(None, tmp_path / "store")
        october = reconciled(store)
        arrived = reconcile(store, NAMES, scope_of(store, NAMES, *november, None, None), sleep=lambda _: None)
    assert october.clean
    held = next(result for result in october.results if result.name == "held-twice")
    assert held.findings == 1
    assert "p/c1 and p/c2 from 2026-10-02" in held.examples[0].found
    reused = next(result for result in arrived.results if result.name == "identities")
    assert [(finding.who, finding.found) for finding in reused.examples] == [("event 1 of /t", "p/c1/s and p/c1/t")]
    assert next(result for result in october.results if result.name == "priced").findings == 1
