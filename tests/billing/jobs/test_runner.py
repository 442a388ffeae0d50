"""Jobs: taken up again when their runner is killed, never with two files, and honest about what cannot be made."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from billing.jobs.reports import ReportCategory, ReportStatus, StoredReport
from billing.jobs.runner import FailureCode, JobRunner, RunnerSettings
from billing.relational.connect import open_engine
from billing.report import NotAChild
from sinks.store import QueryTooLarge, StoreFailed, StoreUnavailable
from tests.billing.jobs.requests import Clock, request
from tests.billing.jobs.slow_job import NoStore

PIECES = 20
WHOLE = b"".join(f"{number}\r\n".encode() for number in range(PIECES))
PATIENCE_SECONDS = 30


def real_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def process(
    url: str, folder: str, worker: str, seconds: float, lease_ms: int = 1_000
) -> Iterator[subprocess.Popen[str]]:
    """A runner of its own that takes so long for each of the pieces."""
    arguments = [url, folder, worker, str(PIECES), str(seconds), str(lease_ms)]
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.billing.jobs.slow_job", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGCONT)
        started.kill()
        started.wait(30)
        assert started.stdout is not None
        started.stdout.close()


def has_begun(job: subprocess.Popen[str]) -> None:
    assert job.stdout is not None
    assert job.stdout.readline() == "writing\n"


def finished(register: ReportRegister, report_id: str) -> StoredReport:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (report := register.get(report_id)) is not None and report.status is ReportStatus.IN_PROGRESS:
        assert time.monotonic() < deadline, "the report was not taken up again"
        time.sleep(0.05)
    assert report is not None
    return report


def test_a_killed_job_is_taken_up_again_and_its_report_has_one_file(url: str, tmp_path: Path) -> None:
    folder = (tmp_path / "reports").as_uri()
    register, files = ReportRegister(open_engine(url), real_ms), ReportFiles(folder)
    report_id = register.create(request(), "clerk").id
    for attempt in range(2):
        with process(url, folder, f"killed-{attempt}", seconds=60) as job:
            has_begun(job)
            job.kill()
    with process(url, folder, "heir", seconds=0) as job:
        report = finished(register, report_id)
    assert report.status is ReportStatus.COMPLETED
    assert report.attempts == 3
    assert report.file is not None
    assert files.open(report.file.name).read() == WHOLE
    assert report.file.size_bytes == len(WHOLE)
    left = set(files.names()) - {report.file.name}
    assert len(left) == 2, "what the killed ones had begun"
    assert set(files.sweep(register.file_names(), real_ms() + 1000)) == left
    assert files.names() == [report.file.name]


def test_a_frozen_job_that_wakes_up_changes_nothing(url: str, tmp_path: Path) -> None:
    folder = (tmp_path / "reports").as_uri()
    register, files = ReportRegister(open_engine(url), real_ms), ReportFiles(folder)
    report_id = register.create(request(), "clerk").id
    with process(url, folder, "frozen", seconds=0.1) as frozen:
        has_begun(frozen)
        frozen.send_signal(signal.SIGSTOP)
        with process(url, folder, "heir", seconds=0):
            report = finished(register, report_id)
            frozen.send_signal(signal.SIGCONT)
            other = register.create(request(day="2026-10-30"), "clerk")
            finished(register, other.id)
            time.sleep(3)  # the frozen one goes on to its end
    assert register.get(report_id) == report
    assert report.file is not None
    assert files.open(report.file.name).read() == WHOLE
    files.sweep(register.file_names(), real_ms() + 1000)
    assert len(files.names()) == 2


def test_several_processes_share_the_work(url: str, tmp_path: Path) -> None:
    folder = (tmp_path / "reports").as_uri()
    register, files = ReportRegister(open_engine(url), real_ms), ReportFiles(folder)
    ids = [register.create(request(day=f"2026-10-{day}"), "clerk").id for day in range(10, 22)]
    with process(url, folder, "one", 0.01), process(url, folder, "two", 0.01), process(url, folder, "three", 0.01):
        reports = [finished(register, report_id) for report_id in ids]
    assert all(report.status is ReportStatus.COMPLETED for report in reports)
    assert [report.attempts for report in reports] == [1] * len(ids), "each was made by one of them"
    assert len(files.names()) == len(ids)


# ---- one runner, step by step


class Fixed:
    """A runner in this process, whose export is the test's."""

    def __init__(self, url: str, folder: Path) -> None:
        self.clock = Clock()
        self.register = ReportRegister(open_engine(url), self.clock)
        self.files = ReportFiles(folder.as_uri())
        self.outcomes: list[str] = []

    def run_one(self, export: Any, worker: str = "runner") -> None:
        runner = JobRunner(
            self.register,
            self.files,
            NoStore,  # type: ignore[arg-type]
            RunnerSettings(worker, lease_ms=60_000, retry_seconds=0),
            exports={ReportCategory.RECONCILIATION: export},
            notes=lambda store, wanted: ["a note"],
            observer=lambda report, outcome, seconds: self.outcomes.append(outcome),
        )
        assert runner.run_one()


