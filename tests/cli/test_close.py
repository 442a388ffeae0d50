"""`rtmeter close-month`, `verify-close` and `approve`, as a finance clerk types them, on a store in another process."""

import csv
import io
import json
import re
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sinks.rebuild.tables import FED_BY, FROM_RAW_EVENTS, NOT_REBUILT
from tests.billing.closing.test_close import Staged, World
from tests.billing.closing.test_what_is_billed import REPRICED, USED
from tests.cli.test_commands import rtmeter
from tests.store_process import serving
from tests.store_shell import run_sql

ACCEPTED = ("--accept-open", "known test senders", "--accept-unpriced", "no price is agreed yet")
NONE_ALONE = ("--limit-percent", "0")
ANY_SIZE = ("--limit-percent", "100000")


class Desk:
    """The commands, on a data folder and a register."""

    def __init__(self, world: Staged, number: int) -> None:
        folder = world.folder / f"store-{number}"
        self._options = ("--data-dir", str(folder), "--database-url", str(world.engine.url))

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = rtmeter(*arguments, *self._options)
        assert done.returncode == code, done.stderr.decode()
        return done


@pytest.mark.timeout(900)
def test_a_month_is_closed_verified_and_corrected(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    of_alpha = ("--partner", "P-alpha", "--month")
    with world.store(1):
        desk = Desk(world, 1)
        before = desk("close-month", *of_alpha, "2026-10", *ACCEPTED, code=1)
        assert b"reconciled: no run over" in before.stderr
        reconcile(desk, "2026-10")
        dry = desk("close-month", *of_alpha, "2026-10", "--dry-run", code=1)
        assert b"no-open-letters" in dry.stderr and b"priced: " in dry.stderr
        desk("close-month", *of_alpha, "2026-10", code=1)
        assert b"no such invoice" in desk("verify-close", "--partner", "P-alpha", code=1).stderr
        first = desk("close-month", *of_alpha, "2026-10", *ACCEPTED, "--by", "C. Lerk", "--format", "json")
        again = desk("close-month", *of_alpha, "2026-10", "--format", "json")
        assert b"was made before" in again.stderr and again.stdout == first.stdout
        made = json.loads(first.stdout)
        assert (made["number"], made["closedBy"], made["firstDay"]) == (1, "C. Lerk", "2026-10-01")
        assert made["manifest"]["lines"] == len(made["lines"]) > 3
        rows = list(
            csv.DictReader(io.StringIO(desk("close-month", *of_alpha, "2026-10", "--format", "csv").stdout.decode()))
        )
        assert [row["AMOUNT"] for row in rows] == [line["amount"] or "" for line in made["lines"]]
        page = desk("invoice", "--partner", "P-alpha", "--month", "2026-10", "--format", "html").stdout
        assert page == desk("invoice", "--partner", "P-alpha", "--number", "1", "--format", "html").stdout
        assert b"<h1>Invoice 1</h1>" in page and b"<svg" in page
        for written in ("json", "csv"):
            of_close = desk("close-month", *of_alpha, "2026-10", "--format", written).stdout
            assert desk("invoice", "--partner", "P-alpha", "--number", "1", "--format", written).stdout == of_close
        desk("invoice", *of_alpha, "2026-09", code=1)
        report = ("report", "--type", "USER", "--partner", "P-alpha", "--start", "2026-10-01", "--end", "2026-10-31")
        known = desk(*report, "--as-known-at", "1").stdout
        assert known == desk(*report).stdout
        assert b"DIFFERS" not in desk("close-month", *of_alpha, "2026-10").stdout
        assert f"sha256 {made['sha256']}: reproduced" in desk("verify-close", "--partner", "P-alpha").stderr.decode()
    with world.store(2):
        desk = Desk(world, 2)
        assert desk(*report, "--as-known-at", "1").stdout == known != desk(*report).stdout
        assert b"nobody knows yet" in desk(*report, "--as-known-at", "2999-01-01T00:00:00Z", code=2).stderr
        assert b"has no invoice 7" in desk(*report, "--as-known-at", "7", code=2).stderr
        table = desk("close-month", *of_alpha, "2026-10").stdout.decode()
        assert "still to correct" in table and "DIFFERS" not in table
        reconcile(desk, "2026-09", "2026-08")
        # Here any correction waits.
        second = desk("close-month", *of_alpha, "2026-09", *ACCEPTED, *NONE_ALONE)
        assert b"the correction of 2026-10" in second.stderr and b"waits for `rtmeter approve`" in second.stderr
        desk("approve", *of_alpha, "2026-09", "--reason", "x", "--by", "y", *NONE_ALONE, code=1)
        approved = desk("approve", *of_alpha, "2026-10", "--reason", "late papers", "--by", "C. Lerk", *NONE_ALONE)
        assert b"approved: correction of invoice 1" in approved.stdout
        assert b"2026-10" in desk("close-month", *of_alpha, "2026-08", *ACCEPTED, *NONE_ALONE).stdout
        third = json.loads(desk("close-month", *of_alpha, "2026-08", "--format", "json").stdout)
        assert third["manifest"]["corrections"] > 0 and third["manifest"]["waiting"] == []
        assert {line["correctsInvoice"] for line in third["lines"]} >= {1}
        assert desk("verify-close", "--partner", "P-alpha").stderr.count(b"reproduced") == 3


@pytest.mark.timeout(900)
def test_all_partners_are_closed_in_one_run(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    everybody = ("close-month", "--all", "--month", "2026-10")
    with world.store(1) as store:
        world.reconcile(store)
        desk = Desk(world, 1)
        held = desk(*everybody, "--accept-unpriced", "no price is agreed yet", code=1)
        assert b"held back" in held.stdout and b"no-open-letters: " in held.stdout
        dry = json.loads(desk(*everybody, *ACCEPTED, "--dry-run", "--format", "json").stdout)
        table = desk(*everybody, *ACCEPTED)
        assert f"{len(dry['partners'])} closed" in table.stderr.decode()
        again = json.loads(desk(*everybody, "--format", "json").stdout)
        assert {row["ending"] for row in again["partners"]} == {"closed before"}
        assert [{**row, "ending": ""} for row in dry["partners"]] == [
            {**row, "ending": ""} for row in again["partners"]
        ]
        rows = csv.DictReader(io.StringIO(desk(*everybody, "--format", "csv").stdout.decode()))
        sums = {(row["PARTNER_ORG_ID"], row["CURRENCY"]): row["TOTAL"] for row in rows}
        alpha = json.loads(desk("close-month", "--partner", "P-alpha", "--month", "2026-10", "--format", "json").stdout)
        assert alpha["totals"] and all(
            sums["P-alpha", currency] == total for currency, total in alpha["totals"].items()
        )


@pytest.mark.timeout(900)
def test_every_hash_is_reproduced_whatever_became_of_the_tables(tmp_path: Path) -> None:
    world = World(tmp_path, 5)
    desks = [Desk(world, 1), Desk(world, 2)]
    for stage, month in ((1, "2026-10"), (2, "2026-09")):
        with world.store(stage) as store:
            world.reconcile(store)
            desks[stage - 1]("close-month", "--partner", "P-alpha", "--month", month, *ACCEPTED, *ANY_SIZE)
    issued = world.books(store).invoices.of_partner("P-alpha")
    world.engine.dispose()
    assert issued[0].cut != issued[1].cut and issued[1].manifest.corrections > 0
    hashes = [one.sha256 for one in issued]
    # Each of these opens the second store and the register again, and leaves them closed.
    folder = tmp_path / "store-2"
    assert reproduced(folder, desks[1]) == hashes
    run_sql(folder / "store", *(f"OPTIMIZE TABLE {table} FINAL" for table in (*FED_BY, *NOT_REBUILT)))
    assert run_sql(folder / "store", _PARTS) == [[[1]]]
    assert reproduced(folder, desks[1]) == hashes
    run_sql(folder / "store", *(f"TRUNCATE TABLE {table}" for table in FROM_RAW_EVENTS))
    assert reproduced(folder, desks[1]) == hashes
    assert rtmeter("rebuild", "--all", "--switch", "--data-dir", str(folder)).returncode == 0
    assert reproduced(folder, desks[1]) == hashes
    # Nor is there anything to correct: the tables say of both months what they said before.
    with reopened(folder):
        august = desks[1]("close-month", "--partner", "P-alpha", "--month", "2026-08", *ACCEPTED, "--format", "json")
    manifest = json.loads(august.stdout)["manifest"]
    assert (manifest["corrections"], manifest["waiting"]) == (0, [])
    assert len(reproduced(folder, desks[1])) == 3


#: Of a merged table each partition is one part.
_PARTS = """
SELECT max(parts) FROM
(SELECT count() AS parts FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition)
"""


def reopened(folder: Path) -> AbstractContextManager[None]:
    """A store as it was left, answering again."""
    return serving(folder, [], (), "tests.billing.closing.late_store")


def reproduced(folder: Path, desk: Desk) -> list[str]:
    """The hashes that `verify-close` reproduces on a store as it was left; it must say nothing else."""
    with reopened(folder):
        said = desk("verify-close", "--partner", "P-alpha").stderr.decode()
    hashes = re.findall(r"sha256 ([0-9a-f]{64}): reproduced", said)
    assert said.count("invoice ") == len(hashes), said
    return hashes


@pytest.mark.timeout(900)
def test_prices_of_another_instant_are_asked_for_and_stored(tmp_path: Path) -> None:
    world = Staged(tmp_path, REPRICED, USED)
    with world.store(1) as store:
        world.reconcile(store)
        desk = Desk(world, 1)
        october = ("close-month", "--partner", "P", "--month", "2026-10", "--format", "json")
        assert [line["price"]["unit_price"] for line in json.loads(desk(*october, "--dry-run").stdout)["lines"]] == [
            "62.00"
        ]
        made = desk(*october, "--prices-at", "2026-10-15T00:00:00Z").stdout
        invoice = json.loads(made)
        assert (invoice["pricesBefore"], invoice["totals"]) == ("2026-10-15T00:00:00.000Z", {"USD": "31.00"})
        # It was closed at these prices, whichever are asked for afterwards.
        assert desk(*october).stdout == desk(*october, "--prices-at", "2026-11-10T00:00:00Z").stdout == made
        assert b"reproduced" in desk("verify-close", "--partner", "P").stderr


def reconcile(desk: Desk, *months: str) -> None:
    for month in months:
        desk("reconcile", "--partner", "P-alpha", "--month", month)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("close-month", "--partner", "p", "--month", "2026-13"), "not a month"),
        (("close-month", "--month", "2026-10"), "name one, or --all"),
        (("close-month", "--all", "--partner", "p", "--month", "2026-10"), "name one, or --all"),
        (("invoice", "--partner", "p", "--month", "2026-10", "--number", "1"), "a month or a number"),
        (("period", "--partner", "p", "--first-day", "15"), "go together"),
        (("period", "--partner", "p", "--first-day", "29", "--from", "2026-10"), "less than or equal to 28"),
        (("approve", "--partner", "p", "--month", "2026-10", "--reason", " ", "--by", "x"), "who decided it"),
        (("verify-close", "--partner", "p", "--month", "October"), "not a month"),
        (("close-month", "--partner", "p", "--month", "2026-10", "--prices-at", "2026-10-15"), "--prices-at"),
    ],
)
def test_wrong_usage_says_what(arguments: tuple[str, ...], said: str) -> None:
    done = rtmeter(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()
