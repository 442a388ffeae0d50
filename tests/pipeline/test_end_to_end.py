"""Lines of files through a real Kafka and the store give the bytes that the same lines give from files alone."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from billing.meter import Metered
from billing.report import ReportRequest
from rtmeter.installation import Installation as Folder
from rtmeter.options import now_ms
from rtmeter.progress import ProgressReader
from sinks.store import open_for_reading
from tests.oracle.random_month import random_month
from tests.pipeline.harness import Installation, expected_reports

START_SECONDS = 60
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


class Month:
    """A random month with bad lines, emitted raw, metered, closed and stored by two workers."""

    def __init__(self, folder: Path) -> None:
        self.catalog, self.events = random_month(random.Random(31), customers=40, events=4000)
        self.installation = Installation(folder / "data")
        self.lines = [*self.catalog, *(line for line in self.events if line and b"\n" not in line)]
        self.file = folder / "events.jsonl"
        self.file.write_bytes(b"\n".join(self.lines) + b"\n")
        self.installation.run("emit", "--raw", str(self.file))
        self.installation.drain("--workers", "2")
        self.installation.run("close-day", "--through", "2026-11-14")
        self.installation.drain("--workers", "2")

    def reports(self) -> dict[ReportRequest, bytes]:
        return self.installation.reports()

    @property
    def expected(self) -> dict[ReportRequest, bytes]:
        return expected_reports(self.lines, now_ms())


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    return Month(tmp_path_factory.mktemp("end-to-end"))


def test_reports_equal_those_of_the_files_byte_for_byte(month: Month) -> None:
    assert month.reports() == month.expected


def test_the_command_line_writes_the_same(month: Month) -> None:
    request = next(request for request, report in month.expected.items() if report.count(b"\n") > 5)
    assert month.installation.report(request) == month.expected[request]


def test_the_expected_reports_are_not_empty(month: Month) -> None:
    assert sum(len(report.splitlines()) > 1 for report in month.expected.values()) > 10


def test_a_second_drain_on_the_same_folder_changes_nothing(month: Month) -> None:
    with_kafka = month.installation
    before = _ends(with_kafka)
    with_kafka.drain()
    after = _ends(with_kafka)
    # Each new owner claims its partitions; nothing else is written anywhere.
    entitlements = Folder(with_kafka.data_dir, None, "").names.entitlements
    assert {key: end for key, end in after.items() if key[0] != entitlements} == {
        key: end for key, end in before.items() if key[0] != entitlements
    }
    assert all(after[key] - end in (0, 1) for key, end in before.items() if key[0] == entitlements)
    assert month.reports() == month.expected


def test_a_replay_of_the_topics_into_an_empty_store_gives_the_same_reports(month: Month) -> None:
    shutil.rmtree(month.installation.data_dir / "store")
    month.installation.drain()
    assert month.reports() == month.expected


def test_every_refused_line_is_kept_with_its_reason_and_its_bytes(month: Month) -> None:
    metered = Metered(month.lines, now_ms())
    store = open_for_reading(None, month.installation.data_dir / "store")
    try:
        found = store.query("SELECT reason, hex(value) FROM dead_letters FINAL")
        sent = store.query("SELECT count() FROM raw_events FINAL WHERE topic IN ('package-assignments', 'catalog')")
        (counts,) = store.query(
            "SELECT sum(metered), sum(duplicates), sum(refused), sum(day_closes) FROM partition_progress FINAL"
        )
    finally:
        store.close()
    wanted = [(str(line.reason), month.lines[line.number - 1].hex().upper()) for line in metered.refused]
    assert sorted(found) == sorted(wanted)
    assert len(wanted) > 20
    # Every record is accounted for: metered + duplicates + refused + day closes = sent; the catalog is counted apart.
    assert sent[0][0] == len(month.lines) + counts[3]
    watermark = metered.state.watermark
    assert counts[:3] == (watermark.metered, watermark.duplicates, watermark.refused)


def test_while_up_runs_the_report_command_goes_through_its_api_and_writes_the_same(month: Month) -> None:
    """Also beside another `up`: whoever has the usual port, this one finds a free one and names it."""
    installation = month.installation
    up = installation.start("up")
    try:
        folder = Folder(installation.data_dir, None, "")
        deadline = time.monotonic() + START_SECONDS
        while folder.running_api() is None:
            assert up.poll() is None, installation.logs()
            assert time.monotonic() < deadline, installation.logs()
            time.sleep(0.1)
        for request in [request for request in month.expected if request.sub_partner_id or request.internal]:
            assert installation.report(request) == month.expected[request]
        log = (installation.data_dir / "logs" / "api.log").read_text()
        assert log.count("POST /v1/wholesale/billing/reports 200") == 6
        assert log.count("DELETE /v1/wholesale/billing/reports/") == 6, "nothing is left behind"
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert folder.running_api() is None


def test_late_facts_after_the_close_restate_the_days(month: Month, tmp_path: Path) -> None:
    _, events = random_month(random.Random(32), customers=40, events=2000)
    late = [line for line in events if line and b"\n" not in line]
    file = tmp_path / "late.jsonl"
    file.write_bytes(b"\n".join(late) + b"\n")
    month.installation.run("emit", "--raw", str(file))
    month.installation.drain("--workers", "3")
    month.lines += late
    assert month.reports() == month.expected


def _ends(installation: Installation) -> dict[tuple[str, int], int]:
    folder = Folder(installation.data_dir, None, "")
    with folder.kafka() as servers:
        return ProgressReader(servers, folder.names, "").read(dict).ends
