"""The command line. Each command is thin: options in, one call, what happened on standard error, an exit code."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Optional

import typer
from confluent_kafka import KafkaException

from billing.api.scopes import Scope
from billing.export import export_csv, report_notes
from billing.meter import Metered
from billing.report import NotAChild
from rtmeter import options
from rtmeter.children import ChildFailed, stop_requested
from rtmeter.emit import Emitter
from rtmeter.installation import Installation
from rtmeter.kafka_jars import KafkaUnavailable
from rtmeter.lines import read_lines
from rtmeter.output import list_refused, progress_bar, say, write_result
from schemas.instants import day_of_ms
from sinks.store import StoreFailed, StoreUnavailable, open_for_reading
from streams.log import LogFailed
from streams.topics import TopicMismatch

DONE, REFUSALS, USAGE, FAILED = 0, 1, 2, 3
DEFAULT_DATA_DIR = Path("rtmeter-data")

app = typer.Typer(
    name="rtmeter",
    help="Usage metering for wholesale licences: Kafka events to exact billing reports.\n\n"
    "Exit codes: 0 done, 1 done with refusals, 2 usage, 3 failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
topics = typer.Typer(help="The Kafka topics.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(topics, name="topics")


def main() -> None:
    """Run a command; what stops it is one line on standard error, and the exit code."""
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else DONE)
    except typer.Exit as finished:
        sys.exit(finished.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        say("rtmeter: interrupted")
        sys.exit(FAILED)
    except typer._click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except NotAChild as error:
        say(f"rtmeter: {error}")
        sys.exit(USAGE)
    except (
        ChildFailed,
        KafkaUnavailable,
        LogFailed,
        StoreFailed,
        StoreUnavailable,
        TopicMismatch,
        ValueError,
        OSError,
    ) as error:
        say(f"rtmeter: {error}")
        sys.exit(FAILED)
    except KafkaException as error:
        say(f"rtmeter: Kafka: {error.args[0].str()}. Is it running, and is --bootstrap-servers right?")
        sys.exit(FAILED)
    except Exception:
        # A bug. Python's own exit code would be 1, which is taken: "done, with refusals".
        traceback.print_exc()
        sys.exit(FAILED)


@app.command()
def up(
    workers: Annotated[int, typer.Option(min=1, help="Stream worker processes.")] = 1,
    drain: Annotated[
        bool, typer.Option("--drain", help="Stop when all input is metered, stored and committed.")
    ] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of topics that are not there yet.")] = 12,
    api_port: options.ApiPort = None,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Run the embedded pipeline in the foreground: Kafka, topics, workers, sink, store and API.

    Started again on the same folder it goes on where it was. With --drain there is no API.

    Example: rtmeter up --workers 2 --data-dir ./rtmeter-data
    """
    from rtmeter.up import running

    stop = stop_requested()
    installation = Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn)
    with (
        running(
            installation,
            workers,
            partitions=partitions,
            close_days=not drain,
            api=not drain,
            api_port=api_port,
        ) as pipeline,
        progress_bar() as bar,
    ):
        say(f"running in {data_dir}, logs in {installation.log_folder}; " + ("draining" if drain else "Ctrl-C stops"))
        metered, stored = bar.add_task("metered"), bar.add_task("stored")
        told: list[str] = []

        def show(progress: "Progress") -> None:  # type: ignore[name-defined] # noqa: F821
            input_end = sum(part.input_end for part in progress.partitions)
            bar.update(metered, total=input_end, completed=input_end - progress.records_to_meter)
            all_ends = sum(progress.ends.values())
            bar.update(stored, total=all_ends, completed=all_ends - progress.records_to_store)
            if not drain and not told and (url := installation.running_api()) is not None:
                say(f"API on {url}/v1 (rtmeter token --org ...), documentation on {url}/docs")
                told.append(url)

        drained = pipeline.run(stop, drain=drain, show=show)
    if drain and not drained:
        say("rtmeter: stopped before everything was drained; run it again to go on")
        raise typer.Exit(FAILED)
    say("drained: everything is metered, stored and committed" if drained else "stopped")


