"""The API as a process: its settings, the relational store, the files, the server, and a thread that makes reports."""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from msgspec import Struct
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from billing.api.app import create_app, guarded
from billing.api.readiness import Readiness
from billing.api.settings import ApiSettings
from billing.api.tokens import LOCAL_AUDIENCE, LOCAL_ISSUER, make_local_key
from billing.audit.reconcile.record import ReconcileRuns
from billing.dismissals import Dismissals
from billing.export import export_csv, notes_with
from billing.figures import Figures
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from billing.jobs.reports import ReportCategory
from billing.jobs.runner import JobRunner, RunnerSettings, nobody
from billing.metrics import ApiMetrics, FigureMetrics, JobMetrics
from billing.point_in_time import point_in_time_csv
from rtmeter.installation import Installation
from rtmeter.relational_store import open_relational
from schemas.metrics.metric import Process
from sinks.store import DEFAULT_LIMITS, QueryLimits, ReadableStore, open_for_reading
from streams.clock import clock_ms
from streams.instruments import Instruments
from streams.operator_port import OperatorAddress, serve_operator

logger = logging.getLogger(__name__)

USUAL_PORT = 8080
_KEEP_ALIVE_SECONDS = 15
_ANNOUNCE_TRIES, _ANNOUNCE_SECONDS = 10, 0.05
_STOP_SECONDS = 10


class ReportPlaces(Struct, frozen=True):
    """Where reports are registered and kept. None: in the data folder."""

    database_url: str | None
    reports_url: str | None


def serve_api(
    installation: Installation,
    places: ReportPlaces,
    host: str,
    port: int | None,
    operator: OperatorAddress,
    *,
    jobs: bool,
) -> None:
    """Serve until SIGTERM or SIGINT; with `jobs`, make reports too. ValueError if a setting is missing or wrong.

    `port` None: the usual one, or any that is free if another process has it.
    """
    listening = _listen(host, port)
    url = f"http://{host}:{listening.getsockname()[1]}"
    settings = _settings(installation, url)
    engine = open_relational(installation, places.database_url)
    register, files, dismissals = open_reports(installation, places, engine)
    instruments = Instruments(Process.API, Process.JOBS) if jobs else Instruments(Process.API)
    runner = job_runner(installation, register, files, dismissals, JobMetrics(instruments) if jobs else None)
    limits = QueryLimits(settings.query_seconds, settings.query_memory_bytes)
    app = create_app(
        settings,
        register,
        files,
        store_opener(installation, limits),
        wake_jobs=runner.wake,
        topic_prefix=installation.topic_prefix,
        dismissed=dismissals.letters,
    )
    config = uvicorn.Config(
        guarded(app, ApiMetrics(instruments).answered),
        access_log=False,  # the guard writes its own, without links
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        limit_concurrency=settings.max_connections,
        lifespan="off",
    )
    # The server handles signals itself, and raises them again when it has ended: these handlers hear them then.
    stop = _stop_on_signals()
    threads = []
    if jobs:
        figures = _figures(installation, engine, register, dismissals, instruments)
        threads = [
            threading.Thread(target=runner.run, args=(stop,), name="jobs"),
            threading.Thread(target=figures.run, args=(stop,), name="figures"),
        ]
    readiness: Readiness = app.state.services.readiness
    with (
        _announced(installation.api_url_file, url),
        _served(instruments.registry, readiness, operator),
    ):
        logger.info("API on %s/v1, documentation on %s/docs", url, url)
        try:
            for thread in threads:
                thread.start()
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def run_jobs(installation: Installation, places: ReportPlaces, operator: OperatorAddress) -> None:
    """Make reports until SIGTERM or SIGINT; any number of such processes share the work."""
    stop = _stop_on_signals()
    engine = open_relational(installation, places.database_url)
    register, files, dismissals = open_reports(installation, places, engine)
    instruments = Instruments(Process.JOBS)
    runner = job_runner(installation, register, files, dismissals, JobMetrics(instruments))
    figures = _figures(installation, engine, register, dismissals, instruments)
    thread = threading.Thread(target=figures.run, args=(stop,), name="figures")
    readiness = Readiness(register, store_opener(installation), clock_ms)
    with _served(instruments.registry, readiness, operator):
        thread.start()
        try:
            runner.run(stop)
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def _served(registry: CollectorRegistry, readiness: Readiness, operator: OperatorAddress) -> Iterator[None]:
    """Metrics and health, until the end of the block."""
    server = serve_operator(registry, readiness.health, operator)
    try:
        yield
    finally:
        server.shutdown()


