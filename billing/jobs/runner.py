"""Making reports: take a job, write its file, say so. Any number of runners, in any number of processes.

The order of effects, and what a crash after each step leaves:

1. Lease the job.                    Nobody else takes it until the lease runs out; then somebody does.
2. Write the file, under a name      A file that belongs to no report: swept after a day.
   that only this attempt has.
3. Complete the report with it.      Done. If the job was taken over or deleted meanwhile, the register refuses:
                                     the file is removed, and the other one's is not touched.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum

from msgspec import Struct

from billing.export import export_csv
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from billing.jobs.reports import ReportCategory, ReportFailure, ReportFile, StoredReport
from billing.report import NotAChild, ReportRequest
from sinks.store import QueryTooLarge, ReadableStore, StoreFailed, StoreUnavailable

logger = logging.getLogger(__name__)


class FailureCode(IntEnum):
    """Codes in the errors of a FAILED report; docs/api.md explains them."""

    NOT_A_CHILD = 2040
    GAVE_UP = 2041
    BUG = 2042
    TOO_LARGE = 2043


Export = Callable[[ReadableStore, ReportRequest], Iterator[bytes]]
Notes = Callable[[ReadableStore, ReportRequest], list[str]]
#: Hears of each report that was tried: its outcome ("completed", "failed", "given back", "lost") and the seconds.
Observer = Callable[[StoredReport, str, float], None]


def nobody(report: StoredReport, outcome: str, seconds: float) -> None:
    """No one is told."""


class RunnerSettings(Struct, frozen=True):
    """`worker` must be of this runner alone. A job that was begun `most_attempts` times in vain is given up."""

    worker: str
    lease_ms: int = 60_000
    most_attempts: int = 5
    idle_seconds: float = 0.1
    retry_seconds: float = 2.0
    sweep_seconds: float = 3600.0
    sweep_age_ms: int = 86_400_000


class JobRunner:
    """Makes reports, one after the other."""

    def __init__(
        self,
        register: ReportRegister,
        files: ReportFiles,
        open_store: Callable[[], ReadableStore],
        settings: RunnerSettings,
        *,
        notes: Notes,
        exports: Mapping[ReportCategory, Export] | None = None,
        observer: Observer = nobody,
    ) -> None:
        self._register = register
        self._files = files
        self._open_store = open_store
        self._settings = settings
        self._exports = exports or {ReportCategory.RECONCILIATION: export_csv}
        self._notes = notes
        self._observer = observer
        self._waiting = threading.Event()

    def wake(self) -> None:
        """Look for work now: what another thread of this process calls when it has asked for a report."""
        self._waiting.set()

    def run(self, stop: threading.Event) -> None:
        """Make reports until `stop`."""
        next_sweep = 0.0
        while not stop.is_set():
            if time.monotonic() >= next_sweep:
                self._files.sweep(self._register.file_names(), int(time.time() * 1000) - self._settings.sweep_age_ms)
                next_sweep = time.monotonic() + self._settings.sweep_seconds
            if not self.run_one(stop):
                self._waiting.wait(self._settings.idle_seconds)
                self._waiting.clear()

    def run_one(self, stop: threading.Event | None = None) -> bool:
        """Make the next report; False if none is waiting."""
        settings = self._settings
        report = self._register.lease(settings.worker, settings.lease_ms)
        if report is None:
            return False
        started = time.monotonic()
        if report.attempts > settings.most_attempts:
            outcome = self._fail(report, FailureCode.GAVE_UP, f"given up after {settings.most_attempts} attempts")
        else:
            with _Renewed(self._register, report, settings):
                outcome = self._make(report, stop)
        logger.info("report %s of %s: %s", report.id, report.request.partner_id, outcome, extra=_about(report))
        self._observer(report, outcome, time.monotonic() - started)
        return True

    def _make(self, report: StoredReport, stop: threading.Event | None) -> str:
        try:
            file, notes = self._write(report)
        except NotAChild as error:
            return self._fail(report, FailureCode.NOT_A_CHILD, str(error))
        except QueryTooLarge as error:
            logger.warning("report %s is too large: %s", report.id, error, extra=_about(report))
            return self._fail(report, FailureCode.TOO_LARGE, "too large to be made; ask for fewer days")
        except (StoreFailed, StoreUnavailable, OSError) as error:
            # Not the report's fault: it waits, as its reader does, and the next attempt may find the store up again.
            logger.warning("report %s: %s; it will be tried again", report.id, error, extra=_about(report))
            (stop or threading.Event()).wait(self._settings.retry_seconds)
            self._register.give_back(report, self._settings.worker)
            return "given back"
        except Exception:
            logger.exception("report %s cannot be made", report.id, extra=_about(report))
            return self._fail(report, FailureCode.BUG, "an internal error; it is in the logs")
        if self._register.complete(report, self._settings.worker, file, notes):
            return "completed"
        self._files.delete(file.name)
        return "lost"

    def _write(self, report: StoredReport) -> tuple[ReportFile, list[str]]:
        store = self._open_store()
        try:
            export = self._exports[report.category]
            file = self._files.write(f"{report.id}.{report.attempts}.csv", export(store, report.request))
            return file, self._notes(store, report.request)
        finally:
            store.close()

    def _fail(self, report: StoredReport, code: FailureCode, description: str) -> str:
        failed = self._register.fail(report, self._settings.worker, ReportFailure(code, description))
        return "failed" if failed else "lost"


def _about(report: StoredReport) -> dict[str, str]:
    return {"report_id": str(report.id), "partner_id": report.request.partner_id}


class _Renewed:
    """Holds a lease for as long as the work takes, from a thread of its own."""

    def __init__(self, register: ReportRegister, report: StoredReport, settings: RunnerSettings) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._renew, args=(register, report, settings), name=f"lease of {report.id}", daemon=True
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self, register: ReportRegister, report: StoredReport, settings: RunnerSettings) -> None:
        while not self._done.wait(settings.lease_ms / 3000):
            try:
                register.renew(report, settings.worker, settings.lease_ms)
            except Exception as error:
                # The next one may get through; if none does the lease runs out, and the register will refuse us.
                logger.warning(
                    "the lease of report %s could not be renewed: %s", report.id, error, extra=_about(report)
                )
