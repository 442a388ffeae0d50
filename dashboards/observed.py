"""A demo's month through a real pipeline, with a real Prometheus that scrapes its processes: what the dashboards are tried on.

1. Start the pipeline and its API, then Prometheus with the alerts' rules; send the events that arrive on time.
2. Close the days up to yesterday; send the late events, which restate some of them. What is refused stays a dead letter.
3. Prove it (`rtmeter reconcile`), and ask the API for reports.
4. Start a process that makes reports: its first look at what the stores hold open sees all of this.
5. Wait until Prometheus has seen each process often enough for a rate.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
from msgspec import Struct

from rtmeter.demo.month import DemoMonth, generate, last_complete_month
from rtmeter.emit import Emitter
from rtmeter.installation import Installation
from rtmeter.lines import FileLine
from rtmeter.options import now_ms
from rtmeter.owned import owned_command
from rtmeter.up import Pipeline, running
from schemas.instants import day_text
from sinks.store import ReadableStore, open_for_reading
from streams.close_day import close_days, last_closable_day

PROMETHEUS = shutil.which("prometheus")
RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules"
SCRAPE_MS = 1_000
PARTNER, TYPES = "harbourline", ("PARTNER", "CUSTOMER", "USER")
_SEED = 20261001
_WAIT_SECONDS = 120
#: A rate's interval holds four scrapes, and begins between two.
_SCRAPES = 7
_PIECES = 20

_T = TypeVar("_T")


class Observed(Struct, frozen=True):
    """What can be asked. `since_ms`: when the pipeline started."""

    data_dir: Path
    store: ReadableStore
    prometheus_url: str
    since_ms: int
    month: DemoMonth


@contextlib.contextmanager
def observed_pipeline(folder: Path, subscribers: int = 400, watch_seconds: float = 0) -> Iterator[Observed]:
    """The pipeline, running; everything that was started has ended afterwards.

    `watch_seconds`: over so long the events arrive, bit by bit, so that there is something to see.
    """
    since_ms = now_ms()
    today = datetime.now(UTC)
    month = generate(_SEED, subscribers, last_complete_month(today.date()))
    about = month.description
    installation = Installation(folder, None, "")
    with contextlib.ExitStack() as started:
        pipeline = started.enter_context(running(installation, 1, partitions=4, close_days=False, api=True, api_port=0))
        servers = _waited_for(installation.reachable_kafka, "Kafka")
        url = _waited_for(installation.running_api, "the API")
        logs = {"rtmeter-worker": "worker-1", "rtmeter-sink": "sink", "rtmeter-api": "api"}
        ports = {job: _metrics_port(folder / "logs" / f"{name}.log") for job, name in logs.items()}
        prometheus = started.enter_context(_prometheus(folder, ports))
        token = _rtmeter(folder, "token", "--org", PARTNER)
        _ask_api(url, token)
        emitter = Emitter(servers, installation.names)
        _send(emitter, month.catalog_lines)
        for piece in _pieces(month.event_lines[: about.on_time_lines]):
            _send(emitter, piece)
            time.sleep(watch_seconds / _PIECES)
        _drain(pipeline)
        close_days(servers, installation.names, last_closable_day(today), today)
        _drain(pipeline)
        _send(emitter, month.event_lines[about.on_time_lines :])
        _drain(pipeline)
        first, last = day_text(about.first_day), day_text(about.last_day)
        _rtmeter(folder, "reconcile", "--month", first[:7])
        _make_reports(url, token, first, last)
        jobs_log = started.enter_context(_jobs(folder))
        _configure(folder, {**ports, "rtmeter-jobs": _metrics_port(jobs_log)})
        httpx.post(f"{prometheus}/-/reload", timeout=10).raise_for_status()
        _scraped(prometheus, jobs=len(ports) + 1)
        store = started.enter_context(contextlib.closing(open_for_reading(None, installation.store_folder)))
        yield Observed(folder, store, prometheus, since_ms, month)


def _waited_for(ready: Callable[[], _T | None], what: str) -> _T:
    deadline = time.monotonic() + _WAIT_SECONDS
    while (found := ready()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not there after {_WAIT_SECONDS} s")
        time.sleep(0.1)
    return found


def _metrics_port(log: Path) -> int:
    """The port that a process says it serves its metrics on."""

    def told() -> int | None:
        said = re.findall(r"metrics on http://127\.0\.0\.1:(\d+)/", log.read_text() if log.exists() else "")
        return int(said[-1]) if said else None

    return _waited_for(told, f"a metrics port in {log.name}")


def _send(emitter: Emitter, values: list[bytes]) -> None:
    lines = [FileLine("month", number, value) for number, value in enumerate(values, start=1)]
    emitter.emit(lines, raw=True, now_ms=now_ms, advance=lambda _: None)


def _pieces(lines: list[bytes]) -> Iterator[list[bytes]]:
    size = len(lines) // _PIECES + 1
    return (lines[begin : begin + size] for begin in range(0, len(lines), size))


def _drain(pipeline: Pipeline) -> None:
    stop = threading.Event()
    too_long = threading.Timer(_WAIT_SECONDS, stop.set)
    too_long.start()
    try:
        if not pipeline.run(stop, drain=True, show=lambda _: None):
            raise TimeoutError(f"the pipeline is not drained after {_WAIT_SECONDS} s")
    finally:
        too_long.cancel()


def _rtmeter(folder: Path, *arguments: str) -> str:
    """What a command says."""
    return subprocess.run(
        [sys.executable, "-m", "rtmeter", *arguments, "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=_WAIT_SECONDS,
        check=True,
    ).stdout.strip()


def _ask_api(url: str, token: str) -> None:
    """Early: a rate needs a count before it rises."""
    reports = f"{url}/v1/wholesale/billing/reports"
    httpx.get(reports, headers={"Authorization": f"Bearer {token}"}, timeout=60).raise_for_status()


def _make_reports(url: str, token: str, first: str, last: str) -> None:
    """One of each type, and the list of them."""
    reports = "/wholesale/billing/reports"
    with httpx.Client(base_url=f"{url}/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        body = {"billingStartDate": first, "billingEndDate": last}
        made = [client.post(reports, json={**body, "type": kind}).raise_for_status().json()["id"] for kind in TYPES]

        def completed() -> bool | None:
            statuses = {client.get(f"{reports}/{one}").raise_for_status().json()["status"] for one in made}
            return True if statuses == {"COMPLETED"} else None

        _waited_for(completed, "a report")
        client.get(reports).raise_for_status()


@contextlib.contextmanager
def _child(command: list[str], log: Path, stop_seconds: float = 30) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(owned_command(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(stop_seconds)


@contextlib.contextmanager
def _jobs(folder: Path) -> Iterator[Path]:
    """A process that makes reports; its log."""
    log = folder / "logs" / "jobs.log"
    with _child([sys.executable, "-m", "rtmeter", "jobs", "--data-dir", str(folder)], log):
        yield log


@contextlib.contextmanager
def _prometheus(folder: Path, ports: Mapping[str, int]) -> Iterator[str]:
    """Prometheus, scraping; its URL."""
    assert PROMETHEUS is not None, "prometheus is not installed: apt install prometheus"
    (folder / "prometheus").mkdir()
    _configure(folder, ports)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus' / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus' / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    with _child(command, folder / "prometheus" / "log"):
        _waited_for(lambda: _ready(url), "Prometheus")
        yield url


def _ready(url: str) -> bool | None:
    try:
        return True if httpx.get(f"{url}/-/ready", timeout=10).status_code == 200 else None
    except httpx.TransportError:
        return None


def _configure(folder: Path, ports: Mapping[str, int]) -> None:
    jobs = "".join(
        f"  - job_name: {job}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n" for job, port in ports.items()
    )
    (folder / "prometheus" / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {SCRAPE_MS}ms, scrape_timeout: {SCRAPE_MS}ms, evaluation_interval: {SCRAPE_MS}ms}}\n"
        f"rule_files: ['{RULES}/*.yml']\nscrape_configs:\n{jobs}"
    )


def _scraped(prometheus: str, jobs: int) -> None:
    """Wait until each of so many processes was seen some times, and what the stores hold open was seen once."""
    enough = (
        f"count(count_over_time(up{{job=~'rtmeter-.*'}}[1h]) >= {_SCRAPES}) == {jobs}"
        " and on() max(rtmeter_services_without_price) >= 0 and on() min(rtmeter_reconcile_clean) >= 0"
        " and on() ALERTS and on() min(rtmeter_worker_closed_until_timestamp_seconds) > 0"
    )

    def seen() -> bool | None:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": enough}, timeout=10).json()
        return True if answer["data"]["result"] else None

    _waited_for(seen, "what Prometheus should have seen")
