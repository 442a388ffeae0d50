"""`rtmeter explain` as a clerk has it: words, JSON, exit codes, and what it says when nothing is there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billing.audit.explanation import Explanation
from schemas.instants import day_number

#: Of the example month: a move, three packages, an add-on removed that did not run.
ASKED = ("--partner", "P-alpha", "--customer", "c-7-8", "--subscriber", "s-7-8-9")
OCTOBER = ("--month", "2026-10")


def explain(folder: Path, *arguments: str, width: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtmeter", "explain", "--data-dir", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": str(width)},
    )


def as_json(folder: Path, *arguments: str) -> dict[str, Any]:
    done = explain(folder, *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_page_fits_the_terminal_and_says_everything(month_folder: Path, width: int) -> None:
    done = explain(month_folder, *ASKED, *OCTOBER, width=width)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= width for line in done.stdout.splitlines())
    text = " ".join(done.stdout.split())
    assert "Subscriber `s-7-8-9` of customer `c-7-8` of `P-alpha` used 5.264319 days of `NEW_THING_9`" in text
    assert "It ended on 2026-10-26 17:39:22.872Z because `NEW_THING_9` was assigned at `L8-0`" in text
    assert "g(1791553745235) = 20,735,575,755" in text
    assert "does not list `NEW_THING_9`" in text
    assert "timelines agrees: 1 subscriber, as of the first 511 records" in text


def test_json_has_the_documented_members_and_integers(month_folder: Path) -> None:
    made = as_json(month_folder, *ASKED, *OCTOBER)
    assert set(made) == {_camel(name) for name in Explanation.__struct_fields__}
    assert (made["firstDay"], made["lastDay"]) == (day_number("2026-10-01"), day_number("2026-10-31"))
    assert made["quantityMicrodays"] == 30_000_000
    assert made["quantityMicrodays"] == sum(
        part["quantityMicrodays"] for interval in made["intervals"] for part in interval["days"]
    )
    first = made["intervals"][0]
    assert first["startedBy"]["id"] == "7-00000202-0a8f8e"
    assert first["endedBy"]["id"] == "7-00000203-b01fb8"
    assert [record["effect"] for record in made["records"]] == ["started", "found-nothing", "changed", "changed"]


def test_a_day_of_a_month_is_a_part_of_it(month_folder: Path) -> None:
    days = {day["day"]: day["quantityMicrodays"] for day in as_json(month_folder, *ASKED, *OCTOBER)["days"]}
    for day in ("2026-10-09", "2026-10-26"):
        assert as_json(month_folder, *ASKED, "--day", day)["quantityMicrodays"] == days[day_number(day)]


def test_a_customer_is_summed_up_without_a_subscriber(month_folder: Path) -> None:
    made = as_json(month_folder, *ASKED[:4], *OCTOBER)
    assert {each["subscriberId"] for each in made["subscribers"]} >= {"s-7-8-0", "s-7-8-9"}
    orders = sum(order["quantityMicrodays"] for order in made["orders"] if order["inPeriod"])
    assert made["quantityMicrodays"] == orders + sum(each["quantityMicrodays"] for each in made["subscribers"])
    page = explain(month_folder, *ASKED[:4], *OCTOBER)
    assert page.returncode == 0
    assert "Subscribers" in page.stdout


def test_every_record_is_told_on_demand(month_folder: Path) -> None:
    some, every = (as_json(month_folder, *ASKED[:4], "--day", "2026-10-09", *more) for more in ((), ("--all",)))
    assert some["leftOut"] > 0
    assert every["leftOut"] == 0
    assert len(every["records"]) == len(some["records"]) + some["leftOut"] == every["known"]["records"]


def test_what_is_not_there_is_said_with_what_is_near(month_folder: Path) -> None:
    done = explain(month_folder, *ASKED[:4], "--subscriber", "s-7-8-99", *OCTOBER)
    assert done.returncode == 1
    assert not done.stdout
    assert "Customer `c-7-8` of `P-alpha` has no subscriber `s-7-8-99`." in done.stderr
    assert "`s-7-8-9`" in done.stderr
    elsewhere = explain(month_folder, "--partner", "P-beta", "--customer", "c-7-8", *OCTOBER)
    assert elsewhere.returncode == 1
    assert "Customer `c-7-8` is one of `P-alpha`." in elsewhere.stderr
    early = explain(month_folder, *ASKED, *OCTOBER, "--as-of", "2026-11-01T00:00:00Z")
    assert early.returncode == 1
    assert "as known at 2026-11-01T00:00:00Z" in early.stderr


def test_without_a_store_it_is_exit_code_3(tmp_path: Path) -> None:
    done = explain(tmp_path, *ASKED, *OCTOBER)
    assert done.returncode == 3
    assert "rtmeter up" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "just one of --day and --month"),
        (("--day", "2026-10-01", "--month", "2026-10"), "just one of --day and --month"),
        (("--month", "2026-13"), "not a month"),
        (("--month", "October"), "not a month YYYY-MM"),
        (("--day", "2026-02-30"), "not a day"),
        ((*OCTOBER, "--as-of", "yesterday"), "not an RFC 3339 date-time"),
        ((*OCTOBER, "--format", "xml"), "xml"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = explain(tmp_path, *ASKED, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.title() for each in others)
