"""Commands for looking at dead letters, and for leaving them."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from billing.dead_letters import LetterState, count_letters, find_letters
from billing.dismissals import AlreadyDismissed, Dismissals
from billing.letter_chain import chain_of
from rtmeter import letter_options, options
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.letters_shown import letter_in_full, letter_json, letters_table, wide_console
from rtmeter.output import say
from rtmeter.relational_store import dismissed_in, open_relational
from sinks.store import open_for_reading


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def list_letters(
    reason: letter_options.ReasonOption = None,
    partner: letter_options.PartnerOption = None,
    customer: letter_options.CustomerOption = None,
    since: letter_options.Since = None,
    until: letter_options.Until = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    output_format: Annotated[Format, typer.Option("--format", help="A table, or an object a line.")] = Format.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 1000,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """List refused events: the open ones, which are missing in reports; with --all also those that were dealt with.

    Example: rtmeter dead-letters list --partner northwind --reason bad-field
    """
    wanted = letter_options.letter_filter(reason, partner, customer, since, until, only_open=not every)
    installation = Installation(data_dir, None, "", clickhouse_dsn)
    dismissed = dismissed_in(installation, database_url)()
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        letters = find_letters(store, wanted, dismissed, limit)
        if output_format is Format.JSON:
            for letter in letters:
                sys.stdout.buffer.write(letter_json(letter))
            sys.stdout.buffer.flush()
        else:
            wide_console().print(letters_table(letters))
        matching = count_letters(store, wanted, dismissed)
    finally:
        store.close()
    shown = min(matching, limit)
    say(f"{matching} dead letters" if shown == matching else f"{shown} of {matching} dead letters, see --limit")


def show(
    letter_id: Annotated[str, typer.Argument(help="The letter, topic/partition/offset.", metavar="ID")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes of its value as they came, and nothing else.")
    ] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Show everything about one letter: why it was refused, what to do, what became of it, and its bytes.

    Example: rtmeter dead-letters show package-assignments/3/1041
    """
    origin = letter_options.letter_origin(letter_id)
    installation = Installation(data_dir, None, "", clickhouse_dsn)
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        letter, whole = letter_options.whole_letter(store, origin, dismissed_in(installation, database_url)())
        if raw:
            sys.stdout.buffer.write(whole.value or b"")
            sys.stdout.buffer.flush()
            return
        dismissal = None
        if letter.state is LetterState.DISMISSED:
            dismissal = Dismissals(open_relational(installation, database_url)).of(origin)
        for line in letter_in_full(letter, whole, dismissal, chain_of(store, origin)):
            typer.echo(line)
    finally:
        store.close()


def dismiss(
    letter_ids: letter_options.Ids,
    reason: Annotated[str, typer.Option(help="Why nothing more is to be done.", metavar="TEXT")],
    by: Annotated[str, typer.Option(help="Who decided it.", metavar="WHO")],
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Leave letters for good: reports no longer say that they are missing. It is kept who decided it, and why.

    Example: rtmeter dead-letters dismiss package-assignments/3/1041 --reason "the sender sent it again" --by "billing desk"
    """
    if not reason.strip() or not by.strip():
        raise typer.BadParameter("says why, and who decided it", param_hint="--reason, --by")
    origins = [letter_options.letter_origin(letter_id) for letter_id in dict.fromkeys(letter_ids)]
    installation = Installation(data_dir, None, "", clickhouse_dsn)
    dismissals = Dismissals(open_relational(installation, database_url))
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    kept = 0
    try:
        for origin in origins:
            found = letter_options.found_letter(store, origin, dismissals.letters())
            refusal = "there is no such dead letter" if found is None else letter_options.why_closed(store, found[0])
            try:
                if refusal is None:
                    dismissals.dismiss(origin, reason, by, options.now_ms())
            except AlreadyDismissed as before:  # since we looked
                refusal = str(before)
            if refusal is not None:
                kept += 1
                say(f"{origin} is not dismissed: {refusal}")
    finally:
        store.close()
    say(f"{len(origins) - kept} dead letters dismissed")
    raise typer.Exit(ExitCode.REFUSALS if kept else ExitCode.DONE)
