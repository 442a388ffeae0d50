"""Commands that close a month, hold a closed one to the raw events, and let corrections through."""

import contextlib
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from billing.closing.close import Books, CloseOrder, CloseRefused, Drafted
from billing.closing.corrections import DEFAULT_LIMIT_PERCENT, Correction
from billing.closing.gates import blocking
from billing.closing.invoices import Invoice
from billing.closing.period import Period
from billing.closing.recomputed import RawEventsMissing
from billing.closing.reconciliation import beside_reports
from billing.closing.verify import CannotVerify, verify_invoice
from rtmeter import options
from rtmeter.children import stop_requested
from rtmeter.closing_run import Format, close_everybody, show_outcomes
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.invoice_shown import beside_table, gates_table, invoice_csv, invoice_json, invoice_table, lines_table
from rtmeter.letters_shown import wide_console
from rtmeter.output import say, write_result
from rtmeter.relational_store import open_relational
from sinks.store import open_for_reading

Month = Annotated[str, typer.Option(help="The month, YYYY-MM.", metavar="MONTH")]
By = Annotated[str, typer.Option(help="Who does it; stands on record. Default: your login.", metavar="WHO")]
Limit = Annotated[
    int,
    typer.Option(
        envvar="RTMETER_CORRECTION_LIMIT_PERCENT",
        min=0,
        help="Corrections beyond so many per cent of their month's invoice wait for `rtmeter approve`.",
    ),
]


def close_month(
    month: Month,
    partner: Annotated[str | None, typer.Option(help="The partner's org id.", metavar="ORG")] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Every partner. Who is held back does not stop the others.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the invoice as it would be; make nothing.")] = False,
    accept_open: Annotated[
        str, typer.Option(help="Close although dead letters are open, for this reason. It is stored.", metavar="REASON")
    ] = "",
    accept_unpriced: Annotated[
        str,
        typer.Option(help="Close although something has no price, for this reason. It is stored.", metavar="REASON"),
    ] = "",
    prices_at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Prices as in force just before this time, RFC 3339. Default: the month's end.", metavar="TIME"
        ),
    ] = None,
    by: By = "",
    limit_percent: Limit = DEFAULT_LIMIT_PERCENT,
    output_format: Annotated[Format, typer.Option("--format", help="How the invoice is shown.")] = Format.TABLE,
    output: options.Output = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Close a partner's month: make its invoice, once and for good, with corrections of the months closed before.

    Closing it again shows the same invoice. Exit code 1: something stands in the way, and nothing was made. With --all,
    every partner's month is closed, by itself; 1: not all are closed; 3: stopped, or some failed: repeat the command.

    Example: rtmeter close-month --partner acme --month 2026-10
    """
    options.month_option(month)
    if (partner is None) != everybody:
        raise typer.BadParameter("name one, or --all", param_hint="--partner")
    order = CloseOrder(
        partner or "",
        month,
        by.strip() or getpass.getuser(),
        accept_open.strip(),
        accept_unpriced.strip(),
        None if prices_at is None else options.time_option(prices_at, "--prices-at"),
        limit_percent,
    )
    with _books(Installation(data_dir, None, topic_prefix, clickhouse_dsn), database_url) as books:
        if everybody:
            ended = close_everybody(books, order, stop_requested(), dry_run=dry_run)
            show_outcomes(ended, output_format, output)
            raise typer.Exit(ended.exit_code)
        if dry_run:
            drafted = books.draft(order)
            _say_gates(drafted)
            _show(drafted.invoice, output_format, output)
            raise typer.Exit(ExitCode.REFUSALS if blocking(drafted.gates) else ExitCode.DONE)
        try:
            invoice, made = books.close(order)
        except CloseRefused as refused:
            wide_console().print(gates_table(refused.gates))
            say(f"rtmeter: {refused}")
            raise typer.Exit(ExitCode.REFUSALS) from None
        say(f"invoice {invoice.number} of {partner} {'was made' if made else 'was made before: nothing changed'}")
        _show(invoice, output_format, output)
        if output_format is Format.TABLE:
            beside = beside_reports(books, invoice)
            wide_console().print(beside_table(beside, str(invoice.period)))
            if not all(row.agrees for row in beside):
                say(
                    "rtmeter: the report at the cut is not what was invoiced: ask `rtmeter verify-close` and `rtmeter reconcile`"
                )
                raise typer.Exit(ExitCode.REFUSALS)


def verify_close(
    partner: options.Partner,
    month: Annotated[Optional[str], typer.Option(help="Only this month, YYYY-MM.", metavar="MONTH")] = None,  # noqa: UP045
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Make a partner's invoices again from the raw events at their cuts; exit code 1 if a hash is not reproduced.

    Example: rtmeter verify-close --partner acme --month 2026-10
    """
    period = None if month is None else options.month_option(month)
    wrong = looked_at = 0
    with _books(Installation(data_dir, None, topic_prefix, clickhouse_dsn), database_url) as books:
        issued = books.invoices.of_partner(partner)
        for invoice in issued:
            if period is not None and invoice.period.month != period.month:
                continue
            looked_at += 1
            name = f"invoice {invoice.number}, {invoice.period}"
            try:
                verified = verify_invoice(books, issued, invoice.number)
            except (RawEventsMissing, CannotVerify) as error:
                wrong += 1
                say(f"{name}: CANNOT BE TOLD: {error}")
                continue
            if verified.holds:
                say(f"{name}: {len(invoice.lines)} lines, sha256 {invoice.sha256}: reproduced")
                continue
            wrong += 1
            what = (
                "its lines are not those that were hashed" if verified.stored != invoice.sha256 else verified.difference
            )
            say(f"{name}: DIFFERS: {what}")
    if not looked_at:
        say(f"rtmeter: {partner} has no such invoice")
    raise typer.Exit(ExitCode.REFUSALS if wrong or not looked_at else ExitCode.DONE)


