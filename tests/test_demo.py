"""`rtmeter demo`: its month is the same every time and has all the trouble it promises; it leaves nothing running."""

import contextlib
import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from billing.stacked_columns import OTHERS
from rtmeter.demo.folder import MARKER, FolderNotOurs, demo_folder
from rtmeter.demo.life import Turn
from rtmeter.demo.month import DemoMonth, generate, last_complete_month
from rtmeter.demo.offers import ADDONS, ONE_TIME, PACKAGES, UNLISTED
from rtmeter.demo.owners import OWNERS, TOP_PARTNERS
from rtmeter.demo.page import usage_page
from rtmeter.demo.shown import chart_series, day_totals
from schemas.events import SubscriptionData
from schemas.reasons import Reason

OCTOBER = date(2026, 10, 1)
RECEIVED_AT_MS = 1_795_000_000_000  # in November 2026
DAY = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"
HTML = "{http://www.w3.org/1999/xhtml}"


# ---- the month


@pytest.fixture(scope="module", params=[(1, 50), (2, 50), (3, 400)], ids=str)
def month(request: pytest.FixtureRequest) -> DemoMonth:
    seed, subscribers = request.param
    return generate(seed, subscribers, OCTOBER)


@pytest.fixture(scope="module")
def metered(month: DemoMonth) -> Metered:
    return Metered(month.catalog_lines + month.event_lines, RECEIVED_AT_MS)


def events(month: DemoMonth) -> Iterator[dict[str, object]]:
    for line in month.event_lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def test_the_same_seed_gives_the_same_bytes(month: DemoMonth) -> None:
    assert generate(1, 300, OCTOBER) == generate(1, 300, OCTOBER)
    assert generate(1, 300, OCTOBER).event_lines != generate(2, 300, OCTOBER).event_lines


def test_every_type_of_fact_happens(month: DemoMonth) -> None:
    assert set(month.description.facts) >= {
        "customer.provisioned",
        "customer.deprovisioned",
        "package.assigned",
        "package.changed",
        "package.removed",
        "addon.assigned",
        "subscriber.removed",
        "subscriber.moved",
        "setup-assist.ordered",
        "setup-assist.cancelled",
        "event.voided",
    }


def test_every_package_addon_and_one_time_service_is_used_and_one_that_nobody_listed(
    month: DemoMonth, metered: Metered
) -> None:
    used = {
        interval.item
        for account in metered.state.accounts.values()
        for _, record in account.subscriber_records()
        for interval in record.intervals
    }
    assert used == {offer.service for offer in (*PACKAGES, *ADDONS)} | {UNLISTED}
    sold = [data for data in metered.catalog.subscriptions.values() if isinstance(data, SubscriptionData)]
    assert len(sold) == len(TOP_PARTNERS)
    assert all(UNLISTED not in {entry.service for entry in data.services} for data in sold)
    seats = [event["data"]["seats"] for event in events(month) if str(event.get("type")).endswith("ordered.v1")]  # type: ignore[index]
    assert min(seats) <= 5 < max(seats), "Setup Assist both ways (rule 18)"
    assert {offer.kind for offer in ONE_TIME} == {"one-time"}


def test_what_is_refused_and_what_repeats_is_as_described(month: DemoMonth, metered: Metered) -> None:
    about = month.description
    assert set(about.bad) == set(Reason) - {Reason.KEY_MISMATCH, Reason.TOO_LARGE}
    assert metered.refused_by_reason() == about.bad + Counter({Reason.BAD_FIELD: about.bad_catalog})
    assert metered.state.watermark.duplicates == about.duplicates > 0
    assert metered.state.watermark.metered == about.facts.total()
    assert len(month.event_lines) == about.facts.total() + about.duplicates + about.bad.total()


def test_some_facts_come_late_and_many_out_of_order(month: DemoMonth) -> None:
    about = month.description
    times = [str(event.get("time")) for event in events(month)]
    assert about.disordered > 0
    assert times != sorted(times)
    assert 0 < about.late_facts <= len(month.event_lines) - about.on_time_lines < len(month.event_lines) // 5


