"""Every panel's and every variable's question, asked of a pipeline that runs and a Prometheus that watches it.

Asked is what stands in the files that Grafana reads, expanded as Grafana's data sources do it.
"""

import csv
import io
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from billing.export import export_csv
from billing.report import ReportRequest, ReportType
from dashboards.__main__ import FOLDER
from dashboards.asking import Answer, Refused, ask_clickhouse, ask_prometheus, choices_of
from dashboards.every import ASKING
from dashboards.expansion import ALL, Selection
from dashboards.grafana import panels_of
from dashboards.observed import PROMETHEUS, SCRAPE_MS, Observed, observed_pipeline
from dashboards.parts import Dashboard, Panel, PromQl, Sql, Variable
from dashboards.usage import BY_PARTNER_AND_SERVICE, GROWTH_BY_SERVICE, MOVERS, SO_FAR
from rtmeter.demo.owners import OWNERS, TOP_PARTNERS
from schemas.instants import day_text
from sinks.store import StoreFailed
from tests.dashboards.checks import complaint_of, complaint_of_variable

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(
        PROMETHEUS is None, reason="prometheus is not installed, so no panel was tried: apt install prometheus"
    ),
]


def in_file(dashboard: Dashboard) -> Any:
    return json.loads((FOLDER / f"{dashboard.uid.removeprefix('rtmeter-')}.json").read_text(encoding="utf-8"))


def asked_in_file(dashboard: Dashboard, panel: Panel) -> list[Sql | PromQl]:
    """The panel's questions as Grafana reads them, with what is expected of the answers."""
    (found,) = [one for one in panels_of(in_file(dashboard)) if one["title"] == panel.title]
    asks: list[Sql | PromQl] = []
    for target, ask in zip(found["targets"], panel.asks, strict=True):
        if isinstance(ask, Sql):
            assert target["format"] == (0 if ask.series else 1)
            asks.append(Sql(sql=target["rawSql"], columns=ask.columns, series=ask.series))
        else:
            asks.append(PromQl(expr=target["expr"], labels=ask.labels, instant=target["instant"]))
    return asks


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with observed_pipeline(tmp_path_factory.mktemp("dashboards")) as running:
        yield running


def now_of(observed: Observed) -> Selection:
    """Pipeline looks at its own time, from the start of the pipeline on."""
    return Selection(observed.since_ms, int(time.time() * 1000), {}, scrape_ms=SCRAPE_MS)


def months_of(observed: Observed) -> Selection:
    """All of the demo's month, and what came since."""
    about = observed.month.description
    return Selection((about.first_day - 5) * 86_400_000, int(time.time() * 1000), {}, scrape_ms=SCRAPE_MS)


def asked(observed: Observed, ask: Sql | PromQl, chosen: Selection) -> Answer:
    if isinstance(ask, Sql):
        return ask_clickhouse(observed.store, ask, chosen)
    return ask_prometheus(observed.prometheus_url, ask, chosen)


def chosen_for(observed: Observed, dashboard: Dashboard, wanted: dict[str, tuple[str, ...]] | None = None) -> Selection:
    chosen = months_of(observed) if dashboard.variables else now_of(observed)
    month = day_text(observed.month.description.first_day)[:7]
    return choices_of(dashboard, observed.store, chosen, {"period": (month,), **(wanted or {})})


PANELS = [(dashboard, panel) for dashboard in ASKING for panel in dashboard.panels()]
NAMES = [f"{dashboard.uid}: {panel.title}" for dashboard, panel in PANELS]


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=NAMES)
def test_a_panel_has_rows_with_its_columns(observed: Observed, dashboard: Dashboard, panel: Panel) -> None:
    chosen = chosen_for(observed, dashboard)
    for ask in asked_in_file(dashboard, panel):
        assert complaint_of(ask, asked(observed, ask, chosen)) is None, panel.title


