"""docs/dashboards.md: what each panel tells, and what the dashboards look like."""

from pathlib import Path

from dashboards.every import ASKING
from dashboards.parts import Dashboard, Panel, PromQl

PAGE = Path(__file__).parents[1] / "docs" / "dashboards.md"
PICTURES = PAGE.parent / "pictures"

_HEAD = """# Dashboards

<!-- Written by `python -m dashboards` from the folder dashboards: change it there. -->

Four dashboards for Grafana, and the runbooks as a fifth, so that whoever sees trouble reads what to do in the same window. They are in
`deploy/grafana`, with their data sources: mount `provisioning` as Grafana's provisioning folder and `dashboards` as
`/etc/grafana/dashboards/rtmeter`, and give it the addresses by `RTMETER_GRAFANA_PROMETHEUS_URL`, `RTMETER_GRAFANA_CLICKHOUSE_HOST`,
`_PORT`, `_DATABASE`, `_USER` and `_PASSWORD`. [deploy/grafana](../deploy/grafana/README.md) has the details.

What an operator does who has never seen rtmeter: open *Pipeline*. The first row is green, or it names the alert; its runbook is a click away.

- Grafana needs a ClickHouse server: the embedded store answers only processes of its own machine and user.
- Scrape jobs are named `rtmeter-worker`, `rtmeter-sink`, `rtmeter-api`, `rtmeter-jobs`, as in the [alerts](runbooks/README.md).
- Days are UTC, and only closed ones are counted. What is counted is what reports hold: no internal customers, and nothing of before a
  sub-partner's billing start. A partner stands for itself and its sub-partners.
- Quantities are licence-days, divided exactly in the store; Grafana then shows a number of 15 digits. To invoice by, there are reports.
- Panels of ClickHouse have no time but a month: choose it at the top. *Customer* has a time; a click on a month sets it.

The pictures are **renderings**: drawn by a plotting library from the same questions, asked of the data of a demo's month. They are no
screenshots of Grafana, which arranges and draws things its own way.
"""


def page() -> str:
    """The page as the list of dashboards has it now."""
    return _HEAD + "".join(_section(one) for one in ASKING)


def picture_of(dashboard: Dashboard) -> Path:
    """Where the rendering of a dashboard is."""
    return PICTURES / f"{dashboard.uid}.png"


def _section(dashboard: Dashboard) -> str:
    name = dashboard.title.removeprefix("rtmeter: ")
    choices = ", ".join(f"*{variable.label}* ({variable.tells})" for variable in dashboard.variables)
    parts = [f"\n## {name}\n{dashboard.tells}\n"]
    if choices:
        parts.append(f"\nChoices: {choices}.\n")
    parts.append(f"\n![Rendering of the dashboard {name}, not a screenshot](pictures/{picture_of(dashboard).name})\n")
    for row in dashboard.rows:
        parts.append(f"\n### {row.title}\n\n| panel | what it tells | from | runbooks |\n|---|---|---|---|\n")
        parts += [_row(panel) for panel in row.panels]
    return "".join(parts)


def _row(panel: Panel) -> str:
    source = "Prometheus" if isinstance(panel.asks[0], PromQl) else "ClickHouse"
    runbooks = ", ".join(
        f"[{stem}](runbooks/{stem}.md)" if stem else "[all](runbooks/README.md)" for stem in panel.alerts
    )
    return f"| {panel.title} | {panel.tells} | {source} | {runbooks or '-'} |\n"