def approve(
    partner: options.Partner,
    month: Annotated[str, typer.Option(help="The closed month that is corrected, YYYY-MM.", metavar="MONTH")],
    reason: Annotated[str, typer.Option(help="Why the correction is right.", metavar="TEXT")],
    by: Annotated[str, typer.Option(help="Who decided it.", metavar="WHO")],
    limit_percent: Limit = DEFAULT_LIMIT_PERCENT,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    topic_prefix: options.TopicPrefix = "",
    clickhouse_dsn: options.StoreDsn = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Let a correction that waits onto the next invoice, as it stands now. It is kept who decided it, and why.

    Example: rtmeter approve --partner acme --month 2026-10 --reason "papers of the 12th" --by "billing desk"
    """
    if not reason.strip() or not by.strip():
        raise typer.BadParameter("says why, and who decided it", param_hint="--reason, --by")
    period = options.month_option(month)
    with _books(Installation(data_dir, None, topic_prefix, clickhouse_dsn), database_url) as books:
        correction = _waiting(books, partner, period, limit_percent)
        if correction is None:
            say(f"rtmeter: no correction of {partner}, {month}, waits")
            raise typer.Exit(ExitCode.REFUSALS)
        books.invoices.approve(partner, correction.period, correction.lines, by, reason, options.now_ms())
    wide_console().print(lines_table(correction.lines, f"approved: correction of invoice {correction.number}"))
    say("it will stand on the next invoice")


def _waiting(books: Books, partner: str, period: Period, limit_percent: int) -> Correction | None:
    return next((one for one in books.waiting(partner, limit_percent) if one.period.month == period.month), None)


@contextlib.contextmanager
def _books(installation: Installation, database_url: str | None) -> Iterator[Books]:
    store = open_for_reading(installation.store_dsn, installation.store_folder)
    try:
        yield Books(store, open_relational(installation, database_url), installation.names, options.now_ms)
    finally:
        store.close()


def _say_gates(drafted: Drafted) -> None:
    if sys.stdout.isatty():
        wide_console().print(gates_table(drafted.gates))
    for gate in drafted.gates:
        if not gate.holds:
            say(f"rtmeter: {gate.name}: {gate.saw}" + (f" (accepted: {gate.accepted})" if gate.accepted else ""))


def _show(invoice: Invoice, output_format: Format, output: Path | None) -> None:
    if output_format is Format.JSON:
        write_result([invoice_json(invoice)], output)
    elif output_format is Format.CSV:
        write_result(invoice_csv(invoice), output)
    else:
        for table in invoice_table(invoice):
            wide_console().print(table)
    for waiting in invoice.manifest.waiting:
        amounts = ", ".join(f"{amount} {currency}" for currency, amount in waiting.amounts.items()) or "no amount"
        say(f"rtmeter: the correction of {waiting.period.month} ({amounts}) waits for `rtmeter approve`")
