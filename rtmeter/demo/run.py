"""`rtmeter demo`, from the generated month to the chart.

1. Generate the month and write its lines to files.
2. Start the pipeline; send what arrives on time; wait until it is metered and stored.
3. Close the days of the month; send what arrives late, which restates them.
4. Write the reports, and hold them to what the core alone makes of the same lines.
5. Show it all. By then everything that was started has ended, as it has after an interruption at any point.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from billing.report import Owner, ReportRequest, ReportType, owners_of
from rtmeter.children import stop_requested
from rtmeter.demo.figures import DailyUsage, daily_usage, read_figures, row_versions
from rtmeter.demo.folder import demo_folder
from rtmeter.demo.month import DemoMonth, generate, last_complete_month
from rtmeter.demo.owners import TOP_PARTNERS
from rtmeter.demo.page import usage_page
from rtmeter.demo.phases import Phase, Phases
from rtmeter.demo.reports import differing, totals_of, write_reports
from rtmeter.demo.shown import Shown
from rtmeter.demo.terminal import show
from rtmeter.emit import Emitter
from rtmeter.installation import Installation
from rtmeter.kafka_jars import KafkaUnavailable
from rtmeter.lines import FileLine
from rtmeter.options import now_ms
from rtmeter.output import say
from rtmeter.progress import Progress
from rtmeter.up import Pipeline, running
from sinks.catalog import load_catalog
from sinks.store import ReadableStore, open_for_reading
from streams.close_day import close_days
from streams.core.catalog import CatalogState

_DONE: Final = 0
_FAILED: Final = 3
_SEED: Final = 20261001
_PARTITIONS: Final = 12
#: After so many lines the sender shows how far it is, and looks whether it shall stop.
_LINES_PER_LOOK: Final = 200


class Interrupted(Exception):
    """Asked to stop: leave, and end what was started on the way out."""


def run_demo(data_dir: Path, subscribers: int, workers: int, fresh: bool) -> int:
    """Run the demo in `data_dir`; its exit code: 0, or 3 when it was interrupted or a report differs.

    FolderNotOurs if the folder must not be touched; with `fresh` an earlier demo there is removed.
    """
    stop = stop_requested()
    _forget_other_installations()
    started = time.monotonic()
    with demo_folder(data_dir, fresh) as folder:
        month = generate(_SEED, subscribers, last_complete_month(datetime.now(UTC).date()))
        _write_lines(folder / "catalog.jsonl", month.catalog_lines)
        _write_lines(folder / "events.jsonl", month.event_lines)
        try:
            with Phases() as phases:
                shown = _Demo(folder, month, stop, phases).run(workers, started)
        except Interrupted:
            say("rtmeter: interrupted; everything that the demo started has ended")
            return _FAILED
        show(shown, month.description)
    return _DONE if not shown.differing and shown.all_accounted_for else _FAILED


def _forget_other_installations() -> None:
    """The demo's processes inherit the environment; settings of a real installation must not reach them.

    The sink would fill the ClickHouse server that RTMETER_CLICKHOUSE_DSN names.
    """
    for name in [name for name in os.environ if name.startswith("RTMETER_")]:
        del os.environ[name]


class _Demo:
    """One run over one month."""

    def __init__(self, folder: Path, month: DemoMonth, stop: threading.Event, phases: Phases) -> None:
        self._folder = folder
        self._month = month
        self._about = month.description
        self._stop = stop
        self._phases = phases

    def run(self, workers: int, started: float) -> Shown:
        """Start everything, meter the month, end everything. Interrupted when asked to stop."""
        phases, about = self._phases, self._about
        with contextlib.ExitStack() as parts:
            with phases.phase("start Kafka, workers and store"):
                installation = Installation(self._folder, None, "")
                pipeline = parts.enter_context(
                    running(installation, workers, partitions=_PARTITIONS, close_days=False, api=False, api_port=None)
                )
                servers = installation.reachable_kafka()
                if servers is None:
                    raise KafkaUnavailable(f"the Kafka in {self._folder} does not answer any more")
                self._go_on()
            sent = time.monotonic()
            emitter = Emitter(servers, installation.names)
            with phases.phase("send the events that arrive on time") as phase:
                self._send(emitter, "catalog.jsonl", self._month.catalog_lines, phase)
                self._send(emitter, "events.jsonl", self._month.event_lines[: about.on_time_lines], phase)
            with phases.phase("meter and store them") as phase:
                self._drain(pipeline, phase)
            with phases.phase("close the days of the month") as phase:
                close_days(servers, installation.names, about.last_day, datetime.now(UTC))
                self._drain(pipeline, phase)
            store = parts.enter_context(contextlib.closing(open_for_reading(None, installation.store_folder)))
            catalog = load_catalog(store)
            first_closed, versions = self._daily(store, catalog), row_versions(store)
            with phases.phase("send the late events") as phase:
                self._send(emitter, "events.jsonl", self._month.event_lines[about.on_time_lines :], phase)
            with phases.phase("restate the days that they touch") as phase:
                self._drain(pipeline, phase)
            stored = time.monotonic()
            with phases.phase("write the reports"):
                reports = write_reports(store, self._folder / "reports", about.first_day, about.last_day)
                daily, restated = self._daily(store, catalog), row_versions(store)
                figures = read_figures(store)
            self._go_on()
            with phases.phase("compare them with the core's own"):
                lines = self._month.catalog_lines + self._month.event_lines
                unequal = differing(reports, lines, now_ms())
            with phases.phase("stop what was started"):
                parts.close()
        page = self._folder / "usage.html"
        page.write_text(usage_page(daily, first_closed, about.first_day, about.last_day), encoding="utf-8")
        return Shown(
            folder=self._folder,
            chart=page,
            events_sent=len(self._month.event_lines),
            figures=figures,
            first_closed=first_closed,
            daily=daily,
            restatements=sum(restated.values()) - sum(versions.values()),
            restated_days=sum(count > versions.get(day, 0) for day, count in restated.items()),
            totals=totals_of(reports),
            reports=reports,
            differing=unequal,
            seconds=stored - sent,
            all_seconds=time.monotonic() - started,
        )

    def _go_on(self) -> None:
        if self._stop.is_set():
            say("rtmeter: stopping ...")
            raise Interrupted

    def _send(self, emitter: Emitter, file: str, values: list[bytes], phase: Phase) -> None:
        """Raw, as a careless sender would: what is wrong with a line is the pipeline's business."""
        lines = [FileLine(file, number, value) for number, value in enumerate(values, start=1)]

        def advance(line: FileLine) -> None:
            if line.number % _LINES_PER_LOOK == 0:
                phase.show(line.number, len(lines))
                self._go_on()

        emitter.emit(lines, raw=True, now_ms=now_ms, advance=advance)
        self._go_on()

    def _drain(self, pipeline: Pipeline, phase: Phase) -> None:
        """Wait until everything is metered, stored and committed."""

        def show_progress(progress: Progress) -> None:
            ends = sum(progress.ends.values())
            phase.show(ends - progress.records_to_store, ends)

        if not pipeline.run(self._stop, drain=True, show=show_progress):
            self._go_on()

    def _daily(self, store: ReadableStore, catalog: CatalogState) -> DailyUsage:
        """The month's usage by day and service, as the PARTNER reports have it in sum."""
        owners: list[Owner] = []
        for partner in TOP_PARTNERS:
            request = ReportRequest(
                ReportType.PARTNER, partner.org_id, None, self._about.first_day, self._about.last_day
            )
            owners += owners_of(request, catalog)
        return daily_usage(store, owners, self._about.last_day)


def _write_lines(file: Path, lines: Iterable[bytes]) -> None:
    with file.open("wb") as output:
        for line in lines:
            output.write(line + b"\n")
