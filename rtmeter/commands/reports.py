"""Commands that make reports, and that serve them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Optional

import typer

from billing.api.scopes import Scope
from billing.as_known import known_at_time, report_as_known
from billing.closing.invoices import Cut, Invoices
from billing.export import export_csv, report_notes
from billing.meter import Metered
from billing.report import ReportRequest
from rtmeter import options
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.lines import read_lines
from rtmeter.log_lines import LogFormat, log_to_stderr
from rtmeter.output import list_refused, progress_bar, say, write_result
from rtmeter.relational_store import dismissed_in, open_relational
from schemas.instants import day_of_ms
from sinks.store import open_for_reading


def report(
    report_type: options.Type,
    partner: options.Partner,
    start: options.Start,
    end: options.End,
    sub_partner: options.SubPartner = None,
    internal: options.Internal = False,
    output: options.Output = None,
    as_known_at: Annotated[
        str | None,
        typer.Option(
            help="As it was known at a time (RFC 3339), or at the close of an invoice of the partner (its number).",
            metavar="TIME|INVOICE",
        ),
    ] = None,
    api: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="RTMETER_API", help="URL of the API to use, http://host:8080. Default: the data folder's."),
    ] = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    database_url: options.DatabaseUrl = None,
) -> None:
    """Write a billing report as CSV: through the API if one is running or given, else from the store; the same bytes.

    The API given is asked with the token in RTMETER_API_TOKEN. With --as-known-at the store is always asked itself, and
    the report is made again from the events: the same bytes each time.

    Example: rtmeter report --type CUSTOMER --partner acme --start 2026-10-01 --end 2026-10-31 --output october.csv
    """
    today = day_of_ms(options.now_ms())
    oldest = options.oldest_day(datetime.now(UTC).date())
    request = options.report_request(
        report_type, partner, sub_partner, start, end, internal, today=today, oldest=oldest
    )
    installation = Installation(data_dir, None, topic_prefix, clickhouse_dsn)
    if as_known_at is not None:
        _report_as_known(installation, request, as_known_at, database_url, output)
        return
    url = api or installation.running_api()
    if url is not None:
        from rtmeter.api_client import report_from_api

        write_result(report_from_api(url, installation, request), output)
        return
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        pieces = export_csv(store, request)
        for note in report_notes(store, request, dismissed_in(installation, database_url)()):
            say(f"rtmeter: note: {note}")
        write_result(pieces, output)
    finally:
        store.close()


def _report_as_known(
    installation: Installation, request: ReportRequest, known_at: str, database_url: str | None, output: Path | None
) -> None:
    cut: Cut | None = None
    time_ms = 0
    if known_at.isascii() and known_at.isdecimal():
        issued = Invoices(open_relational(installation, database_url)).of_partner(request.partner_id)
        cut = next((one.cut for one in issued if str(one.number) == known_at), None)
        if cut is None:
            raise typer.BadParameter(f"{request.partner_id} has no invoice {known_at}", param_hint="--as-known-at")
    else:
        time_ms = options.time_option(known_at, "--as-known-at")
        if time_ms > options.now_ms():
            raise typer.BadParameter("nobody knows yet what will be known then", param_hint="--as-known-at")
    store = open_for_reading(installation.store_dsn, installation.store_folder)
    try:
        if cut is None:
            known = known_at_time(store, installation.names, time_ms)
            cut = known.cut
            if known.open_partitions:
                say(
                    f"rtmeter: note: {len(known.open_partitions)} partitions have nothing later than {known_at} yet, such "
                    f"as {known.open_partitions[0]}: if something is still on its way to the store, it is missing"
                )
        write_result(report_as_known(store, installation.names, cut, request), output)
    finally:
        store.close()


def meter(
    files: options.Files,
    report_type: options.Type,
    partner: options.Partner,
    start: options.Start,
    end: options.End,
    sub_partner: options.SubPartner = None,
    internal: options.Internal = False,
    output: options.Output = None,
    received_at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Stands for the time at which all lines arrived, RFC 3339. Default: now.", metavar="TIME"),
    ] = None,
) -> None:
    """Write a billing report as CSV from files alone: the same core, no Kafka, no store.

    The lines are events and catalog entries, in any files, in order of arrival.

    Example: rtmeter meter catalog.jsonl events.jsonl --type PARTNER --partner acme --start 2026-10-01 --end 2026-10-31
    """
    received_at_ms = options.time_option(received_at, "--received-at")
    request = options.report_request(
        report_type, partner, sub_partner, start, end, internal, today=day_of_ms(received_at_ms), oldest=None
    )
    with progress_bar() as bar:
        task = bar.add_task("lines metered", total=None)
        lines = (line.value for line in bar.track(read_lines(files), task_id=task))
        metered = Metered(lines, received_at_ms)
    write_result(metered.report(request), output)
    list_refused(metered.refused)
    raise typer.Exit(ExitCode.REFUSALS if metered.refused else ExitCode.DONE)


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: options.ApiPort = None,
    jobs: Annotated[bool, typer.Option(help="Make reports in this process too.")] = True,
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = options.LOOPBACK,
    database_url: options.DatabaseUrl = None,
    reports_url: options.ReportsUrl = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    topic_prefix: options.TopicPrefix = "",
    log_format: options.LogLines = LogFormat.AUTO,
) -> None:
    """Serve the billing-report API under /v1, and the documentation of our extensions at /docs.

    Settings are environment variables RTMETER_API_...: see docs/api-settings.md. Without them it makes keys of its own.

    Example: rtmeter api --port 8080
    """
    from rtmeter.api_process import ReportPlaces, serve_api
    from streams.operator_port import OperatorAddress

    log_to_stderr(log_format)
    installation = Installation(data_dir, None, topic_prefix, clickhouse_dsn)
    operator = OperatorAddress(metrics_port, metrics_host)
    serve_api(installation, ReportPlaces(database_url, reports_url), host, port, operator, jobs=jobs)


def run_report_jobs(
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = options.LOOPBACK,
    database_url: options.DatabaseUrl = None,
    reports_url: options.ReportsUrl = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    log_format: options.LogLines = LogFormat.AUTO,
) -> None:
    """Make the reports that were asked for over the API. Several share the work; `rtmeter api` does it too.

    Example: rtmeter jobs --clickhouse-dsn http://ch-1:8123/rtmeter --database-url postgresql+psycopg://pg-1/rtmeter
    """
    from rtmeter.api_process import ReportPlaces, run_jobs
    from streams.operator_port import OperatorAddress

    log_to_stderr(log_format)
    places = ReportPlaces(database_url, reports_url)
    run_jobs(Installation(data_dir, None, "", clickhouse_dsn), places, OperatorAddress(metrics_port, metrics_host))


def token(
    org: Annotated[str, typer.Option(help="The org that the token speaks for.", metavar="ORG")],
    person: Annotated[str, typer.Option(help="Who asks; stands in the reports as createdBy.")] = "local",
    scope: Annotated[
        Optional[list[Scope]],  # noqa: UP045
        typer.Option(help="What it allows; may be given several times. Default: everything."),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, help="How long it is good for.")] = 12,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
) -> None:
    """Make a bearer token for the API of this installation, signed with its own key.

    Example: rtmeter token --org acme --hours 1
    """
    from billing.api.tokens import mint_token

    typer.echo(
        mint_token(Installation(data_dir, None, "").keys_folder, org, person, scope or list(Scope), hours * 3600)
    )
