"""Dashboards as the JSON that Grafana reads, by Grafana's own library of its models."""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from dashboards.colours import SERIES
from dashboards.parts import Dashboard, Kind, Panel, PromQl, Shown, Sql, Variable
from dashboards.runbooks import address

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="rtmeter-prometheus")
CLICKHOUSE = model.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="rtmeter-clickhouse")
#: As the ClickHouse data source counts its formats.
_SERIES, _TABLE = 0, 1
#: The version of the data source that the questions are written for.
_PLUGIN_VERSION = "4.0.0"


def as_json(dashboard: Dashboard) -> str:
    """The file that Grafana is provisioned with. The same text for the same dashboard."""
    made = json.loads(json.dumps(_dashboard(dashboard).build(), cls=JSONEncoder))
    for variable in made.get("templating", {}).get("list", []):
        del variable["id"]  # the library draws one at random
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _dashboard(dashboard: Dashboard) -> build.Dashboard:
    made = (
        build.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.tells)
        .tags(["rtmeter"])
        .timezone("utc")  # days are UTC (rule 13)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(dashboard.since or "now-30d", "now")
        .timepicker(build.TimePicker().hidden(not dashboard.since))
        .link(
            build.DashboardLink("rtmeter")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["rtmeter"])
            .as_dropdown(False)
            .include_vars(False)
            .keep_time(False)
        )
        .readonly()
    )
    if dashboard.refresh:
        made = made.refresh(dashboard.refresh)
    for variable in dashboard.variables:
        made = made.with_variable(_variable(variable))
    number = 0
    for row in dashboard.rows:
        if row.title:
            made = made.with_row(build.Row(row.title).id(1_000 + number))
        for panel in row.panels:
            number += 1
            made = made.with_panel(_panel(panel, number))
    return made


class ClickHouseQuery(Dataquery):
    """A question as the ClickHouse data source takes it; the library does not know that one."""

    def __init__(self, ask: Sql, reference: str) -> None:
        self._ask = ask
        self._reference = reference

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self._reference,
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": _SERIES if self._ask.series else _TABLE,
            "queryType": "timeseries" if self._ask.series else "table",
            "pluginVersion": _PLUGIN_VERSION,
            "rawSql": self._ask.sql.strip(),
        }


class _Made(Builder[Dataquery]):
    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def _target(ask: Sql | PromQl, place: int, kind: Kind) -> Builder[Dataquery]:
    reference = chr(ord("A") + place)
    if isinstance(ask, Sql):
        return _Made(ClickHouseQuery(ask, reference))
    query = prometheus.Dataquery().expr(ask.expr).ref_id(reference).datasource(PROMETHEUS)
    query = query.instant() if ask.instant else query.range()
    if ask.legend:
        query = query.legend_format(ask.legend)
    return query.format(PromQueryFormat.TABLE if kind is Kind.TABLE else PromQueryFormat.TIME_SERIES)


def _variable(variable: Variable) -> build.QueryVariable:
    made = (
        build.QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.tells)
        .datasource(CLICKHOUSE)
        .query({"refId": variable.name, "queryType": "sql", "editorType": "sql", "rawSql": variable.ask.sql.strip()})
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.DISABLED)
        .multi(variable.several)
        .include_all(variable.several)
    )
    if variable.several:
        made = made.current(model.VariableOption(True, ["All"], ["$__all"]))
    return made


def _panel(panel: Panel, number: int) -> Any:
    made = _KINDS[panel.kind](panel)
    made = (
        made.id(number)
        .title(panel.title)
        .description(panel.tells)
        .height(panel.height)
        .span(panel.width)
        .transparent(False)
    )
    if panel.alerts:
        made = made.links(
            [
                build.DashboardLink(f"Runbook: {stem}" if stem else "Runbooks")
                .type(model.DashboardLinkType.LINK)
                .url(address(stem))
                for stem in panel.alerts
            ]
        )
    if panel.kind is Kind.TEXT:
        return made
    sources = {PROMETHEUS.uid if isinstance(ask, PromQl) else CLICKHOUSE.uid for ask in panel.asks}
    assert len(sources) == 1, f"{panel.title}: one panel asks one data source"
    made = made.datasource(PROMETHEUS if isinstance(panel.asks[0], PromQl) else CLICKHOUSE)
    for place, ask in enumerate(panel.asks):
        made = made.with_target(_target(ask, place, panel.kind))
    made = made.unit(panel.unit).color_scheme(_colours(panel)).thresholds(_thresholds(panel))
    if panel.decimals is not None:
        made = made.decimals(panel.decimals)
    if panel.nothing:
        made = made.no_value(panel.nothing)
    if panel.values:
        made = made.mappings(
            [
                model.ValueMap(
                    {value: model.ValueMappingResult(words, colour, None, 0) for value, words, colour in panel.values}
                )
            ]
        )
    if panel.partition_by:
        made = made.with_transformation(
            model.DataTransformerConfig(
                id_val="partitionByValues",
                options={"fields": [panel.partition_by], "keepFields": False, "naming": {"asLabels": True}},
            )
        )
    for rank, colour in enumerate(SERIES, start=1):
        if panel.kind in _IN_RANKS:
            made = made.override_by_regexp(f"/^{rank} /", [_fixed(colour)])
    for shown in panel.shown:
        made = made.override_by_name(shown.name, _properties(shown, panel.kind))
    return made


