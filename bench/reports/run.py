"""Reports of a large partner, from create to COMPLETED, beside the engine's own export: `python -m bench.reports.run`.

Everything is real: `rtmeter api` in a process of its own, asked over HTTP; the store in another one. In turns with it
the engine exports the same rows by itself, which is the limit; and, for the PARTNER report, computes the same figure
from events by window functions at each request, as open billing systems do. All must agree to the microday.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.measured import Measured
from bench.process_usage import usage
from bench.report import Machine, this_machine, write_results
from bench.reports.data import MERGE, MONTH, PARTNER, WEIGHTED_SUM, Size
from billing.queries import ORDER, Query, report_query
from billing.report import ReportRequest, ReportType, owners_of
from rtmeter.installation import Installation
from schemas.instants import day_text, parse_time_ms
from sinks.catalog import load_catalog
from sinks.store import ReadableStore, open_for_reading
from streams.core.customer import EXPRESS
from streams.core.grid import MICRODAYS_PER_DAY

_RESULTS = Path(__file__).parents[1] / "results"
_POLL_SECONDS = 0.2
_START_SECONDS = 60
_MOST_JOB_MIB = 300
_MOST_OF_BARE = 1.5
_MIB = 1024 * 1024
#: Type, and whether the month's parts were merged before, as they are an hour after the last late fact.
_CASES = (
    (ReportType.PARTNER, False),
    (ReportType.CUSTOMER, False),
    (ReportType.USER, False),
    (ReportType.PARTNER, True),
    (ReportType.CUSTOMER, True),
)


class Timed(Struct):
    """One report type: rows, and the seconds of each run of each side."""

    rows: int
    create_to_completed: list[float]
    bare_export: list[float]
    weighted_sum: list[float]


class Results(Struct):
    """All that was measured. `peak_bytes`: the largest memory of the process that serves the API and makes reports."""

    machine: Machine
    size: Size
    reports: dict[str, Timed]
    peak_bytes: int
    engine_peak_bytes: int


class WrongResult(Exception):
    """A side gave a figure that another one did not: then its time means nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all ran and agreed."""
    parser = argparse.ArgumentParser(prog="bench.reports.run", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="of the large partner")
    parser.add_argument("--others", type=int, default=5_000_000, help="subscribers of all others")
    parser.add_argument("--runs", type=int, default=5, help="of each report, in turns with its limit")
    parser.add_argument("--short", action="store_true", help="small counts, one run: does it work, is it correct")
    options = parser.parse_args(arguments)
    size = Size(2_000, 10_000) if options.short else Size(options.subscribers, options.others)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="rtmeter-bench-") as folder:
        try:
            results = _measure(Path(folder), size, 1 if options.short else options.runs, console)
        except WrongResult as wrong:
            console.print(str(wrong), style="red")
            return 1
    show(results, Console(width=None if sys.stdout.isatty() else 150))
    path = _RESULTS / ("reports-short.json" if options.short else "reports.json")
    write_results(results, path)
    console.print(f"written to {path}")
    return 0


def _measure(folder: Path, size: Size, runs: int, console: Console) -> Results:
    console.print(f"making 12 months of {size.subscribers:,} subscribers among {size.others:,} others")
    with _engine(folder, size) as (engine, engine_in, engine_out), _api(folder) as (api, client):
        store = open_for_reading(None, folder / "store")
        reports = {}
        for report_type, merged in _CASES:
            if merged and not any("merged" in name for name in reports):
                _timed_by_engine(engine_in, engine_out, Query(MERGE, {}))
            request = ReportRequest(report_type, PARTNER, None, *MONTH)
            bare = _bare(store, request, folder / "bare.csv")
            timed = Timed(0, [], [], [])
            for number in range(runs):
                console.print(f"{report_type}, run {number + 1} of {runs}", highlight=False)
                seconds, file = _create_to_completed(client, request, folder)
                timed.create_to_completed.append(seconds)
                timed.bare_export.append(_timed_by_engine(engine_in, engine_out, bare))
                if report_type is ReportType.PARTNER:
                    timed.weighted_sum.append(_weighted_sum(store, file))
            timed.rows = _check_total(file, store)
            reports[report_type.value + (", merged" if merged else "")] = timed
        return Results(this_machine(), size, reports, usage(api.pid).peak_bytes, usage(engine.pid).peak_bytes)


@contextmanager
def _engine(folder: Path, size: Size) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    command = [sys.executable, "-m", "bench.reports.engine", str(folder), str(size.subscribers), str(size.others)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the store could not be made")
        yield process, process.stdin, process.stdout
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@contextmanager
def _api(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    command = [sys.executable, "-m", "rtmeter", "api", "--port", "0", "--data-dir", str(folder)]
    environment = {**os.environ, "RTMETER_API_REQUESTS_PER_MINUTE": "1000000", "MALLOC_ARENA_MAX": "2"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    installation = Installation(folder, None, "")
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (url := installation.running_api()) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the API does not start")
            time.sleep(0.1)
        token = subprocess.run(
            [sys.executable, "-m", "rtmeter", "token", "--org", PARTNER, "--data-dir", str(folder)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        with httpx.Client(base_url=f"{url}/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            yield process, client
    finally:
        process.terminate()
        process.wait(60)


def _create_to_completed(client: httpx.Client, request: ReportRequest, folder: Path) -> tuple[float, Path]:
    """Seconds from the request to COMPLETED; the file, downloaded. Nothing is left behind."""
    body = {
        "billingStartDate": day_text(request.first_day),
        "billingEndDate": day_text(request.last_day),
        "type": request.report_type,
    }
    began = time.time()
    created = client.post("/wholesale/billing/reports", json=body).raise_for_status().json()
    address = f"/wholesale/billing/reports/{created['id']}"
    while (report := client.get(address).raise_for_status().json())["status"] == "IN_PROGRESS":
        time.sleep(_POLL_SECONDS)
    # By the clock of this machine, which is the API's too: polling often enough to tell would take the engine's processor.
    finished = client.get(f"/rtmeter/reports/{created['id']}/details").raise_for_status().json()["finished"]
    seconds = parse_time_ms(finished) / 1000 - began
    if report["status"] != "COMPLETED":
        raise WrongResult(f"{request.report_type}: {report}")
    file = folder / f"{request.report_type}.csv"
    with file.open("wb") as written, httpx.stream("GET", report["tempDownloadURL"], timeout=60) as answer:
        for chunk in answer.iter_bytes():
            written.write(chunk)
    client.delete(address).raise_for_status()
    return seconds, file


def _bare(store: ReadableStore, request: ReportRequest, file: Path) -> Query:
    """The engine's own CSV of the same rows, in the same order, to a file."""
    rows = report_query(request, owners_of(request, load_catalog(store)))
    file_name = str(file).replace("'", "''")
    sql = f"SELECT * FROM ({rows.sql}) ORDER BY {ORDER} INTO OUTFILE '{file_name}' TRUNCATE FORMAT CSV"
    return Query(sql, rows.parameters)