@pytest.fixture
def fixed(url: str, tmp_path: Path) -> Fixed:
    return Fixed(url, tmp_path / "reports")


def failing(error: Exception) -> Any:
    def export(store: Any, wanted: Any) -> Iterator[bytes]:
        yield b"half"
        raise error

    return export


def test_a_completed_report_has_file_digest_and_notes(fixed: Fixed) -> None:
    report_id = fixed.register.create(request(), "clerk").id
    fixed.run_one(lambda store, wanted: iter([b"one", b"two"]))
    report = fixed.register.get(report_id)
    assert report is not None
    assert report.file is not None
    assert report.notes == ("a note",)
    assert report.file.sha256 == "25b6746d5172ed6352966a013d93ac846e1110d5a25e8f183b5931f4688842a1"
    assert fixed.files.open(report.file.name).read() == b"onetwo"
    assert fixed.outcomes == ["completed"]


@pytest.mark.parametrize("error", [StoreFailed("down"), StoreUnavailable("down"), OSError("no space left")])
def test_what_is_not_the_reports_fault_is_tried_again(fixed: Fixed, error: Exception) -> None:
    report_id = fixed.register.create(request(), "clerk").id
    for _ in range(10):
        fixed.run_one(failing(error))
        report = fixed.register.get(report_id)
        assert report is not None
        assert report.status is ReportStatus.IN_PROGRESS
        assert fixed.files.names() == [], "nothing half-written stays"
    fixed.run_one(lambda store, wanted: iter([b"whole"]))
    assert fixed.outcomes == ["given back"] * 10 + ["completed"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAChild("S is not a sub-partner of P"), FailureCode.NOT_A_CHILD),
        (ZeroDivisionError(), FailureCode.BUG),
        (QueryTooLarge("Code: 241"), FailureCode.TOO_LARGE),
    ],
)
def test_what_cannot_be_made_fails_with_a_reason_and_no_inside(fixed: Fixed, error: Exception, code: int) -> None:
    report_id = fixed.register.create(request(), "clerk").id
    fixed.run_one(failing(error))
    report = fixed.register.get(report_id)
    assert report is not None
    assert report.status is ReportStatus.FAILED
    assert report.failure is not None
    assert report.failure.code == code
    assert "ZeroDivision" not in report.failure.description
    assert fixed.files.names() == []


def test_a_job_that_kills_its_runners_is_given_up(fixed: Fixed) -> None:
    report_id = fixed.register.create(request(), "clerk").id
    for attempt in range(5):
        assert fixed.register.lease(f"killed-{attempt}", 60_000) is not None
        fixed.clock.ms += 60_001
    fixed.run_one(lambda store, wanted: iter([b"whole"]))
    report = fixed.register.get(report_id)
    assert report is not None
    assert report.failure is not None
    assert report.failure.code == FailureCode.GAVE_UP


def test_a_report_that_is_deleted_while_it_is_made_leaves_no_file(fixed: Fixed) -> None:
    report_id = fixed.register.create(request(), "clerk").id

    def export(store: Any, wanted: Any) -> Iterator[bytes]:
        yield b"half"
        assert fixed.register.delete(report_id, [request().partner_id]) is not None
        yield b"whole"

    fixed.run_one(export)
    assert fixed.outcomes == ["lost"]
    assert fixed.register.get(report_id) is None
    assert fixed.files.names() == []


def test_a_report_that_was_taken_over_keeps_the_other_ones_file(fixed: Fixed) -> None:
    report_id = fixed.register.create(request(), "clerk").id

    def export(store: Any, wanted: Any) -> Iterator[bytes]:
        yield b"slow"
        fixed.clock.ms += 60_001
        fixed.run_one(lambda store, wanted: iter([b"fast"]), worker="another")

    fixed.run_one(export)
    assert fixed.outcomes == ["completed", "lost"]
    report = fixed.register.get(report_id)
    assert report is not None
    assert report.file is not None
    assert fixed.files.open(report.file.name).read() == b"fast"
    assert fixed.files.names() == [report.file.name]


def test_files_live_wherever_fsspec_reaches(url: str) -> None:
    register, files = ReportRegister(open_engine(url), real_ms), ReportFiles("memory://reports")
    report_id = register.create(request(), "clerk").id
    runner = JobRunner(
        register,
        files,
        NoStore,  # type: ignore[arg-type]
        RunnerSettings("runner"),
        exports={ReportCategory.RECONCILIATION: lambda store, wanted: iter([b"a", b"b"])},
        notes=lambda store, wanted: [],
    )
    assert runner.run_one()
    report = register.get(report_id)
    assert report is not None
    assert report.file is not None
    assert files.open(report.file.name).read() == b"ab"
    files.delete(report.file.name)
    with pytest.raises(FileNotFoundError):
        files.open(report.file.name)