def _figures(
    installation: Installation,
    engine: Engine,
    register: ReportRegister,
    dismissals: Dismissals,
    instruments: Instruments,
) -> Figures:
    runs = ReconcileRuns(engine, clock_ms)
    metrics = FigureMetrics(instruments)
    return Figures(register, runs, dismissals.letters, store_opener(installation), metrics, clock_ms)


def open_reports(
    installation: Installation, places: ReportPlaces, engine: Engine
) -> tuple[ReportRegister, ReportFiles, Dismissals]:
    """The registers of reports and of dismissals, and the files."""
    files = ReportFiles(places.reports_url or (installation.data_dir.resolve() / "reports").as_uri())
    return ReportRegister(engine, clock_ms), files, Dismissals(engine)


def job_runner(
    installation: Installation,
    register: ReportRegister,
    files: ReportFiles,
    dismissals: Dismissals,
    metrics: JobMetrics | None,
) -> JobRunner:
    worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    exports = {ReportCategory.RECONCILIATION: export_csv, ReportCategory.POINT_IN_TIME: point_in_time_csv}
    return JobRunner(
        register,
        files,
        store_opener(installation),
        RunnerSettings(worker),
        notes=notes_with(dismissals.letters),
        exports=exports,
        observer=metrics or nobody,
    )


def store_opener(installation: Installation, limits: QueryLimits = DEFAULT_LIMITS) -> Callable[[], ReadableStore]:
    """A function that opens the store for reading; what its queries may take is limited."""
    return lambda: open_for_reading(installation.store_dsn, installation.store_folder, limits)


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextlib.contextmanager
def _announced(file: Path, url: str) -> Iterator[None]:
    """Name the URL in a file for as long as this process serves it: the lock goes with the process, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as announced:
        for _ in range(_ANNOUNCE_TRIES):  # a reader holds it for an instant, another API of the folder for good
            try:
                fcntl.flock(announced, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_ANNOUNCE_SECONDS)
        else:
            logger.info("another API of this folder is announced; this one serves those who know its URL")
            yield
            return
        announced.truncate(0)
        announced.write(url)
        announced.flush()
        yield


def _settings(installation: Installation, url: str) -> ApiSettings:
    """The settings of the environment; an embedded installation has its own keys, so that it needs none."""
    given: dict[str, object] = {}
    if "RTMETER_API_PUBLIC_URL" not in os.environ:
        given["public_url"] = url
    if "RTMETER_API_JWKS" not in os.environ:
        given |= {
            "jwks": str(make_local_key(installation.keys_folder)),
            "issuer": LOCAL_ISSUER,
            "audience": LOCAL_AUDIENCE,
        }
    if "RTMETER_API_LINK_KEYS" not in os.environ:
        given["link_keys"] = _link_keys(installation.keys_folder / "link-keys")
    return ApiSettings.load(**given)


def _link_keys(file: Path) -> str:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(f"local:{uuid.uuid4().hex}{uuid.uuid4().hex}")
    return file.read_text()


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; OSError says which port is taken."""
    if port is None:
        try:
            return _listen(host, USUAL_PORT)
        except OSError:
            return _listen(host, 0)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise OSError(f"the API cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    return listening