def test_a_removal_finds_nothing_and_a_customer_comes_back(month: DemoMonth, metered: Metered) -> None:
    records = [record for account in metered.state.accounts.values() for _, record in account.subscriber_records()]
    assert sum(record.anomalies for record in records) > 0
    provisioned = Counter(
        event["data"]["customerOrgId"]  # type: ignore[index]
        for event in {str(event["id"]): event for event in events(month) if "id" in event}.values()
        if event["type"] == "wholesale.customer.provisioned.v1"
    )
    assert max(provisioned.values()) > 1


def test_names_in_lower_case_internal_customers_and_sub_partners_are_there(month: DemoMonth, metered: Metered) -> None:
    packages = {str(event["data"].get("package")) for event in events(month) if "data" in event}  # type: ignore[attr-defined]
    assert any(package.islower() and package != "None" for package in packages)
    customers = [account.customer_record() for account in metered.state.accounts.values()]
    assert any(customer is not None and customer.internal for customer in customers)
    partners = metered.catalog.partners
    assert {key for key, data in partners.items() if data.parent_org_id is None} == {one.org_id for one in TOP_PARTNERS}
    assert [data.billing_start_date for data in partners.values() if data.billing_start_date] == ["2026-10-16"]
    assert {partner for partner, _ in metered.state.accounts} == {owner.org_id for owner in OWNERS}


def test_usage_grows_over_the_month() -> None:
    month = generate(1, 1000, OCTOBER)
    metered = Metered(month.catalog_lines + month.event_lines, RECEIVED_AT_MS)

    def quantity(day: int) -> float:
        request = ReportRequest(ReportType.PARTNER, "ternvale", None, day, day)
        text = b"".join(metered.report(request)).decode()
        return sum(float(row["QUANTITY"]) for row in csv.DictReader(text.splitlines()))

    first_day = (OCTOBER - date(1970, 1, 1)).days
    assert quantity(first_day + 30) > quantity(first_day) > 0


def test_the_last_complete_month_is_the_one_before() -> None:
    assert last_complete_month(date(2026, 11, 23)) == OCTOBER
    assert last_complete_month(date(2026, 1, 1)) == date(2025, 12, 1)
    with pytest.raises(ValueError, match="not the first day"):
        generate(1, 50, date(2026, 10, 2))
    assert generate(1, 50, date(2028, 2, 1)).description.last_day - (date(2028, 2, 1) - date(1970, 1, 1)).days == 28


def test_every_turn_has_a_chance() -> None:
    from rtmeter.demo.life import _CHANCES

    assert set(_CHANCES) == set(Turn)


# ---- the chart


