"""Commands about closed invoices, and about when a partner's periods begin."""

import getpass
import sys
from enum import StrEnum
from typing import Annotated

import typer

from billing.closing.first_days import FirstDays, PeriodClosed
from billing.closing.invoices import Invoice, Invoices
from billing.closing.schedule import scheduled_period
from rtmeter import options
from rtmeter.exit_codes import ExitCode
from rtmeter.installation import Installation
from rtmeter.invoice_page import invoice_html, invoice_pdf
from rtmeter.invoice_shown import invoice_csv, invoice_json, invoice_table
from rtmeter.letters_shown import wide_console
from rtmeter.output import say, write_result
from rtmeter.relational_store import open_relational
from schemas.instants import day_of_ms, day_text, time_text


class InvoiceFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"
    PDF = "pdf"


def invoice(
    partner: options.Partner,
    month: Annotated[
        str | None, typer.Option(help="The month in which its period begins, YYYY-MM.", metavar="MONTH")
    ] = None,
    number: Annotated[int | None, typer.Option(min=1, help="Or its number.")] = None,
    output_format: Annotated[
        InvoiceFormat, typer.Option("--format", help="html and pdf: a page to print.")
    ] = InvoiceFormat.TABLE,
    output: options.Output = None,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Show a closed invoice, from the register alone: the same bytes each time. Without a month, list the partner's.

    Example: rtmeter invoice --partner acme --month 2026-10 --format pdf --output acme-2026-10.pdf
    """
    if month is not None and number is not None:
        raise typer.BadParameter("name a month or a number", param_hint="--month, --number")
    if month is not None:
        options.month_option(month)
    register = Invoices(open_relational(Installation(data_dir, None, ""), database_url))
    issued = register.of_partner(partner)
    if month is None and number is None:
        for one in issued:
            totals = (
                ", ".join(f"{amount} {currency}" for currency, amount in one.manifest.totals.items()) or "no amount"
            )
            typer.echo(f"invoice {one.number}: {one.period}, {totals}, closed {time_text(one.closed_ms)}")
        if not issued:
            say(f"rtmeter: {partner} has no invoice")
        raise typer.Exit(ExitCode.DONE if issued else ExitCode.REFUSALS)
    found = next((one for one in issued if number == one.number or month == one.period.month), None)
    if found is None:
        say(f"rtmeter: {partner} has no such invoice; `rtmeter close-month` makes it")
        raise typer.Exit(ExitCode.REFUSALS)
    if output_format is InvoiceFormat.TABLE:
        for table in invoice_table(found):
            wide_console().print(table)
        return
    if output_format is InvoiceFormat.PDF and output is None and sys.stdout.isatty():
        raise typer.BadParameter("a PDF goes to a file", param_hint="--output")
    write_result(_written(register, found, output_format), output)


def period(
    partner: options.Partner,
    first_day: Annotated[
        int | None, typer.Option(min=1, max=28, help="Let periods begin on this day of the month.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="From the period on that begins in this month, YYYY-MM.", metavar="MONTH"),
    ] = None,
    by: Annotated[str, typer.Option(help="Who decides it; stands on record. Default: your login.", metavar="WHO")] = "",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Give a partner another first day of its billing period, or show what it has. No day is ever left out or double.

    The period before the change is longer or shorter than a month, and billed by its days. A closed period stays as it is.

    Example: rtmeter period --partner acme --first-day 15 --from 2027-01
    """
    if (first_day is None) != (since is None):
        raise typer.BadParameter("go together", param_hint="--first-day, --from")
    register = FirstDays(open_relational(Installation(data_dir, None, ""), database_url))
    if first_day is not None and since is not None:
        options.month_option(since)
        try:
            register.choose(partner, since, first_day, by.strip() or getpass.getuser(), options.now_ms())
        except PeriodClosed as error:
            say(f"rtmeter: {error}")
            raise typer.Exit(ExitCode.REFUSALS) from None
    choices = register.of_partner(partner)
    for choice in choices:
        decided = f"decided by {choice.decided_by}, {time_text(choice.decided_ms)}"
        typer.echo(f"from {choice.from_month} on: day {choice.first_day} ({decided})")
    around = since or day_text(day_of_ms(options.now_ms()))[:7]
    shown = scheduled_period(choices, around)
    before = scheduled_period(choices, day_text(shown.first_day - 28)[:7])
    for one in (before, shown) if before != shown else (shown,):
        typer.echo(f"the period {one.month}: {one}, {one.days} days")


def _written(register: Invoices, found: Invoice, output_format: InvoiceFormat) -> list[bytes]:
    if output_format is InvoiceFormat.JSON:
        return [invoice_json(found)]
    if output_format is InvoiceFormat.CSV:
        return list(invoice_csv(found))
    daily = register.daily(found.partner_id, found.number)
    return [(invoice_html if output_format is InvoiceFormat.HTML else invoice_pdf)(found, daily)]
