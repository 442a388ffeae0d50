"""Every ClickHouse question of the dashboards, of a month of one partner among five million subscribers: `python -m bench.dashboards.run`.

The store is that of `bench.reports`: a large partner of a fifth of all subscribers among fifty others, twelve months. Asked are all
panels and variables, for the large partner and for one of the others, as Grafana would ask them, through the process that has the store.
A month of one of the others, who has eighty thousand subscribers, must be answered within a second. The large partner, all partners together, and
a year, are asked too; they may take longer, and the table says how long.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.report import Machine, this_machine, write_results
from bench.reports.data import MONTH, PARTNER, RAW_EVENTS, Size
from bench.reports.run import _engine, _timed_by_engine
from billing.queries import Query
from dashboards.asking import ask_clickhouse, choices_of
from dashboards.every import ASKING
from dashboards.expansion import ALL, Selection
from dashboards.parts import Dashboard, Sql
from dashboards.usage import GROWTH, SO_FAR
from schemas.instants import MS_PER_DAY, day_text
from sinks.store import ReadableStore, open_for_reading
from streams.core.grid import MICRODAYS_PER_DAY

_RESULTS = Path(__file__).parents[1] / "results"
_MOST_SECONDS = 1.0
_OTHER = "partner-7"
#: Not of a month: a year of the partner.
_LONGER = {GROWTH.title}


class Asked(Struct, frozen=True):
    """One question for one choice. `counts`: whether it is of a month of one partner, and must be quick."""

    dashboard: str
    title: str
    of: str
    rows: int
    seconds: list[float]
    counts: bool


class Results(Struct, frozen=True):
    """All that was measured."""

    machine: Machine
    size: Size
    asked: list[Asked]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all answered, and all that must be quick were."""
    parser = argparse.ArgumentParser(prog="bench.dashboards.run", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="of the large partner")
    parser.add_argument("--others", type=int, default=4_000_000, help="subscribers of the fifty others")
    parser.add_argument("--runs", type=int, default=5, help="of each question")
    parser.add_argument("--short", action="store_true", help="small counts, one run: does it work")
    options = parser.parse_args(arguments)
    size = Size(2_000, 10_000) if options.short else Size(options.subscribers, options.others)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="rtmeter-bench-") as folder:
        console.print(f"making 12 months of {size.subscribers:,} subscribers among {size.others:,} others")
        with _engine(Path(folder), size) as (_, engine_in, engine_out):
            for sql in _MORE:
                _timed_by_engine(engine_in, engine_out, Query(sql, {}))
            store = open_for_reading(None, Path(folder) / "store")
            asked = _measure(store, 1 if options.short else options.runs, console)
            _must_agree(store)
    results = Results(this_machine(), size, asked)
    _show(results, Console(width=None if options.short else 150))
    path = _RESULTS / ("dashboards-short.json" if options.short else "dashboards.json")
    write_results(results, path)
    slow = [one for one in asked if one.counts and statistics.median(one.seconds) > _MOST_SECONDS]
    return 1 if slow and not options.short else 0


#: What the reports' store lacks: closed days, the history of the month, and an event of each subscriber.
_MORE = (
    f"INSERT INTO partition_progress VALUES (0, 1, toDate32({MONTH[1]}), 1, 0, 0, 1)",
    f"INSERT INTO daily_usage_history SELECT * FROM daily_usage WHERE day BETWEEN toDate32({MONTH[0]}) AND toDate32({MONTH[1]})",
    RAW_EVENTS,
)


def _measure(store: ReadableStore, runs: int, console: Console) -> list[Asked]:
    asked = []
    chosen = Selection(MONTH[0] * MS_PER_DAY, (MONTH[1] + 1) * MS_PER_DAY - 1)
    period = {"period": (day_text(MONTH[0])[:7],)}
    for dashboard in ASKING:
        if not dashboard.variables:
            continue
        several = any(variable.several for variable in dashboard.variables)
        for of, partner in ((PARTNER, _hex(PARTNER)), (_OTHER, _hex(_OTHER)), *((("all", ALL),) if several else ())):
            console.print(f"{dashboard.title}, {of}", highlight=False)
            one = choices_of(dashboard, store, chosen, {**period, "partner": (partner,)})
            asked += _dashboard(store, dashboard, one, of, runs)
    return asked


def _hex(org_id: str) -> str:
    return org_id.encode().hex().upper()


def _dashboard(store: ReadableStore, dashboard: Dashboard, chosen: Selection, of: str, runs: int) -> list[Asked]:
    questions = [(f"variable {one.name}", one.ask) for one in dashboard.variables]
    questions += [(panel.title, ask) for panel in dashboard.panels() for ask in panel.asks if isinstance(ask, Sql)]
    asked = []
    for title, ask in questions:
        answers = [ask_clickhouse(store, ask, chosen) for _ in range(runs)]
        counts = of == _OTHER and title not in _LONGER
        asked.append(Asked(dashboard.title, title, of, len(answers[0].rows), [one.seconds for one in answers], counts))
    return asked


def _must_agree(store: ReadableStore) -> None:
    """The month that Usage shows of the large partner is the sum of its days, to the microday."""
    (ask,) = SO_FAR.asks
    assert isinstance(ask, Sql)
    chosen = Selection(0, 0, {"period": (day_text(MONTH[0])[:7],), "partner": (_hex(PARTNER),), "service": (ALL,)})
    answer = ask_clickhouse(store, ask, chosen)
    shown = answer.rows[0][ask.columns.index("quantity")]
    rows = store.query(
        "SELECT sum(quantity_microdays) FROM daily_usage FINAL WHERE partner_id = {partner:String}"
        " AND day BETWEEN toDate32({first:Int32}) AND toDate32({last:Int32})",
        {"partner": PARTNER, "first": MONTH[0], "last": MONTH[1]},
    )
    if Decimal(shown) * MICRODAYS_PER_DAY != rows[0][0]:
        raise RuntimeError(f"Usage shows {shown}, and the days are {rows[0][0]} microdays")


def _show(results: Results, console: Console) -> None:
    machine, size = results.machine, results.size
    console.print(
        f"{machine.processor}, {machine.cores} cores, load {machine.load:.1f}, commit {machine.commit}, {machine.at}\n"
        f"{size.subscribers:,} subscribers of the large partner, {size.others:,} of fifty others",
        highlight=False,
    )
    table = Table(title="Questions of the dashboards: seconds, median (most)")
    for name in ("dashboard", "question", PARTNER, _OTHER, "all partners"):
        table.add_column(name)
    by_question: dict[tuple[str, str], dict[str, Asked]] = {}
    for one in results.asked:
        by_question.setdefault((one.dashboard, one.title), {})[one.of] = one
    for (dashboard, title), found in by_question.items():
        cells = [_cell(found.get(of)) for of in (PARTNER, _OTHER, "all")]
        table.add_row(dashboard.removeprefix("rtmeter: "), title, *cells)
    console.print(table)


def _cell(asked: Asked | None) -> str:
    if asked is None:
        return "-"
    median = statistics.median(asked.seconds)
    return f"{median:.2f} ({max(asked.seconds):.2f})" + (" !" if asked.counts and median > _MOST_SECONDS else "")


if __name__ == "__main__":
    raise SystemExit(main())