@topics.command("create")
def topics_create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of topics that are not there yet.")] = 12,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Make the topics be there, and check those that are.

    Example: rtmeter topics create --bootstrap-servers kafka-1:9092 --replication-factor 3
    """
    from streams.topics import create_topics

    with Installation(data_dir, bootstrap_servers, topic_prefix).kafka(partitions) as servers:
        for state in create_topics(
            servers, prefix=topic_prefix, partitions=partitions, replication_factor=replication_factor
        ):
            say(f"{state.name}: {state.partitions} partitions, {'created' if state.created else 'was there'}")


@app.command()
def worker(
    close_days: Annotated[bool, typer.Option(help="Close yesterday by itself, a quarter after midnight UTC.")] = True,
    metrics_port: options.MetricsPort = 0,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Run one stream worker; several share the partitions.

    Example: rtmeter worker --bootstrap-servers kafka-1:9092
    """
    from streams.worker import Worker, WorkerSettings

    _log_to_stderr()
    servers = _running_kafka(Installation(data_dir, bootstrap_servers, topic_prefix))
    raise typer.Exit(
        Worker(WorkerSettings(servers, topic_prefix, close_days=close_days, metrics_port=metrics_port)).run()
    )


@app.command()
def sink(
    cluster: Annotated[
        str, typer.Option(envvar="RTMETER_CLICKHOUSE_CLUSTER", help="Create the tables on this cluster.")
    ] = "",
    metrics_port: options.MetricsPort = 0,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Run one sink: Kafka to the store. With the embedded store it also answers `report` and `status`.

    Example: rtmeter sink --bootstrap-servers kafka-1:9092 --clickhouse-dsn http://ch-1:8123/rtmeter
    """
    from rtmeter.sink_process import run_sink

    _log_to_stderr()
    installation = Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn)
    run_sink(installation, _running_kafka(installation), cluster, metrics_port)


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: options.ApiPort = None,
    jobs: Annotated[bool, typer.Option(help="Make reports in this process too.")] = True,
    database_url: options.DatabaseUrl = None,
    reports_url: options.ReportsUrl = None,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Serve the billing-report API under /v1, and the documentation of our extensions at /docs.

    Settings are environment variables RTMETER_API_...: see docs/api-settings.md. Without them it makes keys of its own.

    Example: rtmeter api --port 8080
    """
    from rtmeter.api_process import ReportPlaces, serve_api

    _log_to_stderr()
    installation = Installation(data_dir, None, "", clickhouse_dsn)
    serve_api(installation, ReportPlaces(database_url, reports_url), host, port, jobs=jobs)


@app.command("jobs")
def run_report_jobs(
    database_url: options.DatabaseUrl = None,
    reports_url: options.ReportsUrl = None,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Make the reports that were asked for over the API. Several share the work; `rtmeter api` does it too.

    Example: rtmeter jobs --clickhouse-dsn http://ch-1:8123/rtmeter --database-url postgresql+psycopg://pg-1/rtmeter
    """
    from rtmeter.api_process import ReportPlaces, run_jobs

    _log_to_stderr()
    run_jobs(Installation(data_dir, None, "", clickhouse_dsn), ReportPlaces(database_url, reports_url))


@app.command()
def token(
    org: Annotated[str, typer.Option(help="The org that the token speaks for.", metavar="ORG")],
    person: Annotated[str, typer.Option(help="Who asks; stands in the reports as createdBy.")] = "local",
    scope: Annotated[
        Optional[list[Scope]],  # noqa: UP045
        typer.Option(help="What it allows; may be given several times. Default: everything."),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, help="How long it is good for.")] = 12,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a bearer token for the API of this installation, signed with its own key.

    Example: rtmeter token --org acme --hours 1
    """
    from billing.api.tokens import mint_token

    typer.echo(
        mint_token(Installation(data_dir, None, "").keys_folder, org, person, scope or list(Scope), hours * 3600)
    )


@app.command()
def emit(
    files: options.Files,
    raw: Annotated[bool, typer.Option("--raw", help="Send every line's bytes as they are, unchecked.")] = False,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Send events of files to their topics. Lines that would be refused are kept back and listed.

    Example: rtmeter emit catalog.jsonl events.jsonl
    """
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise typer.BadParameter(f"{file} is not a file", param_hint="FILE")
    installation = Installation(data_dir, bootstrap_servers, topic_prefix)
    size = sum(file.stat().st_size for file in files if str(file) != "-")
    with installation.kafka() as servers, progress_bar() as bar:
        task = bar.add_task("bytes sent", total=size or None)
        emitted = Emitter(servers, installation.names).emit(
            read_lines(files),
            raw=raw,
            now_ms=options.now_ms,
            advance=lambda line: bar.update(task, advance=len(line.value) + 1),
        )
    list_refused(emitted.refused)
    say(f"{emitted.lines} lines: {emitted.records} records sent, {len(emitted.refused)} lines refused")
    raise typer.Exit(REFUSALS if emitted.refused else DONE)


@app.command("close-day")
def close_day(
    through: Annotated[str, typer.Option(help="The last day to close, YYYY-MM-DD; before today (UTC).", metavar="DAY")],
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Close every day up to one: its usage is aggregated, and later facts restate it.

    Example: rtmeter close-day --through 2026-10-31
    """
    from streams.close_day import close_days

    day = options.day_option(through, "--through")
    now = datetime.now(UTC)
    if day >= day_of_ms(options.now_ms()):
        raise typer.BadParameter(f"{through} is not over (UTC)", param_hint="--through")
    installation = Installation(data_dir, bootstrap_servers, topic_prefix)
    with installation.kafka() as servers:
        partitions = close_days(servers, installation.names, day, now)
    say(f"days through {through} closed in {partitions} partitions")


@app.command()
def report(
    report_type: options.Type,
    partner: options.Partner,
    start: options.Start,
    end: options.End,
    sub_partner: options.SubPartner = None,
    internal: options.Internal = False,
    output: options.Output = None,
    api: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="RTMETER_API", help="URL of the API to use, http://host:8080. Default: the data folder's."),
    ] = None,
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Write a billing report as CSV: through the API if one is running or given, else from the store; the same bytes.

    The API given is asked with the token in RTMETER_API_TOKEN.

    Example: rtmeter report --type CUSTOMER --partner acme --start 2026-10-01 --end 2026-10-31 --output october.csv
    """
    today = day_of_ms(options.now_ms())
    oldest = options.oldest_day(datetime.now(UTC).date())
    request = options.report_request(
        report_type, partner, sub_partner, start, end, internal, today=today, oldest=oldest
    )
    installation = Installation(data_dir, None, "", clickhouse_dsn)
    url = api or installation.running_api()
    if url is not None:
        from rtmeter.api_client import report_from_api

        write_result(report_from_api(url, installation, request), output)
        return
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        pieces = export_csv(store, request)
        for note in report_notes(store, request):
            say(f"rtmeter: note: {note}")
        write_result(pieces, output)
    finally:
        store.close()


@app.command()
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
    raise typer.Exit(REFUSALS if metered.refused else DONE)


@app.command()
def status(
    data_dir: options.DataDir = DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Show per partition what came, what is metered and stored, and the last closed day; dead letters by reason.

    Example: rtmeter status
    """
    from rtmeter.status import show_status

    show_status(Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn))


@app.command()
def demo(
    data_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep everything in this folder. Default: ./rtmeter-demo, made anew."),
    ] = None,
    subscribers: Annotated[int, typer.Option(min=50, help="About how many subscribers the month has.")] = 4000,
    workers: Annotated[int, typer.Option(min=1, help="Stream worker processes.")] = 2,
) -> None:
    """Meter a generated month on a real Kafka, and show what happened.

    Example: rtmeter demo --subscribers 20000
    """
    from rtmeter.demo.run import run_demo

    raise typer.Exit(run_demo(data_dir or Path("rtmeter-demo"), subscribers, workers, fresh=data_dir is None))


def _running_kafka(installation: Installation) -> str:
    servers = installation.reachable_kafka()
    if servers is None:
        raise typer.BadParameter(
            "no Kafka is given, and none runs in the data folder", param_hint="--bootstrap-servers"
        )
    return servers


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Faust's own start and stop lines say nothing about the metering.
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
