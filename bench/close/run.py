"""A month closed for all partners in one run, beside one scan of the same daily rows: `python -m bench.close.run`.

For each number of subscribers a store is made by the engine, and closed by what `rtmeter close-month --all` calls, in a process of its
own that has the store, as the limit is. Each invoice must be there, and together they must be the month's daily rows to the microday.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.close.sides import CLOSE, LIMIT, Side
from bench.close.store_made import PARTNERS, STEP
from bench.report import Machine, this_machine, write_results

_RESULTS = Path(__file__).parents[1] / "results"
_SIZES = (500_000, 1_000_000, 2_000_000, 5_000_000)
_SHORT_SIZES = (10 * STEP, 40 * STEP)
#: The users of the market (the guide); what is said of them is an estimate.
_MARKET = 35_000_000
_MIB, _GIB = 2**20, 2**30


class AtSize(Struct, frozen=True):
    """All runs of a size, each of them with the right outcome. `load`: processes that wanted a processor, when it was measured."""

    subscribers: int
    load: float
    closes: list[Side]
    limits: list[Side]

    def close(self, measure: str) -> float:
        """The median of one measure of the close."""
        return median(getattr(side, measure) for side in self.closes)

    def limit(self, measure: str) -> float:
        """The same of the limit."""
        return median(getattr(side, measure) for side in self.limits)


class Results(Struct, frozen=True):
    """All that was measured."""

    machine: Machine
    sizes: list[AtSize]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all were closed, with the right outcome."""
    parser = argparse.ArgumentParser(prog="bench.close.run", description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="+", default=_SIZES, help=f"multiples of {STEP}")
    parser.add_argument("--runs", type=int, default=3, help="of each size, in turns with the limit")
    parser.add_argument("--short", action="store_true", help="small counts, one run: does it work, is it correct")
    options = parser.parse_args(arguments)
    sizes = sorted(_SHORT_SIZES if options.short else options.subscribers)
    console = Console(stderr=True)
    machine, found = this_machine(), []
    for subscribers in sizes:
        with tempfile.TemporaryDirectory(prefix="rtmeter-bench-") as folder:
            console.print(f"making a month of {subscribers:,} subscribers of {PARTNERS} partners", highlight=False)
            try:
                found.append(_measure(Path(folder), subscribers, 1 if options.short else options.runs, console))
            except subprocess.CalledProcessError as failed:
                console.print(f"{failed}", style="red")
                return 1
    results = Results(machine, found)
    show(results, Console(width=None if sys.stdout.isatty() else 150))
    path = _RESULTS / ("close-short.json" if options.short else "close.json")
    write_results(results, path)
    console.print(f"written to {path}")
    return 0


def _measure(folder: Path, subscribers: int, runs: int, console: Console) -> AtSize:
    subprocess.run([sys.executable, "-m", "bench.close.store_made", str(folder), str(subscribers)], check=True)
    load = this_machine().load
    register, without_invoices = folder / "billing.db", folder / "without-invoices.db"
    shutil.copy(register, without_invoices)
    closes, limits = [], []
    for number in range(runs):
        console.print(f"run {number + 1} of {runs}", highlight=False)
        shutil.copy(without_invoices, register)
        closes.append(_side(folder, CLOSE))
        limits.append(_side(folder, LIMIT))
    return AtSize(subscribers, load, closes, limits)


def _side(folder: Path, which: str) -> Side:
    command = [sys.executable, "-m", "bench.close.sides", str(folder), which]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Side)


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    machine, sizes = results.machine, results.sizes
    console.print(
        f"{machine.processor}, {machine.cores} cores, load {machine.load:.1f} at the start, commit {machine.commit}, {machine.at}\n"
        f"{PARTNERS} partners, each with sub-partners, closed in one run; every partner has its invoice, and all of them "
        f"together are the month's daily rows, to the microday",
        highlight=False,
    )
    table = Table(title="A month closed for all partners (medians), and one scan of the same daily rows")
    table.add_column("")
    for one in sizes:
        table.add_column(f"{one.subscribers:,} subscribers", justify="right")
    if len(sizes) > 1:
        table.add_column("growth, the last two", justify="right")
        table.add_column(f"estimate for {_MARKET:,}", justify="right")
    _row(table, sizes, "close: seconds", [one.close("seconds") for one in sizes], "{:,.1f}")
    _row(table, sizes, "close: processor seconds", [one.close("cpu_seconds") for one in sizes], "{:,.1f}")
    peaks = [one.close("peak_bytes") / _MIB for one in sizes]
    _row(table, sizes, "close: peak MiB of process and engine", peaks, "{:,.0f}")
    bases = [one.close("base_bytes") / _MIB for one in sizes]
    table.add_row("  of it before the close began", *(f"{base:,.0f}" for base in bases))
    _row(table, sizes, "close: rows read, millions", [one.close("read_rows") / 1e6 for one in sizes], "{:,.1f}")
    _row(table, sizes, "close: GiB read, in memory", [one.close("read_bytes") / _GIB for one in sizes], "{:,.2f}")
    _row(table, sizes, "close: MiB read, of files", [one.close("file_bytes") / _MIB for one in sizes], "{:,.0f}")
    for what in sorted({what for one in sizes for side in one.closes for what in side.asked}):
        asked = [median(side.asked.get(what, 0.0) for side in one.closes) for one in sizes]
        table.add_row(f"  seconds: {what}", *(f"{seconds:,.1f}" for seconds in asked))
    table.add_section()
    _row(table, sizes, "limit: seconds", [one.limit("seconds") for one in sizes], "{:,.2f}")
    _row(table, sizes, "limit: processor seconds", [one.limit("cpu_seconds") for one in sizes], "{:,.2f}")
    _row(table, sizes, "limit: rows read, millions", [one.limit("read_rows") / 1e6 for one in sizes], "{:,.1f}")
    _row(table, sizes, "limit: GiB read, in memory", [one.limit("read_bytes") / _GIB for one in sizes], "{:,.2f}")
    table.add_section()
    for name, measure in (("seconds", "seconds"), ("processor seconds", "cpu_seconds"), ("bytes read", "read_bytes")):
        ratios = [one.close(measure) / one.limit(measure) for one in sizes]
        table.add_row(f"close / limit: {name}", *(f"{ratio:.1f} ×" for ratio in ratios))
    table.add_row("load of the machine", *(f"{one.load:.1f}" for one in sizes))
    console.print(table)
    console.print("the estimate goes on in a straight line from the two largest sizes; nothing was measured there")


def _row(table: Table, sizes: Sequence[AtSize], name: str, values: Sequence[float], form: str) -> None:
    cells = [form.format(value) for value in values]
    if len(sizes) > 1:
        growth = values[-1] / values[-2]
        counts = sizes[-1].subscribers / sizes[-2].subscribers
        cells += [f"{growth:.2f} × of {counts:.1f} ×", form.format(estimate(sizes, values, _MARKET))]
    table.add_row(name, *cells)


def estimate(sizes: Sequence[AtSize], values: Sequence[float], subscribers: int) -> float:
    """The value for so many subscribers, on the line through the two largest sizes."""
    (one, last), (before, value) = sizes[-2:], values[-2:]
    slope = (value - before) / (last.subscribers - one.subscribers)
    return value + slope * (subscribers - last.subscribers)


if __name__ == "__main__":
    sys.exit(main())
