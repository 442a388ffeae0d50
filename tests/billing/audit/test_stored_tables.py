"""Faults planted in the tables are said; a store that is only behind is said to be behind."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.audit.explanation import Agreement, Explanation, NotFound
from billing.audit.raw_events import NOW, AsOf
from sinks.store import ReadableStore, open_for_reading
from tests.billing.audit.planted_store import LATER_MS, planted
from tests.billing.audit.test_explain import ask, customers
from tests.month import MONTH
from tests.store_process import serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("planted")
    with planted(made):
        yield made


@pytest.fixture(scope="module")
def store(folder: Path) -> ReadableStore:
    return open_for_reading(None, folder / "store")


@pytest.fixture(scope="module")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadableStore]:
    """The month with segments so small that most subscribers have several, written in runs of twenty records."""
    folder = tmp_path_factory.mktemp("long")
    with serving(folder, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"], tiny=True):
        yield open_for_reading(None, folder / "store")


def said(explained: Explanation) -> dict[str, tuple[Agreement, str]]:
    """What is said of each table that does not agree."""
    return {
        table.table: (table.agreement, table.said)
        for table in explained.tables
        if table.agreement is not Agreement.AGREES
    }


@pytest.mark.parametrize(
    ("customer_id", "subscriber_id", "table", "text"),
    [
        ("c-7-0", "s-7-0-0", "timelines", "subscriber `s-7-0-0` is not what the first 510 records give"),
        ("c-7-0", None, "timelines", "subscriber `s-7-0-0` is not what the first 510 records give"),
        ("c-7-11", "s-7-11-0", "timelines", "subscriber `s-7-11-0` has no row"),
        ("c-7-1", None, "timelines", "subscriber `nobody` is not what the first 510 records give"),
        ("c-7-19", None, "customers", "the customer's row is not what the first 510 records give"),
        ("lost-row", "s", "timelines", "subscriber `s` is right for the first 1 records, and not for the first 2"),
    ],
)
def test_a_wrong_a_lost_and_an_extra_row_are_said(
    store: ReadableStore, customer_id: str, subscriber_id: str | None, table: str, text: str
) -> None:
    explained = ask(store, "P-alpha", customer_id, subscriber_id)
    assert explained.disagrees
    assert said(explained) == {table: (Agreement.DISAGREES, text)}


def test_the_other_subscribers_of_a_customer_with_a_wrong_row_are_fine(store: ReadableStore) -> None:
    assert not ask(store, "P-alpha", "c-7-11", "s-7-11-1").disagrees


def test_a_day_that_is_a_microday_too_much_is_said(store: ReadableStore) -> None:
    explained = ask(store, "P-alpha", "c-7-12", None)
    ((table, (agreement, text)),) = said(explained).items()
    assert (table, agreement) == ("daily_usage", Agreement.DISAGREES)
    assert "is not what the first 511 records give" in text


def test_a_closed_day_without_its_rows_is_said(store: ReadableStore) -> None:
    explained = ask(store, "P-alpha", "c-7-15", None)
    ((table, (agreement, text)),) = said(explained).items()
    assert (table, agreement) == ("daily_usage", Agreement.DISAGREES)
    assert "on 2026-10-20 has no row" in text


def test_a_wrong_row_of_the_history_is_said_of_the_past_alone(store: ReadableStore) -> None:
    assert said(ask(store, "P-beta", "c-7-16", None)) == {}
    then = ask(store, "P-beta", "c-7-16", None, AsOf(before_offset=510))
    assert said(then) == {
        "timelines_history": (Agreement.DISAGREES, "subscriber `s-7-16-0` is not what the first 510 records give")
    }


def test_a_row_that_the_history_lost_is_said_when_no_later_one_can_be_the_reason(store: ReadableStore) -> None:
    then = ask(store, "P-alpha", "lost-row", "s", AsOf(before_offset=2))
    text = "subscriber `s` is right for the first 1 records, and not for the first 2"
    assert said(then) == {"timelines_history": (Agreement.DISAGREES, text)}
    assert said(ask(store, "P-alpha", "lost-row", "s", AsOf(before_offset=1))) == {}


def test_a_record_that_is_not_metered_yet_makes_the_store_behind_and_not_wrong(store: ReadableStore) -> None:
    now = ask(store, "P-alpha", "c-7-7", "s-7-7-0")
    assert said(now) == {}
    assert now.known.behind == 1
    assert "The store is behind by 1 record" in " ".join(now.said)
    assert [record.offset for record in now.records if record.offset == 511], "it is explained all the same"
    before_it_came = ask(store, "P-alpha", "c-7-7", "s-7-7-0", AsOf(until_ms=LATER_MS - 1))
    assert before_it_came.known.behind == 0
    assert before_it_came.known.cut == 511
    assert before_it_came.quantity_microdays > now.quantity_microdays
    after = ask(store, "P-alpha", "c-7-7", "s-7-7-0", AsOf(until_ms=LATER_MS))
    assert after.quantity_microdays == now.quantity_microdays


def test_raw_events_that_are_behind_the_tables_are_said(store: ReadableStore) -> None:
    explained = ask(store, "P-alpha", "raw-behind", "s", NOW)
    assert said(explained) == {
        "timelines": (Agreement.BEHIND, "subscriber `s` is of revision 2, and raw events are stored up to 1 only")
    }
    assert not explained.disagrees


@pytest.mark.parametrize(
    ("customer_id", "code", "text"),
    [("c-7-0", 1, "timelines disagrees: subscriber"), ("c-7-7", 0, "The store is behind by 1 record")],
)
def test_the_command_says_it_and_its_exit_code_tells(folder: Path, customer_id: str, code: int, text: str) -> None:
    done = subprocess.run(
        [
            *[sys.executable, "-m", "rtmeter", "explain", "--data-dir", str(folder), "--partner", "P-alpha"],
            *["--customer", customer_id, "--month", "2026-10"],
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert text in done.stdout


def test_the_segments_of_a_long_subscriber_are_compared_as_one(long_store: ReadableStore) -> None:
    ((segments,),) = long_store.query("SELECT count() FROM timelines FINAL WHERE segment != ''")
    assert segments > 100
    for partner_id, customer_id in customers(long_store):
        assert said(ask(long_store, partner_id, customer_id, None)) == {}
        for cut in (200, 400):
            with contextlib.suppress(NotFound):
                then = ask(long_store, partner_id, customer_id, None, AsOf(before_offset=cut))
                assert then.tables[0].agreement is Agreement.AGREES, "the cut is where a run ends"


def test_a_lost_segment_is_said(tmp_path: Path) -> None:
    with serving(
        tmp_path,
        [MONTH / "catalog.jsonl", MONTH / "events.jsonl"],
        ["ALTER TABLE timelines DELETE WHERE segment != '' AND notEmpty(items) SETTINGS mutations_sync = 1"],
        tiny=True,
    ):
        store = open_for_reading(None, tmp_path / "store")
        found = [said(ask(store, *owner, None)) for owner in customers(store)]
    assert sum("timelines" in each and each["timelines"][0] is Agreement.DISAGREES for each in found) > 5
