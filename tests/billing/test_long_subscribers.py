"""Reports over long subscribers, whose intervals are in many rows, are those over rows of one subscriber each."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.explain_row import held_intervals
from billing.export import export_csv
from billing.meter import Metered
from billing.point_in_time import point_in_time_csv
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number
from sinks.store import ReadableStore, open_for_reading
from tests.month import MONTH
from tests.oracle.random_month import CHILDREN, PARTNERS, RECEIVED_AT_MS, random_month
from tests.store_process import serving

FIRST, LAST = day_number("2026-10-01"), day_number("2026-10-31")
EXPECTED = sorted((MONTH / "expected").iterdir())


@pytest.fixture(scope="module")
def long_month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadableStore]:
    """The month of `tests/data/month`, in which two facts make a subscriber long."""
    folder = tmp_path_factory.mktemp("long-month")
    with serving(folder, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"], tiny=True):
        yield open_for_reading(None, folder / "store")


def test_there_are_subscribers_of_several_rows(long_month: ReadableStore) -> None:
    ((rows,),) = long_month.query("SELECT countIf(segment != '' AND notEmpty(items)) FROM timelines FINAL")
    assert rows > 30


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.stem)
def test_the_reports_of_the_month_come_out_byte_for_byte(long_month: ReadableStore, file: Path) -> None:
    report_type, _, of = file.stem.partition("-")
    partner, _, sub_partner = of.partition("_")
    request = ReportRequest(ReportType(report_type), partner, sub_partner or None, FIRST, LAST)
    assert b"".join(export_csv(long_month, request)) == file.read_bytes()


@pytest.mark.parametrize("report_type", [ReportType.CUSTOMER, ReportType.USER])
@pytest.mark.parametrize("partner", ["P-alpha", "P-beta"])
def test_what_is_held_now_is_the_same(
    long_month: ReadableStore, month_store: ReadableStore, report_type: ReportType, partner: str
) -> None:
    request = ReportRequest(report_type, partner, None, LAST, LAST)
    held = b"".join(point_in_time_csv(long_month, request))
    assert held == b"".join(point_in_time_csv(month_store, request))
    assert held.count(b"\n") > 5


def test_the_view_of_the_intervals_is_the_same(long_month: ReadableStore, month_store: ReadableStore) -> None:
    columns = (
        "partner_id, customer_id, subscriber_id, user_id, workspace_id, addon, item, location_id, started_ms, ended_ms"
    )
    sql = f"SELECT {columns} FROM intervals ORDER BY ALL"
    assert long_month.query(sql) == month_store.query(sql)


def test_the_intervals_behind_a_row_are_the_same(long_month: ReadableStore, month_store: ReadableStore) -> None:
    who = month_store.query(
        "SELECT partner_id, customer_id, subscriber_id FROM timelines FINAL WHERE length(items) > 2"
    )
    assert who
    for subscriber in who:
        assert held_intervals(long_month, *subscriber, FIRST, LAST) == held_intervals(
            month_store, *subscriber, FIRST, LAST
        )


def test_a_random_month_comes_out_as_from_its_files(tmp_path: Path) -> None:
    catalog, events = random_month(random.Random(5))
    lines = [*catalog, *(line for line in events if line and b"\n" not in line)]
    (tmp_path / "lines.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    metered = Metered(lines, RECEIVED_AT_MS)
    with serving(tmp_path, [tmp_path / "lines.jsonl"], tiny=True):
        store = open_for_reading(None, tmp_path / "store")
        for partner, child in [*((partner, None) for partner in PARTNERS), *((p, c) for c, p in CHILDREN.items())]:
            request = ReportRequest(ReportType.USER, partner, child, FIRST, LAST, internal=True)
            assert b"".join(export_csv(store, request)) == b"".join(metered.report(request))
