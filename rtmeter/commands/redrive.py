"""The command that sends dead letters again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from billing.dead_letters import Letter, LetterFilter, LetterState, find_whole_letters
from rtmeter import letter_options, options
from rtmeter.dry_run import dry_run, show_dry_run
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.letters_shown import wide_console
from rtmeter.lines import read_lines
from rtmeter.output import say
from rtmeter.redrive import Copy, Redriver, copy_of
from rtmeter.relational_store import dismissed_in
from schemas.dead_letters import DeadLetter
from schemas.instants import day_of_ms
from schemas.reasons import Refused
from sinks.store import ReadableStore, open_for_reading


def redrive(
    letter_ids: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Letters, topic/partition/offset. Or choose open ones by options.", metavar="[ID...]"),
    ] = None,
    corrected: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--with", help="Send this event in place of the letter's: one line of JSON; - for standard input."
        ),
    ] = None,
    reason: letter_options.ReasonOption = None,
    partner: letter_options.PartnerOption = None,
    customer: letter_options.CustomerOption = None,
    since: letter_options.Since = None,
    until: letter_options.Until = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Send nothing: show what would change.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also letters that are not open. What was metered before is a duplicate.")
    ] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    bootstrap_servers: options.BootstrapServers = None,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Send refused events again, as they are or corrected. What would be refused again is kept back and listed.

    Each copy keeps the link to its letter, which is closed when the copy is metered.

    Example: rtmeter dead-letters redrive package-assignments/3/1041 --with corrected.json --dry-run
    """
    origins = [letter_options.letter_origin(letter_id) for letter_id in dict.fromkeys(letter_ids or [])]
    wanted = letter_options.letter_filter(reason, partner, customer, since, until, only_open=not again)
    if bool(origins) == (wanted != LetterFilter(only_open=not again)):
        raise typer.BadParameter("name letters, or choose them by options, not both", param_hint="ID")
    if again and not origins:
        raise typer.BadParameter("is for letters that are named", param_hint="--again")
    if corrected is not None and len(origins) != 1:
        raise typer.BadParameter("a corrected event is for one letter", param_hint="--with")
    line = None if corrected is None else _one_line(corrected)
    installation = Installation(data_dir, bootstrap_servers, topic_prefix, clickhouse_dsn)
    dismissed = dismissed_in(installation, database_url)()
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    kept_back: list[str] = []
    try:
        found = (
            (letter_options.whole_letter(store, origin, dismissed) for origin in origins)
            if origins
            else find_whole_letters(store, wanted, dismissed)
        )
        copies = list(_copies(store, found, line, again, kept_back))
        if dry:
            now_ms = options.now_ms()
            foreseen = dry_run(store, installation.names, copies, now_ms, day_of_ms(now_ms) - 1)
            show_dry_run(foreseen, wide_console())
            _say_kept_back(kept_back)
            say(f"dry run: {len(copies)} copies, nothing was sent")
            raise typer.Exit(ExitCode.REFUSALS if kept_back or foreseen.refused else ExitCode.DONE)
    finally:
        store.close()
    if copies:
        with installation.kafka() as servers:
            for original, copy in Redriver(servers, installation.names).send(copies):
                say(f"{original}: sent as {copy}")
    _say_kept_back(kept_back)
    say(f"{len(copies)} copies sent, {len(kept_back)} letters kept back; a letter is closed when its copy is metered")
    raise typer.Exit(ExitCode.REFUSALS if kept_back else ExitCode.DONE)


def _copies(
    store: ReadableStore,
    found: Iterator[tuple[Letter, DeadLetter]],
    line: bytes | None,
    again: bool,
    kept_back: list[str],
) -> Iterator[Copy]:
    """The copies to send; why a letter gets none goes to `kept_back`."""
    for letter, whole in found:
        closed = None if again else letter_options.why_closed(store, letter)
        if closed is None and letter.state is LetterState.WAITING and not again:
            closed = "a copy was sent and is not judged yet; --again sends another, and the later one is a duplicate"
        if closed is not None:
            kept_back.append(f"{letter.origin}: {closed}")
            continue
        try:
            yield copy_of(whole, line, options.now_ms())
        except Refused as refused:
            kept_back.append(f"{letter.origin}: {refused.reason}: {refused.detail}")


def _say_kept_back(kept_back: list[str]) -> None:
    for why in kept_back:
        say(f"kept back: {why}")


def _one_line(file: Path) -> bytes:
    if str(file) != "-" and not file.is_file():
        raise typer.BadParameter(f"{file} is not a file", param_hint="--with")
    lines = [line.value for line in read_lines([file])]
    if len(lines) != 1:
        raise typer.BadParameter(f"one line is wanted, there are {len(lines)}", param_hint="--with")
    return lines[0]
