"""`rtmeter close-month`, `verify-close` and `approve`, as a finance clerk types them, on a store in another process."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

from tests.billing.closing.test_close import World
from tests.cli.test_commands import rtmeter

ACCEPTED = ("--accept-open", "known test senders", "--accept-unpriced", "no price is agreed yet")
NONE_ALONE = ("--limit-percent", "0")


class Desk:
    """The commands, on a data folder and a register."""

    def __init__(self, world: World, number: int) -> None:
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
    ],
)
def test_wrong_usage_says_what(arguments: tuple[str, ...], said: str) -> None:
    done = rtmeter(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()
