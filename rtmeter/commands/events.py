"""Commands that send facts to the pipeline."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rtmeter import options
from rtmeter.emit import Emitter
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.lines import read_lines
from rtmeter.output import list_refused, progress_bar, say
from schemas.instants import day_of_ms


def emit(
    files: options.Files,
    raw: Annotated[bool, typer.Option("--raw", help="Send every line's bytes as they are, unchecked.")] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
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
    raise typer.Exit(ExitCode.REFUSALS if emitted.refused else ExitCode.DONE)


def close_day(
    through: Annotated[str, typer.Option(help="The last day to close, YYYY-MM-DD; before today (UTC).", metavar="DAY")],
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
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