@pytest.mark.parametrize(
    ("dashboard", "panel"),
    [(dashboard, panel) for dashboard, panel in PANELS if any(one.several for one in dashboard.variables)],
    ids=lambda one: one.uid if isinstance(one, Dashboard) else one.title,
)
def test_a_panel_has_rows_for_one_partner_and_two_services(
    observed: Observed, dashboard: Dashboard, panel: Panel
) -> None:
    chosen = chosen_for(
        observed, dashboard, {"partner": (b"ternvale".hex(),), "service": ("WEBEX_CALLING", "WEBEX_SUITE")}
    )
    for ask in asked_in_file(dashboard, panel):
        assert complaint_of(ask, asked(observed, ask, chosen)) is None, panel.title


VARIABLES = [(dashboard, variable) for dashboard in ASKING for variable in dashboard.variables]


@pytest.mark.parametrize(("dashboard", "variable"), VARIABLES, ids=[f"{d.uid}: {v.name}" for d, v in VARIABLES])
def test_a_variable_offers_values(observed: Observed, dashboard: Dashboard, variable: Variable) -> None:
    (found,) = [one for one in in_file(dashboard)["templating"]["list"] if one["name"] == variable.name]
    ask = Sql(sql=found["query"]["rawSql"], columns=variable.ask.columns)
    answer = ask_clickhouse(observed.store, ask, chosen_for(observed, dashboard))
    assert complaint_of_variable(variable, answer) is None


def test_partners_are_offered_by_the_names_that_the_catalog_has(observed: Observed) -> None:
    (variable,) = [one for _, one in VARIABLES if one.name == "partner" and not one.several]
    answer = ask_clickhouse(observed.store, variable.ask, now_of(observed))
    offered = {bytes.fromhex(value).decode(): text for value, text in answer.rows}
    assert set(offered) == {owner.org_id for owner in OWNERS}
    assert offered["coastwise"] == "Harbourline Telecom, Inc. / Coastwise IT Services"


BREAKS = {
    "a column that is gone": ("daily_usage", "quantity_microdays", "quantity"),
    "a table that is gone": ("daily_usage", "daily_usage", "daily"),
    "a metric by another name": ("_total", "_total", "_sum_total"),
    "a label that is gone": ("by (job)", "by (job)", "by (jobs)"),
    "an answer by another name": (" AS service", " AS service", " AS item_name"),
    "a condition that nothing meets": ("day >= toDate32('${period:raw}-01')", "day >= toDate32('${period:raw}-01')", "day < toDate32('1970-01-02')"),
    "a variable that there is not": ("${customer:singlequote}", "${customer:singlequote}", "${customers:singlequote}"),
    "no order": ("ORDER BY time", "ORDER BY time", "ORDER BY rand() + 0 *"),
}  # fmt: skip


def broken(ask: Sql | PromQl, old: str, new: str) -> Sql | PromQl:
    if isinstance(ask, Sql):
        return Sql(sql=ask.sql.replace(old, new), columns=ask.columns, series=ask.series)
    return PromQl(expr=ask.expr.replace(old, new), labels=ask.labels, instant=ask.instant)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_question_is_caught(observed: Observed, name: str) -> None:
    where, old, new = BREAKS[name]
    text = {Sql: "sql", PromQl: "expr"}
    tried = 0
    for dashboard, panel in PANELS:
        for ask in panel.asks:
            if where not in getattr(ask, text[type(ask)]) or "or vector(0)" in getattr(ask, text[type(ask)]):
                continue
            tried += 1
            try:
                answer = asked(observed, broken(ask, old, new), chosen_for(observed, dashboard))
            except (StoreFailed, Refused, ValueError):
                continue
            assert complaint_of(ask, answer) is not None, panel.title
    assert tried, "nothing was broken"


