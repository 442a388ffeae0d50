"""What a dashboard is made of. Nothing here knows Grafana's JSON: `dashboards.grafana` writes it."""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from dashboards.colours import BLUE


class Kind(StrEnum):
    """How a panel shows what it asks."""

    STAT = "stat"
    TIME_SERIES = "timeseries"
    BARS = "barchart"
    GAUGES = "bargauge"
    TABLE = "table"
    TIMELINE = "state-timeline"
    TEXT = "text"


class Sql(Struct, frozen=True, kw_only=True):
    """A question to ClickHouse. `columns`: the names of the answer, in order.

    `series`: the first column is a time, in order, and each text among the others makes series of the numbers.
    """

    sql: str
    columns: tuple[str, ...]
    series: bool = False


class PromQl(Struct, frozen=True, kw_only=True):
    """A question to Prometheus. `labels`: those that each series of the answer has, and no others. `legend`: its name.

    `instant`: only the value of now.
    """

    expr: str
    labels: tuple[str, ...] = ()
    legend: str = ""
    instant: bool = False


class Threshold(Struct, frozen=True):
    """From this value on the colour is another one."""

    value: float
    colour: str


class Shown(Struct, frozen=True, kw_only=True):
    """How one column or series is shown where its name alone does not say it. `link`: what a click on it opens."""

    name: str
    title: str = ""
    unit: str = ""
    colour: str = ""
    link: str = ""
    link_title: str = ""
    hidden: bool = False
    bar: bool = False


class Panel(Struct, frozen=True, kw_only=True):
    """One panel. `tells`: its description, what a reader learns from it. `unit`: as Grafana names units.

    `alerts`: stems of the runbooks for the alerts on what it shows. `values`: texts for numbers, with their colours.
    """

    title: str
    tells: str
    kind: Kind
    asks: tuple[Sql | PromQl, ...] = ()
    unit: str = "short"
    decimals: int | None = None
    width: int = 12
    height: int = 8
    stacked: bool = False
    base_colour: str = BLUE
    thresholds: tuple[Threshold, ...] = ()
    values: tuple[tuple[str, str, str], ...] = ()
    shown: tuple[Shown, ...] = ()
    alerts: tuple[str, ...] = ()
    text: str = ""
    most: float | None = None
    nothing: str = ""
    partition_by: str = ""


class Row(Struct, frozen=True):
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(Struct, frozen=True, kw_only=True):
    """A choice that a reader makes. Its question gives one column, or the value and the text that stands for it."""

    name: str
    label: str
    tells: str
    ask: Sql
    several: bool = False


class Dashboard(Struct, frozen=True, kw_only=True):
    """One dashboard. `since`: where its time begins, as Grafana writes it; '' where it has months and no time."""

    uid: str
    title: str
    tells: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    since: str = ""
    refresh: str = ""

    def panels(self) -> Iterator[Panel]:
        """All panels, in order."""
        for row in self.rows:
            yield from row.panels