def _timed_by_engine(engine_in: IO[str], engine_out: IO[str], query: Query) -> float:
    print(msgspec.json.encode(query).decode(), file=engine_in, flush=True)
    return float(engine_out.readline())


def _weighted_sum(store: ReadableStore, partner_report: Path) -> float:
    """Seconds of the same figure by window functions over events; it must be the report's."""
    began = time.perf_counter()
    rows = store.query(WEIGHTED_SUM, {"start": MONTH[0] * MICRODAYS_PER_DAY, "end": (MONTH[1] + 1) * MICRODAYS_PER_DAY})
    seconds = time.perf_counter() - began
    reported = {item: quantity for item, quantity in _totals(partner_report).items() if item != EXPRESS}
    if dict(rows) != reported:
        raise WrongResult(f"weighted sums {rows} are not the report's {reported}")
    return seconds


def _totals(file: Path) -> dict[str, int]:
    """Microdays by service, of a report."""
    totals: dict[str, int] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            quantity = int(Decimal(row["QUANTITY"]) * MICRODAYS_PER_DAY)
            totals[row["SERVICE_NAME"]] = totals.get(row["SERVICE_NAME"], 0) + quantity
    return totals


def _check_total(file: Path, store: ReadableStore) -> int:
    """How many rows a report has; WrongResult if it does not add up to what the days add up to."""
    days: dict[Any, Any] = dict(
        store.query(
            "SELECT item, sum(quantity_microdays) FROM daily_usage FINAL WHERE partner_id = {partner:String}"
            " AND day BETWEEN toDate32({first:Int32}) AND toDate32({last:Int32}) GROUP BY item",
            {"partner": PARTNER, "first": MONTH[0], "last": MONTH[1]},
        )
    )
    if _totals(file) != days:
        raise WrongResult(f"{file.stem} adds up to {_totals(file)}, the days to {days}")
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - 1


def show(results: Results, console: Console) -> None:
    """Print the table."""
    machine, size = results.machine, results.size
    console.print(
        f"{machine.processor}, {machine.cores} cores, Python {machine.python}, load {machine.load:.1f}, commit "
        f"{machine.commit}, {machine.at}\n{size.subscribers:,} subscribers of the partner, {size.others:,} of others",
        highlight=False,
    )
    table = Table(title="A month's report, create to COMPLETED over HTTP: seconds, median (least – most)")
    table.add_column("type")
    for title in (
        "rows",
        "create to COMPLETED",
        "engine's bare export",
        f"ratio (wanted: {_MOST_OF_BARE} at most)",
        "weighted sums per request",
        "ratio",
    ):
        table.add_column(title, justify="right")
    for name, timed in results.reports.items():
        ours, bare = Measured.of(timed.create_to_completed), Measured.of(timed.bare_export)
        weighted = Measured.of(timed.weighted_sum)
        assert ours is not None
        assert bare is not None
        table.add_row(
            name,
            f"{timed.rows:,}",
            _spread(ours),
            _spread(bare),
            f"{ours.median / bare.median:.2f}",
            "" if weighted is None else _spread(weighted),
            "" if weighted is None else f"{weighted.median / ours.median:.1f} × ours",
        )
    console.print(table)
    console.print(
        f"largest memory of the process that serves the API and makes the reports: {results.peak_bytes / _MIB:.0f} MiB "
        f"(wanted: {_MOST_JOB_MIB} at most); of the engine: {results.engine_peak_bytes / _MIB:.0f} MiB",
        highlight=False,
    )


def _spread(measured: Measured) -> str:
    return f"{measured.median:.2f} ({measured.least:.2f} – {measured.most:.2f})"


if __name__ == "__main__":
    sys.exit(main())
