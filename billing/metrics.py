"""What the API and report jobs measure."""

from collections.abc import Mapping, Sequence

from billing.audit.reconcile.record import ReconcileRun
from billing.dead_letters import OpenOfReason
from billing.jobs.reports import ReportStatus, StoredReport
from schemas.metrics import billing as listed
from schemas.reasons import Reason
from streams.instruments import Instruments
from streams.metrics import set_exactly

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NO_ROUTE = "none"


class ApiMetrics:
    """Requests of one API process."""

    def __init__(self, instruments: Instruments) -> None:
        self._requests = instruments.counter(listed.REQUESTS)
        self._time = instruments.histogram(listed.REQUEST_TIME)

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """A request was answered. `route`: the pattern of the route, never the path; None if no route has the path.

        What a client makes up, paths and methods, must not become series.
        """
        shown = NO_ROUTE if route is None else route
        self._requests.labels(shown, method if method in _METHODS else "other", str(status)).inc()
        self._time.labels(shown).observe(seconds)


class JobMetrics:
    """Reports that one process made: an `Observer` of its runner."""

    def __init__(self, instruments: Instruments) -> None:
        self._reports = instruments.counter(listed.REPORTS)
        self._time = instruments.histogram(listed.REPORT_TIME)

    def __call__(self, report: StoredReport, outcome: str, seconds: float) -> None:
        self._reports.labels(report.request.report_type, outcome).inc()
        self._time.labels(report.request.report_type).observe(seconds)


class FigureMetrics:
    """What the stores hold open, as `billing.figures` asks for it. A figure that was never said is NaN."""

    def __init__(self, instruments: Instruments) -> None:
        self._queue_age = instruments.gauge(listed.QUEUE_AGE)
        self._reports = instruments.gauge(listed.REPORTS_REGISTERED)
        self._letters_open = instruments.gauge(listed.LETTERS_OPEN)
        self._letters_age = instruments.gauge(listed.LETTERS_AGE)
        self._clean = instruments.gauge(listed.RECONCILE_CLEAN)
        self._findings = instruments.gauge(listed.RECONCILE_FINDINGS)
        self._finished = instruments.gauge(listed.RECONCILE_FINISHED)
        self._without_price = instruments.gauge(listed.WITHOUT_PRICE)
        self._looked = instruments.gauge(listed.FIGURES_LOOKED)
        self._failures = instruments.counter(listed.FIGURES_FAILURES)
        # Never, which is long ago: the alert on old figures must see it.
        self._looked.set(0)

    def queue(self, oldest_age_ms: int) -> None:
        self._queue_age.set(oldest_age_ms / 1000)

    def reports(self, by_status: Mapping[ReportStatus, int]) -> None:
        """The statuses that reports have; of all others there are none."""
        set_exactly(self._reports, {(str(status),): by_status.get(status, 0) for status in ReportStatus})

    def letters(self, found: Sequence[OpenOfReason], now_ms: int) -> None:
        """The reasons that have open letters; of all others there are none."""
        by_reason: dict[tuple[str, ...], float] = {(str(reason),): 0 for reason in Reason}
        by_reason |= {(one.reason,): one.open for one in found}
        set_exactly(self._letters_open, by_reason)
        self._letters_age.set(max((now_ms - one.oldest_ms for one in found), default=0) / 1000)

    def reconciled(self, last: ReconcileRun, *, settled: bool) -> None:
        """The last run, and whether no difference of any run still stands."""
        self._clean.set(settled)
        self._finished.set(last.finished_ms / 1000)
        set_exactly(self._findings, {(one.name, one.weight): one.findings for one in last.results})

    def without_price(self, services: int) -> None:
        self._without_price.set(services)

    def looked(self, now_ms: int) -> None:
        self._looked.set(now_ms / 1000)

    def failed(self) -> None:
        self._failures.inc()