#: Kinds whose series have a rank in their names (`questions.ranked`).
_IN_RANKS = (Kind.BARS,)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _properties(shown: Shown, kind: Kind) -> list[model.DynamicConfigValue]:
    found: list[model.DynamicConfigValue] = []
    if shown.title:
        found.append(model.DynamicConfigValue("displayName", shown.title))
    if shown.unit:
        found.append(model.DynamicConfigValue("unit", shown.unit))
    if shown.colour:
        found.append(_fixed(shown.colour))
    if shown.hidden:
        found.append(model.DynamicConfigValue("custom.hidden", value=True))
    if shown.bar and kind is Kind.TABLE:
        found.append(model.DynamicConfigValue("custom.cellOptions", {"type": "gauge", "mode": "basic"}))
    if shown.link:
        found.append(model.DynamicConfigValue("links", [{"title": shown.link_title, "url": shown.link}]))
    return found


def _colours(panel: Panel) -> build.FieldColor:
    by_value = bool(panel.thresholds or panel.values) and panel.kind in (Kind.STAT, Kind.GAUGES)
    if by_value:
        return build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)
    if panel.kind in (Kind.STAT, Kind.GAUGES):
        return build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(panel.base_colour)
    return build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def _thresholds(panel: Panel) -> build.ThresholdsConfig:
    steps = [model.Threshold(None, panel.base_colour)]
    steps += [model.Threshold(one.value, one.colour) for one in panel.thresholds]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/^(?!Time$).*/").values(False)


def _stat(panel: Panel) -> Any:
    return (
        stat.Panel()
        .reduce_options(_last())
        .color_mode(options.BigValueColorMode.VALUE)
        .graph_mode(options.BigValueGraphMode.NONE)
        .text_mode(options.BigValueTextMode.VALUE_AND_NAME)
    )


def _time_series(panel: Panel) -> Any:
    made = timeseries.Panel().legend(_legend()).line_width(2).fill_opacity(30 if panel.stacked else 8).min(0)
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if panel.thresholds:
        style = options.GraphThresholdsStyleConfig(options.GraphTresholdsStyleMode.DASHED)
        made = made.thresholds_style(_Style(style))
    return made


class _Style(Builder[options.GraphThresholdsStyleConfig]):
    def __init__(self, style: options.GraphThresholdsStyleConfig) -> None:
        self._style = style

    def build(self) -> options.GraphThresholdsStyleConfig:
        return self._style


def _bars(panel: Panel) -> Any:
    return (
        barchart.Panel()
        .legend(_legend())
        .stacking(options.StackingMode.NORMAL if panel.stacked else options.StackingMode.NONE)
        .show_value(options.VisibilityMode.NEVER)
        .fill_opacity(85)
        .x_tick_label_spacing(100)
    )


def _gauges(_: Panel) -> Any:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .min(0)
    )


def _table(_: Panel) -> Any:
    return table.Panel().show_header(True)


def _timeline(_: Panel) -> Any:
    return (
        statetimeline.Panel()
        .legend(_legend())
        .merge_values(False)
        .row_height(0.85)
        .fill_opacity(80)
        .show_value(options.VisibilityMode.AUTO)
    )


def _text(panel: Panel) -> Any:
    return text.Panel().mode(TextMode.MARKDOWN).content(panel.text)


_KINDS = {
    Kind.STAT: _stat,
    Kind.TIME_SERIES: _time_series,
    Kind.BARS: _bars,
    Kind.GAUGES: _gauges,
    Kind.TABLE: _table,
    Kind.TIMELINE: _timeline,
    Kind.TEXT: _text,
}


def panels_of(document: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The panels of a dashboard's JSON that ask something, in order."""
    return [panel for panel in document["panels"] if panel["type"] not in ("row", "text")]
