"""The command that holds the tables to the raw events, and our licences to a list of somebody else's."""

import csv
import logging
import threading
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from billing.audit.against import ListDifference, differences, held_here, read_list, with_causes
from billing.audit.reconcile.check import Slice
from billing.audit.reconcile.record import ReconcileRun, ReconcileRuns
from billing.audit.reconcile.run import CHECKS, reconcile, scope_of
from billing.closing.period import Period, period_of
from billing.queries import PROGRESS
from rtmeter import options
from rtmeter.children import stop_requested
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.log_lines import LogFormat, log_to_stderr
from rtmeter.output import say
from rtmeter.relational_store import open_relational
from schemas.instants import day_of_ms, day_text, time_text
from sinks.catalog import load_catalog
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable, open_for_reading

logger = logging.getLogger(__name__)

_SHOWN_EXAMPLES = 5
#: A scheduled run looks at one slice of so many, so that everybody has a turn in a month.
_SLICES = 28


def reconcile_month(
    month: Annotated[str | None, typer.Option(help="The month, YYYY-MM. Default: last month.", metavar="MONTH")] = None,
    partner: Annotated[str | None, typer.Option(help="Only this partner and its sub-partners.", metavar="ORG")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only today's slice of so many of the customers.")] = None,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Go on for ever: a slice every so many hours, and once all of a month that is closed.",
            metavar="HOURS",
        ),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the last run, and do nothing.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="Compare with this list of who holds what (CSV) instead.", metavar="FILE")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="The time of that list, RFC 3339. Default: now.", metavar="TIME")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="With --against: write every difference to this CSV.", metavar="FILE")
    ] = None,
    database_url: options.DatabaseUrl = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    log_format: options.LogLines = LogFormat.AUTO,
) -> None:
    """Check that the tables say what the raw events say, and add up; exit code 1 if anything differs.

    With --against, compare what is held with a provisioning system's list: columns customerOrgId, subscriberId,
    package, and if it has them userId, locationId, since.

    Example: rtmeter reconcile --month 2026-10
    """  # fmt: skip
    installation = Installation(data_dir, None, topic_prefix, clickhouse_dsn)
    if against is not None:
        raise typer.Exit(_against(installation, against, partner, options.time_option(at, "--at"), output))
    runs = ReconcileRuns(open_relational(installation, database_url), options.now_ms)
    if last:
        run = runs.last()
        if run is None:
            say("rtmeter: nothing was reconciled yet")
            raise typer.Exit(ExitCode.REFUSALS)
        _show(run)
        raise typer.Exit(ExitCode.DONE if run.clean else ExitCode.REFUSALS)
    if every is not None:
        log_to_stderr(log_format)
        _keep_reconciling(installation, runs, every * 3600, stop_requested())
        return
    period = options.month_option(month) if month else _last_month()
    slice_ = None if sample is None else Slice(day_of_ms(options.now_ms()) % sample, sample)
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        run = _run(store, installation, runs, period, partner, slice_)
    finally:
        store.close()
    _show(run)
    raise typer.Exit(ExitCode.DONE if run.clean else ExitCode.REFUSALS)


def _run(
    store: ReadableStore,
    installation: Installation,
    runs: ReconcileRuns,
    period: Period,
    partner: str | None,
    slice_: Slice | None,
) -> ReconcileRun:
    started_ms = options.now_ms()
    org_ids = None if partner is None else (partner, *load_catalog(store).children_of(partner))
    scope = scope_of(store, installation.names, period.first_day, period.last_day, org_ids, slice_)
    console = Console(stderr=True)
    with console.status("reconciling") as status:
        found = reconcile(store, installation.names, scope, begin=lambda check: status.update(f"{check.proves} ..."))
    return runs.add(started_ms, found)


