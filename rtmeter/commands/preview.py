"""The command that shows what events would change, before they are sent."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from billing.closing.first_days import FirstDays
from billing.closing.invoices import Invoices
from billing.foresight import Fate
from billing.preview import Calendar, ForeseenLines, Touched, foresee_lines, partner_of, touched_by
from rtmeter import options
from rtmeter.dry_run import signed_text
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.letters_shown import wide_console
from rtmeter.lines import read_lines
from rtmeter.output import say
from rtmeter.pointed_json import printable
from rtmeter.relational_store import open_relational
from schemas.instants import day_of_ms
from sinks.catalog import load_catalog
from sinks.store import open_for_reading

_SHOWN = 100


def preview(
    files: options.Files,
    shown: Annotated[
        int, typer.Option("--show", min=0, help="So many refused lines and customers are listed.")
    ] = _SHOWN,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Show what events would change in reports, in open and in closed months, without sending any.

    Exit code 1: some would be refused.

    Example: rtmeter preview corrections.jsonl
    """
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise typer.BadParameter(f"{file} is not a file", param_hint="FILE")
    installation = Installation(data_dir, None, topic_prefix, clickhouse_dsn)
    now_ms = options.now_ms()
    engine = open_relational(installation, database_url)
    store = open_for_reading(installation.store_dsn, installation.store_folder)
    try:
        lines = (line.value for line in read_lines(files))
        found = foresee_lines(store, installation.names, lines, now_ms, day_of_ms(now_ms) - 1)
        catalog = load_catalog(store)
    finally:
        store.close()
    partners = sorted({partner_of(catalog, account.partner_id) for account in found.accounts})
    calendar = Calendar(catalog, Invoices(engine).of_partners(partners), FirstDays(engine).of_partners(partners))
    _show(found, touched_by(found.accounts, calendar), shown)
    raise typer.Exit(ExitCode.REFUSALS if found.refused else ExitCode.DONE)


def _show(found: ForeseenLines, touched: list[Touched], shown: int) -> None:
    table = Table(
        *["partner", "period", "org", "service", "difference", "of it internal", "customers", "what it becomes"],
        title="usage that would change, through yesterday",
    )
    for row in touched:
        becomes = "a correction of invoice" if row.invoice is not None else "on the invoice of the period"
        cells = [printable(row.partner_id), str(row.period), printable(row.owner_id), row.service]
        cells += [signed_text(row.difference_microdays)]
        cells += [signed_text(row.internal_microdays) if row.internal_microdays else "", str(row.customers)]
        cells += [becomes if row.invoice is None else f"{becomes} {row.invoice}"]
        table.add_row(*map(Text, cells))
    console = wide_console()
    console.print(table if touched else "no usage through yesterday would change")
    described = [account for account in found.accounts if account.described]
    for account in described[:shown]:
        what = ", ".join(f"{name} {before!r} -> {after!r}" for name, (before, after) in account.described.items())
        console.print(
            f"{printable(account.partner_id)}/{printable(account.customer_id)}: {printable(what)}", markup=False
        )
    _say_more(len(described), shown)
    for refusal in found.refused[:shown]:
        say(f"line {refusal.line} would be refused: {refusal.reason}: {printable(refusal.detail)}")
    _say_more(len(found.refused), shown)
    if found.catalog_entries:
        say(
            f"rtmeter: note: {found.catalog_entries} catalog entries would be taken: names, prices and billing start dates "
            "that they change are not in this preview"
        )
    if found.day_closes:
        say(f"rtmeter: note: {found.day_closes} lines close days, in every partition")
    counts = ", ".join(f"{found.fates[fate]} {fate}" for fate in Fate if found.fates.get(fate))
    say(f"{counts or 'no lines'}; nothing was sent")


def _say_more(count: int, shown: int) -> None:
    if count > shown:
        say(f"... and {count - shown} more")
