"""A rebuilt table says what the old one should: what differs is shown by key, and repaired by the switch."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.topics import PACKAGE_ASSIGNMENTS
from sinks.rebuild.tables import FED_BY, FROM_RAW_EVENTS, NOT_REBUILT, tables_of_migrations
from streams.core.partition import PartitionState
from tests import store_process
from tests.month import MONTH
from tests.store_shell import run_sql
from tests.streams.strategies import Record

pytestmark = pytest.mark.timeout(300)

#: Per table a key column that can be made up, and a column to say something wrong in.
PLANTED = {
    "catalog_versions": ("entry", "source"),
    "dead_letters": ("topic", "detail"),
    "customers": ("customer_id", "external_id"),
    "customers_history": ("customer_id", "external_id"),
    "timelines": ("subscriber_id", "user_id"),
    "timelines_history": ("subscriber_id", "user_id"),
    "daily_usage": ("location_id", "active_licences"),
    "daily_usage_history": ("location_id", "active_licences"),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a month in its store."""
    folder = tmp_path_factory.mktemp("rebuild") / "filled"
    with store_process.serving(folder, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"]):
        done = rebuild(folder, "customers", code=3)
        assert "stop `rtmeter up` first" in done
    return folder


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it."""
    shutil.copytree(filled, tmp_path / "data", symlinks=True)
    return tmp_path / "data"


def rebuild(data: Path, *arguments: str, code: int) -> str:
    """What the command said."""
    done = subprocess.run(
        [sys.executable, "-m", "rtmeter", "rebuild", *arguments, "--data-dir", str(data)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def sql(data: Path, *statements: str) -> list[list[list[object]]]:
    return run_sql(data / "store", *statements)


def planted(table: str, sorting_key: str) -> list[str]:
    """A row that should not be there, one that is missing, and one that says something wrong."""
    made_up, wrong = PLANTED[table]
    other = f"{wrong} + 7" if wrong == "active_licences" else f"concat({wrong}, ' planted')"
    key = f"({sorting_key})"
    delete = (
        f"ALTER TABLE {table} DELETE WHERE {key} = (SELECT {key} FROM {table} ORDER BY {key} DESC LIMIT 1 OFFSET 1)"
    )
    return [
        f"INSERT INTO {table} SELECT * REPLACE('a planted key' AS {made_up}) FROM {table} FINAL ORDER BY {key} LIMIT 1",
        f"INSERT INTO {table} SELECT * REPLACE({other} AS {wrong}) FROM {table} FINAL ORDER BY {key} DESC LIMIT 1",
        f"OPTIMIZE TABLE {table} FINAL",
        f"{delete} SETTINGS mutations_sync = 2",
    ]


def test_every_table_is_rebuilt_from_something_or_said_not_to_be() -> None:
    assert {*FED_BY, *NOT_REBUILT} == {*tables_of_migrations(), "schema_migrations"}


def test_planted_differences_are_shown_for_each_table_and_repaired_by_the_switch(data: Path) -> None:
    assert {*PLANTED, "partition_progress"} == set(FROM_RAW_EVENTS)
    (keys,) = sql(data, "SELECT name, sorting_key FROM system.tables WHERE database = currentDatabase()")
    sql(
        data,
        *(statement for table, key in keys if table in PLANTED for statement in planted(str(table), str(key))),
        "INSERT INTO partition_progress SELECT * REPLACE(duplicates + 1 AS duplicates) FROM partition_progress FINAL",
    )
    said = rebuild(data, "--all", code=1)
    for table in PLANTED:
        assert f"{table}: 1 only in the old table, 1 only in the rebuilt one, 1 different" in said
        assert "a planted key" in said
    assert "partition_progress: 1 different" in said
    assert 'external_id "' in said
    again = rebuild(data, "--all", "--switch", code=0)
    assert again.startswith(said), "without --switch nothing was changed"
    assert "switched: " in again
    assert rebuild(data, "--all", code=0).count("no difference") == len(FROM_RAW_EVENTS)
    (tables,) = sql(data, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\_\\_%'")
    assert tables == [], "nothing is left beside"


def test_the_rebuilt_history_is_right_at_any_offset_and_that_of_longer_runs_is_not(data: Path) -> None:
    (values,) = sql(
        data,
        f"SELECT toString(ifNull(key, '')), hex(ifNull(value, '')), toUnixTimestamp64Milli(append_time) FROM raw_events "
        f"FINAL WHERE topic = '{PACKAGE_ASSIGNMENTS}' ORDER BY offset",
    )
    records = [
        Record(offset, int(str(time_ms)), str(key).encode() or None, bytes.fromhex(str(value)))
        for offset, (key, value, time_ms) in enumerate(values)
    ]
    cuts = (1, 17, 100, 333, 500, len(records))
    question = (
        "SELECT partner_id, customer_id, subscriber_id, argMax(start_ms, revision), argMax(end_ms, revision) "
        "FROM timelines_history WHERE revision <= {} GROUP BY ALL ORDER BY ALL"
    )
    questions = [question.format(cut) for cut in cuts]
    expected = [_known_at(records[:cut]) for cut in cuts]
    before = sql(data, *questions)
    assert before[-1] == expected[-1]
    assert before != expected
    rebuild(data, "timelines_history", "--switch", code=0)
    assert sql(data, *questions) == expected


def _known_at(records: list[Record]) -> list[list[object]]:
    still_runs = 2**63 - 1
    state = PartitionState(PACKAGE_ASSIGNMENTS, 0)
    while state.next_offset < len(records):
        state.apply(records[state.next_offset :])
    return sorted(
        [
            *owner,
            subscriber_id,
            [interval.start_ms for interval in record.intervals],
            [still_runs if interval.end_ms is None else interval.end_ms for interval in record.intervals],
        ]
        for owner, account in state.accounts.items()
        for subscriber_id, record in account.subscriber_records()
    )


def test_a_lost_table_and_what_a_crash_left_are_no_obstacle(data: Path) -> None:
    sql(
        data,
        "DROP TABLE timelines SYNC",
        "CREATE TABLE customers__rebuilt (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE customers__replaced (a Int8) ENGINE = MergeTree ORDER BY a",
    )
    said = rebuild(data, "timelines", "customers", "--switch", "--keep", code=0)
    assert "only in the rebuilt one" in said
    assert rebuild(data, "timelines", "customers", code=0).count("no difference") == 2
    (rows,) = sql(data, "SELECT count() > 0 FROM customers__replaced")
    assert rows == [[1]]


def test_rows_beyond_what_was_rebuilt_are_read_from_their_topic_again(data: Path) -> None:
    sql(
        data,
        "INSERT INTO sink_positions VALUES ('entitlements', 0, 50), ('daily-usage', 0, 60)",
        "INSERT INTO timelines SELECT * REPLACE(revision + 1000000 AS revision) FROM timelines LIMIT 1",
    )
    said = rebuild(data, "timelines", "daily_usage", "--switch", code=0)
    assert "the sink will read entitlements from its beginning again" in said
    assert sql(data, "SELECT topic, revision FROM sink_positions FINAL") == [[["daily-usage", 60]]]


def test_without_all_raw_events_nothing_is_recomputed(data: Path) -> None:
    sql(
        data,
        "ALTER TABLE raw_events DELETE WHERE topic = 'package-assignments' AND offset = 40 SETTINGS mutations_sync = 2",
    )
    said = rebuild(data, "--all", "--switch", code=3)
    assert "1 are missing" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such_table",), "no_such_table"),
        ((), "--all"),
        (("customers", "--all"), "--all"),
        (("raw_events", "--from", "raw-events"), "topics only"),
        (("sink_positions",), "choose of"),
    ],
)
def test_what_cannot_be_rebuilt_is_wrong_usage(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in rebuild(tmp_path, *arguments, code=2)


_KILLED = 9
#: Runs a command in which the process dies at its n-th statement or insert.
_DIES = f"""
import os, sys
from sinks.store import Store
left = int(sys.argv.pop(1))
def counted(call):
    def die_or_call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os._exit({_KILLED})
        return call(*arguments, **named)
    return die_or_call
import rtmeter.rebuild
rtmeter.rebuild.migrate = lambda *_: []
Store.command, Store.insert = counted(Store.command), counted(Store.insert)
from rtmeter.cli import main
main()
"""


def test_a_rebuild_that_is_killed_at_any_statement_is_made_good_by_the_next(data: Path) -> None:
    tables = ("customers", "timelines")
    sql(
        data,
        *(f"INSERT INTO {table} SELECT * REPLACE('planted' AS partner_id) FROM {table} LIMIT 3" for table in tables),
    )
    for statements in range(100):
        done = subprocess.run(
            [sys.executable, "-c", _DIES, str(statements), "rebuild", *tables, "--switch", "--data-dir", str(data)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == _KILLED, done.stderr.decode()
    assert statements >= 4 * len(tables), "drop, create, exchange and drop of each, and inserts"
    assert rebuild(data, *tables, code=0).count("no difference") == len(tables)