def _keep_reconciling(installation: Installation, runs: ReconcileRuns, seconds: float, stop: threading.Event) -> None:
    """A slice of the customers each time, and all of last month once it is closed; until asked to stop."""
    while not stop.is_set():
        period = _last_month()
        whole = runs.last(whole=True)
        try:
            store = open_for_reading(installation.store_dsn, installation.store_folder)
            try:
                # A month that is not closed yet would differ, be taken for done, and never have its turn again.
                closed = all(row[2] is not None and row[2] >= period.last_day for row in store.query(PROGRESS))
                all_of_it = closed and (whole is None or whole.scope.last_day < period.last_day)
                # By the clock, so that a restart does not begin again with the same customers.
                turn = int(options.now_ms() / 1000 / seconds)
                slice_ = None if all_of_it else Slice(turn % _SLICES, _SLICES)
                run = _run(store, installation, runs, period, None, slice_)
            finally:
                store.close()
        except (StoreFailed, StoreUnavailable, OSError) as failure:
            logger.error("the store does not answer, trying again: %s", failure)
            stop.wait(min(seconds, 60))
            continue
        for result in run.results:
            if result.findings:
                logger.warning(
                    "%s: %d findings, such as %s",
                    result.name,
                    result.findings,
                    result.examples[:1],
                    extra={"check": result.name, "findings": result.findings},
                )
        logger.log(logging.INFO if run.clean else logging.ERROR, "reconciled: %s", "clean" if run.clean else "DIFFERS")
        stop.wait(seconds)


def _against(installation: Installation, file: Path, partner: str | None, at_ms: int, output: Path | None) -> ExitCode:
    if partner is None:
        raise typer.BadParameter("whose list is it?", param_hint="--partner")
    store = open_for_reading(installation.store_dsn, installation.store_folder)
    try:
        orgs = [partner, *load_catalog(store).children_of(partner)]
        with file.open(newline="", encoding="utf-8-sig") as lines:
            found = differences(read_list(lines), held_here(store, orgs, at_ms))
        explained = list(with_causes(found, store, installation.names, orgs, at_ms))
    finally:
        store.close()
    if output is not None:
        with output.open("w", newline="") as written:
            writer = csv.writer(written)
            writer.writerow(ListDifference.__struct_fields__)
            writer.writerows([getattr(one, name) for name in ListDifference.__struct_fields__] for one in explained)
    table = Table("what", "likely cause", "how many", "such as", title=f"at {time_text(at_ms)}")
    groups = Counter((one.what, one.cause) for one in explained)
    for (what, cause), count in groups.most_common():
        example = next(one for one in explained if (one.what, one.cause) == (what, cause))
        shown = (
            f"{example.customer_id}/{example.subscriber_id}: theirs {example.theirs or '-'}, ours {example.ours or '-'}"
        )
        table.add_row(what, cause, str(count), f"{shown} {example.detail}".strip())
    Console(highlight=False).print(table if explained else "no difference")
    return ExitCode.REFUSALS if explained else ExitCode.DONE


def _show(run: ReconcileRun) -> None:
    console = Console(highlight=False)
    proves = {check.name: check.proves for check in CHECKS}
    scope = run.scope
    of = "all orgs" if scope.org_ids is None else ", ".join(scope.org_ids)
    if scope.customers is not None:
        of += f", slice {scope.customers.number} of {scope.customers.count}"
    title = f"{day_text(scope.first_day)} to {day_text(scope.last_day)}, {of}"
    table = Table("check", "what holds", "looked at", "found", "passed over", title=title)
    for result in run.results:
        weight = f"{result.findings} {result.weight}{'s' if result.findings > 1 else ''}" if result.findings else "-"
        table.add_row(result.name, proves.get(result.name, ""), str(result.looked_at), weight, str(result.passed_over))
    console.print(table)
    for result in run.results:
        for finding in result.examples[:_SHOWN_EXAMPLES]:
            console.print(
                f"{result.name}: {finding.who}: expected {finding.expected}, found {finding.found}", markup=False
            )
    console.print("clean" if run.clean else "DIFFERENCES were found: see docs/reconcile.md")


def _last_month() -> Period:
    this_month = period_of(day_text(day_of_ms(options.now_ms()))[:7])
    return period_of(day_text(this_month.first_day - 1)[:7])