@pytest.mark.parametrize("org_id", [None, *(owner.org_id for owner in OWNERS)])
def test_the_month_of_a_partner_is_that_of_its_report_to_the_microday(observed: Observed, org_id: str | None) -> None:
    (dashboard,) = [one for one in ASKING if SO_FAR in one.panels()]
    partner = ALL if org_id is None else org_id.encode().hex().upper()
    (ask,) = SO_FAR.asks
    answer = asked(observed, ask, chosen_for(observed, dashboard, {"partner": (partner,)}))
    quantity = Decimal(answer.rows[0][answer.columns.index("quantity")])
    about = observed.month.description
    requests = [
        ReportRequest(ReportType.PARTNER, owner.top_id, owner.org_id if owner.parent_id else None, about.first_day, about.last_day)
        for owner in (TOP_PARTNERS if org_id is None else OWNERS)
        if org_id in (None, owner.org_id)
    ]  # fmt: skip
    reported = sum(
        Decimal(row["QUANTITY"])
        for request in requests
        for row in csv.DictReader(io.StringIO(b"".join(export_csv(observed.store, request)).decode()))
    )
    assert quantity == reported > 0


def rows_of(observed: Observed, panel: Panel, wanted: dict[str, tuple[str, ...]] | None = None) -> list[dict[str, Any]]:
    """What a panel with one question of ClickHouse shows."""
    (dashboard,) = [one for one in ASKING if panel in one.panels()]
    (ask,) = panel.asks
    assert isinstance(ask, Sql)
    answer = asked(observed, ask, chosen_for(observed, dashboard, wanted))
    return [dict(zip(ask.columns, row, strict=True)) for row in answer.rows]


@pytest.mark.parametrize("partner", [ALL, b"harbourline".hex()])
def test_what_intervals_say_of_active_licences_is_what_days_say(observed: Observed, partner: str) -> None:
    wanted = {"partner": (partner,)}
    by_days = {
        (row["partner"], row["service"]): row["active_licences"]
        for row in rows_of(observed, BY_PARTNER_AND_SERVICE, wanted)
    }
    growth = rows_of(observed, GROWTH_BY_SERVICE, wanted)
    by_intervals = {(row["partner"], row["service"]): row["active_licences"] for row in growth}
    assert {key: count for key, count in by_intervals.items() if count} == {
        key: count for key, count in by_days.items() if count
    }
    assert any(by_days.values())
    month = day_text(observed.month.description.first_day)[:7]
    before = day_text(observed.month.description.first_day - 1)[:7]
    earlier = rows_of(observed, BY_PARTNER_AND_SERVICE, {**wanted, "period": (before,)})
    assert before != month
    assert {(row["partner"], row["service"]): row["before"] for row in growth if row["before"]} == {
        (row["partner"], row["service"]): row["active_licences"] for row in earlier if row["active_licences"]
    }


def test_movers_are_customers_whose_licences_changed_in_number(observed: Observed) -> None:
    moved = rows_of(observed, MOVERS)
    assert moved == sorted(moved, key=lambda row: -abs(row["change"]))
    assert all(row["change"] == row["active_licences"] - row["before"] != 0 for row in moved)


def test_a_month_that_is_over_is_projected_as_it_is_and_one_that_is_not_by_what_is_active(observed: Observed) -> None:
    (dashboard,) = [one for one in ASKING if SO_FAR in one.panels()]
    (ask,) = SO_FAR.asks
    over = dict(zip(ask.columns, asked(observed, ask, chosen_for(observed, dashboard)).rows[0], strict=True))
    assert over["projected_quantity"] == over["quantity"]
    (period,) = [one for one in dashboard.variables if one.name == "period"]
    newest = ask_clickhouse(observed.store, period.ask, now_of(observed)).rows[0][0]
    chosen = chosen_for(observed, dashboard, {"period": (newest,)})
    row = dict(zip(ask.columns, asked(observed, ask, chosen).rows[0], strict=True))
    days_left = Decimal(_days_in(newest) - int(row["closed_through"][8:]))
    assert Decimal(row["projected_quantity"]) == Decimal(row["quantity"]) + row["active_licences"] * days_left


def _days_in(period: str) -> int:
    import calendar

    return calendar.monthrange(int(period[:4]), int(period[5:]))[1]
