"""A month closed for all partners: run with progress until it is done or stopped, and the table of what became of each."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from billing.closing.close import Books, CloseOrder
from billing.closing.close_all import Ending, Outcome, close_all, plan_all
from billing.closing.money import amount_text, minor_units
from billing.report import csv_line, safe_text
from rtmeter.exit_codes import ExitCode
from rtmeter.letters_shown import wide_console
from rtmeter.output import progress_bar, say, write_result
from schemas.instants import day_text


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Row(Struct, frozen=True, rename="camel"):
    """One partner's end, without the lines of its invoice: a run keeps only these. `totals`: by currency, as texts."""

    partner_org_id: str
    ending: Ending
    number: int | None = None
    first_day: str = ""
    last_day: str = ""
    lines: int = 0
    corrections: int = 0
    totals: dict[str, str] = {}
    waiting: int = 0
    why: tuple[str, ...] = ()


class Ended(Struct, frozen=True):
    """A run. `not_reached`: partners that it was stopped before."""

    month: str
    rows: tuple[Row, ...]
    not_reached: int

    @property
    def exit_code(self) -> ExitCode:
        """DONE only if every partner's month is closed, or in a dry run can be."""
        endings = {row.ending for row in self.rows}
        if self.not_reached or Ending.FAILED in endings:
            return ExitCode.FAILED
        return ExitCode.REFUSALS if Ending.HELD_BACK in endings else ExitCode.DONE


def close_everybody(books: Books, order: CloseOrder, stop: threading.Event, *, dry_run: bool) -> Ended:
    """Close the month of every partner, or as many as there are before `stop` is set."""
    with progress_bar() as bar:
        task = bar.add_task(f"reading {order.month}", total=None)
        plan = plan_all(books, order.month)
        bar.update(task, total=plan.count, description=f"closing {order.month}")
        rows, counts = [], Counter[Ending]()
        for outcome in close_all(books, plan, order, stop.is_set, dry_run=dry_run):
            rows.append(_row(outcome))
            counts[outcome.ending] += 1
            bar.update(task, advance=1, description=f"closing {order.month}: {_counted(counts)}")
    not_reached = plan.count - len(rows)
    if not_reached:
        say(
            f"rtmeter: stopped: what is closed stays; {not_reached} partners are left: the same command goes on with them"
        )
    return Ended(order.month, tuple(sorted(rows, key=lambda row: row.partner_org_id)), not_reached)


def show_outcomes(ended: Ended, output_format: Format, output: Path | None) -> None:
    """What became of each partner, and how many of each there are."""
    if output_format is Format.JSON:
        shown = {"month": ended.month, "notReached": ended.not_reached, "partners": ended.rows}
        write_result([msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"], output)
    elif output_format is Format.CSV:
        write_result(_csv(ended.rows), output)
    else:
        console = wide_console()
        console.print(_table(ended))
    counts = _counted(Counter(row.ending for row in ended.rows))
    say(
        f"{ended.month}: {counts or 'no partner'}" + (f", {ended.not_reached} not reached" if ended.not_reached else "")
    )


def _row(outcome: Outcome) -> Row:
    invoice = outcome.invoice
    if invoice is None:
        return Row(outcome.partner_id, outcome.ending, why=outcome.why)
    manifest = invoice.manifest
    return Row(
        outcome.partner_id,
        outcome.ending,
        invoice.number,
        day_text(invoice.period.first_day),
        day_text(invoice.period.last_day),
        manifest.lines,
        manifest.corrections,
        manifest.totals,
        len(manifest.waiting),
        outcome.why,
    )


def _table(ended: Ended) -> Table:
    sums = _totals(ended.rows)
    table = Table(
        *["partner", "what became of it", "invoice", "period", "lines", "corrections", "total without taxes", "why"],
        title=f"{ended.month}, all partners",
        caption="  ".join(f"{amount} {currency}" for currency, amount in sums.items()) or None,
    )
    for row in ended.rows:
        waiting = f"{row.waiting} corrections wait for `rtmeter approve`" if row.waiting else ""
        cells = [
            row.partner_org_id,
            row.ending,
            "" if row.number is None else str(row.number),
            f"{row.first_day} to {row.last_day}" if row.number is not None else "",
            "" if row.number is None else str(row.lines),
            "" if row.number is None else str(row.corrections),
            ", ".join(f"{amount} {currency}" for currency, amount in row.totals.items()),
            "; ".join([*row.why, *([waiting] if waiting else [])]),
        ]
        table.add_row(*map(Text, cells))
    return table


def _totals(rows: Iterable[Row]) -> dict[str, str]:
    sums: dict[str, int] = {}
    for row in rows:
        for currency, amount in row.totals.items():
            sums[currency] = sums.get(currency, 0) + minor_units(amount, currency)
    return {currency: amount_text(amount, currency) for currency, amount in sorted(sums.items())}


def _csv(rows: Iterable[Row]) -> Iterator[bytes]:
    """One row for each partner and currency."""
    yield csv_line(
        [
            "PARTNER_ORG_ID",
            "ENDING",
            "INVOICE",
            "FIRST_DAY",
            "LAST_DAY",
            "LINES",
            "CORRECTIONS",
            "CURRENCY",
            "TOTAL",
            "WHY",
        ]
    ).encode()
    for row in rows:
        number = "" if row.number is None else row.number
        for currency, amount in row.totals.items() or [("", "")]:
            cells = [safe_text(row.partner_org_id), row.ending, number, row.first_day, row.last_day]
            cells += [row.lines, row.corrections, currency, amount, safe_text("; ".join(row.why))]
            yield csv_line(cells).encode()


def _counted(counts: Counter[Ending]) -> str:
    return ", ".join(f"{counts[ending]} {ending}" for ending in Ending if counts[ending])
