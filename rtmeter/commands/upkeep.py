"""Commands that make stored things again, and that keep copies of them."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from rtmeter import options
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.output import say
from sinks.rebuild.run import Source

_STATE = "entitlements"


def migrate_stores(
    cluster: Annotated[
        str, typer.Option(envvar="RTMETER_CLICKHOUSE_CLUSTER", help="Create the tables on this cluster.")
    ] = "",
    database_url: options.DatabaseUrl = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Bring the tables of both stores up to date, and end. Whoever opens a store does it too: this is for one-shot jobs.

    Example: rtmeter migrate --clickhouse-dsn http://ch-1:8123/rtmeter --database-url postgresql+psycopg://pg-1/rtmeter
    """
    from rtmeter.relational_store import open_relational
    from sinks.migrations import Placement, migrate
    from sinks.store import open_store

    installation = Installation(data_dir, None, "", clickhouse_dsn)
    with open_store(installation.store_dsn, installation.store_folder) as store:
        applied = migrate(store, Placement(cluster))
    say(f"store: {', '.join(applied) or 'was up to date'}")
    open_relational(installation, database_url).dispose()
    say("relational store: up to date")


def rebuild(
    tables: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Tables of the store; or `entitlements`, the topic.", metavar="TABLE...", show_default=False
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every table that follows from the raw events.")] = False,
    source: Annotated[
        Optional[Source],  # noqa: UP045
        typer.Option("--from", help="Default: the raw events; for raw_events itself, the topics."),
    ] = None,
    switch: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--switch/--no-switch", help="Put the rebuilt tables in place. Default: ask, if there is a terminal."
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the tables not in use, as TABLE__rebuilt or (switched) TABLE__replaced."),
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Switch even if rows go that the topics do not hold any more.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="entitlements: delete the topic with what it holds, and write it anew.")
    ] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
) -> None:
    """Make tables again beside the old ones, show what differs, and switch if asked. Stop `rtmeter up` or the sinks first.

    Exit code 1: there are differences, and they are still there. `rtmeter rebuild entitlements` writes the state of the
    workers again, from the raw events, when its topic was lost; stop the workers for it.

    Example: rtmeter rebuild daily_usage daily_usage_history --switch
    """
    from rtmeter.rebuild import rebuild_state, rebuild_tables

    installation = Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn)
    names = tables or []
    if names == [_STATE]:
        rebuild_state(installation, replace=replace)
        return
    differs = rebuild_tables(installation, _wanted(names, every, source), switch, keep=keep, accept_loss=accept_loss)
    raise typer.Exit(ExitCode.REFUSALS if differs else ExitCode.DONE)


def _wanted(names: list[str], every: bool, source: Source | None) -> dict[Source, list[str]]:
    """The tables by what they are made from; usage errors for what cannot be."""
    from sinks.rebuild.tables import FED_BY, FROM_RAW_EVENTS

    if every is bool(names):
        raise typer.BadParameter("name tables, or say --all", param_hint="TABLE...")
    if every:
        names = list(FROM_RAW_EVENTS)
    unknown = sorted(set(names) - set(FED_BY))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(FED_BY)}", param_hint="TABLE...")
    if source is Source.RAW_EVENTS and "raw_events" in names:
        raise typer.BadParameter("raw_events is made from the topics only", param_hint="--from")
    wanted: dict[Source, list[str]] = {}
    for name in names:
        wanted.setdefault(source or (Source.RAW_EVENTS if name in FROM_RAW_EVENTS else Source.TOPICS), []).append(name)
    # The raw events first: the others follow from them.
    return dict(sorted(wanted.items(), reverse=True))


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.", metavar="FOLDER")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="The keys of tokens and links too: whoever has them can sign.")
    ] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
) -> None:
    """Copy the embedded store, the register of reports and the report files to a folder, also while `rtmeter up` runs.

    A server's store and a PostgreSQL have backups of their own. Kafka is not in it.

    Example: rtmeter backup /backups/2026-11-01
    """
    from rtmeter.backup import back_up

    back_up(Installation(data_dir, None, ""), folder, with_keys=with_keys)


def restore(
    folder: Annotated[Path, typer.Argument(help="What `rtmeter backup` made.", metavar="FOLDER")],
    replace: Annotated[bool, typer.Option("--replace", help="In the place of what is in the data folder.")] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
) -> None:
    """Put a backup into the data folder, checked file by file. `rtmeter up` then stores what came after it.

    Example: rtmeter restore /backups/2026-11-01 --replace
    """
    from rtmeter.backup import restore as put_back

    put_back(Installation(data_dir, None, ""), folder, replace=replace)
