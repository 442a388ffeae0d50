"""A backup holds the whole store, also one that is at work; a restore gives it back, or touches nothing."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sinks.backup.frozen import freeze
from sinks.rebuild.tables import tables_of_migrations
from tests import store_process
from tests.month import MONTH
from tests.store_shell import run_sql

pytestmark = pytest.mark.timeout(300)


def rtmeter(data: Path, *arguments: str, code: int) -> str:
    """What the command said."""
    done = subprocess.run(
        [sys.executable, "-m", "rtmeter", *arguments, "--data-dir", str(data)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def contents(data: Path) -> list[list[list[object]]]:
    """Of each table, how many rows and a sum over all their columns; and what a view gives."""
    tables = [f"{table} FINAL" for table in tables_of_migrations()] + ["intervals"]
    return run_sql(
        data / "store", *(f"SELECT count(), sum(cityHash64(toString(tuple(*)))) FROM {table}" for table in tables)
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a store, a register, a report file and a key, and `backup` beside it, taken at work."""
    root = tmp_path_factory.mktemp("backup")
    data = root / "data"
    (data / "reports").mkdir(parents=True)
    (data / "reports" / "one.csv").write_text("a report")
    (data / "keys").mkdir()
    (data / "keys" / "link-keys").write_text("local:secret")
    register = sqlite3.connect(data / "billing.db")
    register.execute("PRAGMA journal_mode = WAL")
    with store_process.serving(data, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"]):
        with register:
            register.execute("CREATE TABLE reports (id TEXT)")
            register.execute("INSERT INTO reports VALUES ('one')")
        # The connection stays open: what was written may be in the -wal file alone.
        assert "keys are not in it" in rtmeter(data, "backup", str(root / "backup"), code=0)
        assert "stop `rtmeter up` first" in rtmeter(data, "restore", str(root / "backup"), "--replace", code=3)
    register.close()
    assert list((data / "store" / "chdb" / "shadow").glob("*/")) == [], "nothing stays frozen"
    return root


def test_a_backup_that_was_taken_at_work_is_restored_whole(original: Path, tmp_path: Path) -> None:
    said = rtmeter(tmp_path / "other", "restore", str(original / "backup"), code=0)
    assert "tables" in said
    assert contents(tmp_path / "other") == contents(original / "data")
    assert all(rows for ((rows, _),) in contents(tmp_path / "other")[:5])
    register = sqlite3.connect(tmp_path / "other" / "billing.db")
    assert register.execute("SELECT id FROM reports").fetchall() == [("one",)]
    register.close()
    assert (tmp_path / "other" / "reports" / "one.csv").read_text() == "a report"
    assert not (tmp_path / "other" / "keys").exists()


def test_a_backup_of_a_store_at_rest_is_the_same_and_keys_are_in_it_if_asked(original: Path, tmp_path: Path) -> None:
    rtmeter(original / "data", "backup", str(tmp_path / "again"), "--with-keys", code=0)
    rtmeter(tmp_path / "other", "restore", str(tmp_path / "again"), code=0)
    assert contents(tmp_path / "other") == contents(original / "data")
    assert (tmp_path / "other" / "keys" / "link-keys").read_text() == "local:secret"
    assert "is there already" in rtmeter(original / "data", "backup", str(tmp_path / "again"), code=3)


def test_a_restore_replaces_only_if_asked_and_takes_up_a_broken_off_one(original: Path, tmp_path: Path) -> None:
    data, backup = tmp_path / "data", str(original / "backup")
    shutil.copytree(original / "data", data, symlinks=True)
    run_sql(data / "store", "TRUNCATE TABLE timelines", "DROP VIEW intervals")
    (data / "reports" / "two.csv").write_text("of after the backup")
    assert "--replace" in rtmeter(data, "restore", backup, code=3)
    assert (data / "reports" / "two.csv").exists()
    rtmeter(data, "restore", backup, "--replace", code=0)
    assert contents(data) == contents(original / "data")
    assert not (data / "reports" / "two.csv").exists()
    # Broken off when the old store was aside, and the restored one not yet in its place.
    (data / "store" / "chdb").rename(data / "store" / "chdb.replaced")
    (data / "store" / "chdb.restoring").mkdir()
    rtmeter(data, "restore", backup, "--replace", code=0)
    assert contents(data) == contents(original / "data")
    assert sorted(path.name for path in (data / "store").iterdir() if path.is_dir()) == ["chdb"]


def test_a_damaged_backup_is_refused_and_nothing_is_touched(original: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(original / "backup", backup)
    victim = next((backup / "store" / "daily_usage").rglob("data.bin"))
    sound = victim.read_bytes()
    victim.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    assert "its checksum is" in rtmeter(tmp_path / "data", "restore", str(backup), code=3)
    victim.unlink()
    assert "is missing" in rtmeter(tmp_path / "data", "restore", str(backup), code=3)
    victim.write_bytes(sound)
    manifest = json.loads((backup / "manifest.json").read_text())
    for table in manifest["tables"]:
        if table["name"] == "daily_usage":
            table["rows"] += 1
    (backup / "manifest.json").write_text(json.dumps(manifest))
    assert "daily_usage has" in rtmeter(tmp_path / "data", "restore", str(backup), code=3)
    (backup / "manifest.json").unlink()
    assert "is no backup" in rtmeter(tmp_path / "data", "restore", str(backup), code=3)
    assert not (tmp_path / "data" / "store" / "chdb").exists()
    assert not (tmp_path / "data" / "billing.db").exists()


def test_a_backup_of_a_newer_version_is_refused(original: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(original / "data", data, symlinks=True)
    run_sql(data / "store", "INSERT INTO schema_migrations (name) VALUES ('9999_of_the_future')")
    rtmeter(data, "backup", str(tmp_path / "newer"), code=0)
    assert "9999_of_the_future" in rtmeter(tmp_path / "other", "restore", str(tmp_path / "newer"), code=3)


class Recording:
    """A store that notes in which order its tables are frozen."""

    def __init__(self) -> None:
        self.frozen: list[str] = []

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[str, str, str, str]]:
        return [(table, "ReplacingMergeTree", "", "") for table in sorted(tables_of_migrations())]

    def command(self, sql: str, parameters: dict[str, object] | None = None) -> None:
        self.frozen.append(sql.split()[2])


def test_positions_and_progress_are_frozen_before_the_rows_that_they_speak_of() -> None:
    store = Recording()
    freeze(store, "0123456789abcdef")  # type: ignore[arg-type]
    assert store.frozen[:2] == ["partition_progress", "sink_positions"]
    assert sorted(store.frozen) == sorted(tables_of_migrations())
    with pytest.raises(ValueError, match="no name"):
        freeze(store, "a'; DROP TABLE timelines")  # type: ignore[arg-type]


def test_without_a_store_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    assert "there is no store" in rtmeter(tmp_path / "data", "backup", str(tmp_path / "backup"), code=3)
    assert not (tmp_path / "backup.part").exists()
