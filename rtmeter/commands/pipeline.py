"""Commands that run the pipeline, whole or in parts, and say how far it is."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from rtmeter import options
from rtmeter.children import stop_requested
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.log_lines import LogFormat, log_to_stderr
from rtmeter.output import progress_bar, say


def up(
    workers: Annotated[int, typer.Option(min=1, help="Stream worker processes.")] = 1,
    drain: Annotated[
        bool, typer.Option("--drain", help="Stop when all input is metered, stored and committed.")
    ] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of topics that are not there yet.")] = 12,
    api_port: options.ApiPort = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
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
        if drained:
            pipeline.end_workers(stop)
    if drain and not drained:
        say("rtmeter: stopped before everything was drained; run it again to go on")
        raise typer.Exit(ExitCode.FAILED)
    say("drained: everything is metered, stored and committed" if drained else "stopped")


def topics_create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of topics that are not there yet.")] = 12,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
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


def worker(
    close_days: Annotated[bool, typer.Option(help="Close yesterday by itself, a quarter after midnight UTC.")] = True,
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = options.LOOPBACK,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    log_format: options.LogLines = LogFormat.AUTO,
) -> None:
    """Run one stream worker; several share the partitions.

    Example: rtmeter worker --bootstrap-servers kafka-1:9092
    """
    from streams.operator_port import OperatorAddress
    from streams.worker import Worker, WorkerSettings

    log_to_stderr(log_format)
    operator = OperatorAddress(metrics_port, metrics_host)
    servers = _running_kafka(Installation(data_dir, bootstrap_servers, topic_prefix))
    raise typer.Exit(Worker(WorkerSettings(servers, topic_prefix, close_days=close_days, operator=operator)).run())


def sink(
    cluster: Annotated[
        str, typer.Option(envvar="RTMETER_CLICKHOUSE_CLUSTER", help="Create the tables on this cluster.")
    ] = "",
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = options.LOOPBACK,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    log_format: options.LogLines = LogFormat.AUTO,
) -> None:
    """Run one sink: Kafka to the store. With the embedded store it also answers `report` and `status`.

    Example: rtmeter sink --bootstrap-servers kafka-1:9092 --clickhouse-dsn http://ch-1:8123/rtmeter
    """
    from rtmeter.sink_process import run_sink
    from streams.operator_port import OperatorAddress

    log_to_stderr(log_format)
    installation = Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn)
    run_sink(installation, _running_kafka(installation), cluster, OperatorAddress(metrics_port, metrics_host))


def status(
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Show per partition what came, what is metered and stored, and the last closed day; dead letters by reason.

    Example: rtmeter status
    """
    from rtmeter.status import show_status

    show_status(Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn), database_url)


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
