"""The demo's findings on the terminal: counts, totals, and the month as a chart. Standard output, as results are."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.report import quantity_text
from billing.stacked_columns import OTHERS, Series
from rtmeter.demo.month import Description
from rtmeter.demo.owners import OWNERS, TOP_PARTNERS
from rtmeter.demo.shown import Shown, chart_series, day_totals
from schemas.instants import day_text
from streams.core.grid import MICRODAYS_PER_DAY

_COLOURS = ("blue", "cyan", "yellow", "green", "magenta", "red")
_OTHERS_COLOUR = "bright_black"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: What stands beside the bar in a row of the chart: the day before it, numbers after it.
_BESIDE_BAR = 36


def show(shown: Shown, about: Description) -> None:
    """Print everything."""
    console = Console(highlight=False)
    console.print()
    console.print(_counts(shown, about))
    console.print(_totals(shown))
    _chart(console, shown, range(about.first_day, about.last_day + 1))
    _files(console, shown)


def _counts(shown: Shown, about: Description) -> Table:
    figures = shown.figures
    table = Table(
        title=f"{day_text(about.first_day)} to {day_text(about.last_day)}, metered on Kafka", show_header=False
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    subs = len(OWNERS) - len(TOP_PARTNERS)
    table.add_row("events sent", f"{shown.events_sent:,}", f"{about.late_facts:,} of them after their days were closed")
    table.add_row("metered", f"{figures.metered:,}", "")
    table.add_row("duplicates", f"{figures.duplicates:,}", "no effect, however they were written")
    table.add_row("refused", f"{figures.refused_events:,}", "kept as dead letters; none is lost")
    table.add_row("accounted for", "all" if shown.all_accounted_for else "NOT ALL", "metered + duplicates + refused")
    table.add_section()
    for reason, count in figures.refused.items():
        catalog = " (one of them a catalog entry)" if reason == "bad-field" and about.bad_catalog else ""
        table.add_row(f"  {reason}", f"{count:,}", f"dead letters{catalog}")
    table.add_section()
    table.add_row("partners", f"{len(TOP_PARTNERS)}", f"and {subs} sub-partners")
    table.add_row("customers", f"{figures.customers:,}", "")
    table.add_row("subscribers", f"{figures.subscribers:,}", "users and workspaces")
    table.add_row("intervals", f"{figures.intervals:,}", "of one service at one location")
    table.add_row("anomalies", f"{figures.anomalies:,}", "such as removals that found nothing")
    table.add_row("daily rows", f"{figures.daily_rows:,}", "customer, location, service and day")
    table.add_row(
        "restatements", f"{shown.restatements:,}", f"daily rows on {shown.restated_days} days, by late events"
    )
    table.add_section()
    rate = shown.events_sent / shown.seconds
    table.add_row(
        "seconds", f"{shown.seconds:.1f}", f"to meter and store, the workers' start included: {rate:,.0f} events/s"
    )
    table.add_row("", f"{shown.all_seconds:.1f}", "in all, with Kafka's start and end")
    return table


def _totals(shown: Shown) -> Table:
    # Narrow lines, so that every digit fits into 80 columns: the digits are what this is about.
    table = Table(title="quantity in days, as the PARTNER reports have it", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("service", no_wrap=True)
    for partner in TOP_PARTNERS:
        table.add_column(partner.org_id, justify="right")
    table.add_column("all", justify="right")
    for service, by_partner in sorted(shown.totals.items(), key=lambda entry: (-sum(entry[1].values()), entry[0])):
        cells = [quantity_text(by_partner[one.org_id]) if one.org_id in by_partner else "-" for one in TOP_PARTNERS]
        table.add_row(service, *cells, quantity_text(sum(by_partner.values())))
    return table


def _chart(console: Console, shown: Shown, days: range) -> None:
    series = chart_series(shown.daily, days)
    # Letters where there are no colours to tell the services apart.
    marks = _distinct_letters(series) if console.color_system is None else ["█"] * len(series)
    colours = [_OTHERS_COLOUR if one.name == OTHERS else _COLOURS[n % len(_COLOURS)] for n, one in enumerate(series)]
    totals = day_totals(shown.daily, days)
    before = day_totals(shown.first_closed, days)
    width = max(10, min(console.width, 140) - _BESIDE_BAR)
    largest = max(totals, default=0) or 1

    console.print()
    console.print(Text("licences in use, by day (in days; a licence held all day is 1)", style="italic"))
    console.print(
        Text("  ").join(
            Text.assemble((mark, colour), f" {one.name}") for mark, one, colour in zip(marks, series, colours)
        )
    )
    for place, day in enumerate(days):
        bar = Text(f"{_WEEKDAYS[(day + 3) % 7]} {day_text(day)[8:]} ")
        # Ends of the parts are rounded, not the parts, so that the bar is as long as its total.
        end_cells = cells = quantity = 0
        for one, mark, colour in zip(series, marks, colours):
            quantity += one.quantities[place]
            end_cells = round(quantity * width / largest)
            bar.append(mark * (end_cells - cells), style=colour)
            cells = end_cells
        bar.append(" " * (width - end_cells))
        bar.append(f" {_rounded(totals[place]):>9}")
        change = totals[place] - before[place]
        bar.append(f"  {_rounded(change, '+'):>8} late" if change else "", style="dim")
        console.print(bar, no_wrap=True, overflow="crop")


def _files(console: Console, shown: Shown) -> None:
    console.print()
    for one in shown.differing:
        console.print(f"{one.file} DIFFERS from what `rtmeter meter` makes of the same lines", style="bold red")
    if not shown.differing:
        console.print(
            f"All {len(shown.reports)} reports are byte for byte what `rtmeter meter` makes of the same lines."
        )
    for label, path in (
        ("reports", shown.folder / "reports"),
        ("chart", shown.chart),
        ("lines", shown.folder / "events.jsonl"),
    ):
        console.print(f"{label:>8}  {path}", soft_wrap=True)


def _distinct_letters(series: list[Series]) -> list[str]:
    """A letter for each: of its own name, if an earlier one has not taken it."""
    taken: list[str] = []
    for one in series:
        letters = [letter for letter in one.name if letter.isalpha() and letter not in taken]
        # The families' common first words tell nothing.
        own = [letter for letter in one.name.rpartition("_")[2] if letter in letters]
        taken.append((own or letters or ["?"])[0])
    return taken


def _rounded(microdays: int, sign: str = "") -> str:
    """Tenths of days, for the eye: integers divided, and only here."""
    tenths = (abs(microdays) * 10 + MICRODAYS_PER_DAY // 2) // MICRODAYS_PER_DAY
    return f"{'-' if microdays < 0 else sign}{tenths // 10:,}.{tenths % 10}"