def test_the_chart_has_a_part_for_each_service_and_day_and_a_table_of_the_same_numbers() -> None:
    daily = {20000: {"A": 2 * DAY, "B": DAY // 2}, 20001: {"A": 3 * DAY, "SETUP_ASSIST_EXPRESS": DAY}}
    page = ET.fromstring(usage_page(daily, {20000: {"A": DAY}}, 20000, 20001))  # noqa: S314 - our own
    svg = page.find(f".//{SVG}svg")
    assert svg is not None
    assert svg.find(f"{SVG}title") is not None
    assert svg.find(f"{SVG}desc") is not None
    parts = [part.findtext(f"{SVG}title") for part in svg.iter(f"{SVG}rect")]
    assert parts == ["2024-10-04, A: 2", "2024-10-04, B: 1", "2024-10-05, A: 3"]
    cells = [[cell.text for cell in row] for row in page.findall(f".//{HTML}tbody/{HTML}tr")]
    assert cells == [["2024-10-04", "2", "0.5", "2.5", "1"], ["2024-10-05", "3", "0", "3", "0"]]


def test_a_chart_of_no_usage_is_a_page_all_the_same() -> None:
    assert ET.fromstring(usage_page({}, {}, 20000, 20030)).find(f".//{SVG}svg") is not None  # noqa: S314 - our own


def test_small_services_are_one_series_and_nothing_is_lost() -> None:
    daily = {20000: {f"S{n}": n * DAY for n in range(1, 12)}}
    series = chart_series(daily, range(20000, 20001))
    assert [one.name for one in series] == ["S11", "S10", "S9", "S8", "S7", "S6", OTHERS]
    assert [sum(one.quantities[0] for one in series)] == day_totals(daily, range(20000, 20001))


# ---- the folder


def test_an_earlier_demo_is_removed_and_what_others_put_there_stays(tmp_path: Path) -> None:
    with demo_folder(tmp_path / "d", fresh=True) as folder:
        (folder / "store").mkdir()
        (folder / "store" / "rows").touch()
        (folder / "notes.txt").touch()
    with demo_folder(tmp_path / "d", fresh=True) as folder:
        assert {path.name for path in folder.iterdir()} == {MARKER, "notes.txt"}


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_of_somebody_else_is_refused_untouched(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(FolderNotOurs, match="not made by the demo"), demo_folder(tmp_path, fresh):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_demo_that_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    with demo_folder(tmp_path, fresh=False):
        (tmp_path / "usage.html").touch()
    with pytest.raises(FolderNotOurs, match="earlier demo"), demo_folder(tmp_path, fresh=False):
        pass
    assert (tmp_path / "usage.html").exists()


def test_two_demos_do_not_run_in_one_folder(tmp_path: Path) -> None:
    with (
        demo_folder(tmp_path, fresh=True),
        pytest.raises(FolderNotOurs, match="is running"),
        demo_folder(tmp_path, fresh=True),
    ):
        pass


# ---- the command, on a real Kafka


def start_demo(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    with (folder.parent / "out").open("wb") as out, (folder.parent / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "rtmeter", "demo", "--subscribers", "200", "--data-dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **environment},
        )


def processes_of(folder: Path) -> set[int]:
    """The processes that name the folder in their command, or work in it."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if str(folder).encode() in command or str((process / "cwd").readlink()).startswith(str(folder)):
                    found.add(int(process.name))
    return found


def wait_for_children(demo: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when two workers, the sink and the broker run."""
    deadline = time.monotonic() + 120
    while demo.poll() is None and time.monotonic() < deadline:
        # While a process turns from one program into another its command is empty for a moment.
        children = processes_of(folder) - {demo.pid}
        if len(list((folder / "run").glob("*.pid"))) == 3 and len(children) >= 4:
            return
        time.sleep(0.05)
    pytest.fail(f"the demo did not start: {(folder.parent / 'err').read_text()}")


def kafka_lock_is_free(folder: Path) -> bool:
    with (folder / "kafka" / "broker.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a demo is to run; whatever is still running in it afterwards is ended, by its process id."""
    yield tmp_path / "demo"
    for pid in processes_of(tmp_path / "demo"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.kafka
def test_the_demo_reports_what_meter_reports_and_leaves_nothing_running(folder: Path) -> None:
    # Settings of a real installation, which a demo must not touch: with any of them it would fail.
    demo = start_demo(folder, RTMETER_CLICKHOUSE_DSN="http://127.0.0.1:9/real", RTMETER_BOOTSTRAP_SERVERS="127.0.0.1:9")
    wait_for_children(demo, folder)
    code = demo.wait(timeout=240)
    shown = (folder.parent / "out").read_text()
    assert code == 0, (folder.parent / "err").read_text() + shown
    assert processes_of(folder) == set()
    assert kafka_lock_is_free(folder)

    assert "All 9 reports are byte for byte" in shown
    assert "NOT ALL" not in shown
    catalog, lines = folder / "catalog.jsonl", folder / "events.jsonl"
    metered = Metered((catalog.read_bytes() + lines.read_bytes()).splitlines(), int(time.time() * 1000))
    first = last_complete_month(datetime.fromtimestamp(catalog.stat().st_mtime, UTC).date())
    first_day = (first - date(1970, 1, 1)).days
    last_day = generate(1, 50, first).description.last_day
    for partner in TOP_PARTNERS:
        for report_type in (ReportType.PARTNER, ReportType.CUSTOMER, ReportType.USER):
            written = (folder / "reports" / f"{partner.org_id}-{report_type.lower()}.csv").read_bytes()
            request = ReportRequest(report_type, partner.org_id, None, first_day, last_day)
            assert written == b"".join(metered.report(request))
            assert written.count(b"\r\n") > 1
    page = ET.parse(folder / "usage.html")  # noqa: S314 - our own
    assert len(list(page.iter(f"{SVG}rect"))) > 100


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_demo_ends_all_that_it_started(folder: Path, number: signal.Signals) -> None:
    demo = start_demo(folder)
    wait_for_children(demo, folder)
    demo.send_signal(number)
    assert demo.wait(timeout=90) == 3, (folder.parent / "err").read_text()
    assert processes_of(folder) == set()
    assert kafka_lock_is_free(folder)
    assert "interrupted" in (folder.parent / "err").read_text()
