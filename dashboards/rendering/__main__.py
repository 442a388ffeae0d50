"""`python -m dashboards.rendering` draws docs/pictures: it runs a demo's month through a pipeline and asks what the panels ask.

It takes some minutes, and each picture is of the month before today's. Nothing compares pictures; look at them.
"""

import json
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
from PIL import Image

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from dashboards.asking import Answer, ask_clickhouse, ask_prometheus, choices_of
from dashboards.every import ASKING
from dashboards.expansion import Selection
from dashboards.grafana import as_json
from dashboards.observed import SCRAPE_MS, Observed, observed_pipeline
from dashboards.page import PICTURES, picture_of
from dashboards.parts import Dashboard, Kind, Panel, Sql
from dashboards.rendering.draw import draw
from dashboards.rendering.look import EDGE, FAINT, PAGE, PANEL, TEXT
from schemas.instants import MS_PER_DAY, day_text

_SUBSCRIBERS, _WATCH_SECONDS = 4_000, 60
_COLUMN_INCHES, _ROW_INCHES, _DOTS = 0.58, 0.42, 78
_COLOURS = 128
#: Of the demo's partner: a customer that went through much, and is small enough to be looked at.
_CUSTOMER = """
SELECT hex(customer_id) FROM timelines FINAL WHERE partner_id = 'harbourline'
GROUP BY customer_id HAVING uniqExact(subscriber_id) <= 12
ORDER BY sum(length(items)) / uniqExact(subscriber_id) DESC, customer_id LIMIT 1"""


def main() -> None:
    """Draw all of them."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rtmeter-pictures-") as folder,
        observed_pipeline(Path(folder), _SUBSCRIBERS, _WATCH_SECONDS) as observed,
    ):
        for dashboard in ASKING:
            _draw(dashboard, observed)


def _chosen(dashboard: Dashboard, observed: Observed) -> Selection:
    about = observed.month.description
    if not dashboard.variables:
        now = Selection(observed.since_ms, int(time.time() * 1000), {}, scrape_ms=SCRAPE_MS)
        return choices_of(dashboard, observed.store, now)
    month = Selection(about.first_day * MS_PER_DAY, (about.last_day + 1) * MS_PER_DAY - 1)
    wanted = {"period": (day_text(about.first_day)[:7],)}
    if any(variable.name == "customer" for variable in dashboard.variables):
        wanted |= {"partner": (b"harbourline".hex(),), "customer": (observed.store.query(_CUSTOMER)[0][0],)}
    return choices_of(dashboard, observed.store, month, wanted)


def _answers(panel: Panel, observed: Observed, chosen: Selection) -> list[Answer]:
    # A month's dashboard asks Prometheus how it is now.
    now = Selection(observed.since_ms, int(time.time() * 1000), {}, scrape_ms=SCRAPE_MS)
    return [
        ask_clickhouse(observed.store, ask, chosen)
        if isinstance(ask, Sql)
        else ask_prometheus(observed.prometheus_url, ask, now)
        for ask in panel.asks
    ]


def _draw(dashboard: Dashboard, observed: Observed) -> None:
    chosen = _chosen(dashboard, observed)
    made = json.loads(as_json(dashboard))["panels"]
    height = max(panel["gridPos"].get("y", 0) + panel["gridPos"]["h"] for panel in made) + 3
    figure = plt.figure(figsize=(24 * _COLUMN_INCHES, height * _ROW_INCHES), dpi=_DOTS, facecolor=PAGE)
    figure.text(0.008, 1 - 1.0 / height, dashboard.title, color=TEXT, fontsize=14, va="center", weight="bold")
    figure.text(
        0.992, 1 - 1.0 / height, "A rendering of a demo's month by a plotting library, not a screenshot of Grafana",
        color=FAINT, fontsize=8, va="center", ha="right",
    )  # fmt: skip
    choices = "   ".join(f"{variable.label}: {_told(chosen.values[variable.name])}" for variable in dashboard.variables)
    figure.text(0.008, 1 - 2.2 / height, choices, color=FAINT, fontsize=8, va="center")
    panels = {panel.title: panel for panel in dashboard.panels()}
    for one in made:
        place = one["gridPos"]
        left, top = place.get("x", 0) / 24, (place.get("y", 0) + 3) / height
        if one["type"] == "row":
            figure.text(left + 0.008, 1 - top - 0.5 / height, one["title"], color=TEXT, fontsize=9, va="center")
            continue
        wide, high = place["w"] / 24, place["h"] / height
        figure.add_artist(
            Rectangle(
                (left + 0.003, 1 - top - high + 0.12 / height), wide - 0.006, high - 0.24 / height,
                facecolor=PANEL, edgecolor=EDGE, linewidth=0.8, zorder=-1,
            )
        )  # fmt: skip
        figure.text(
            left + 0.01, 1 - top - 0.65 / height, one["title"], color=TEXT, fontsize=8.5, va="center", weight="bold"
        )
        panel = panels[one["title"]]
        box = _inside(panel, left, 1 - top - high, wide, high, height)
        axes = figure.add_axes(box, facecolor=PANEL)
        for spine in axes.spines.values():
            spine.set_visible(False)
        draw(axes, panel, _answers(panel, observed, chosen), chosen.to_ms)
    file = picture_of(dashboard)
    figure.savefig(file, facecolor=PAGE)
    plt.close(figure)
    Image.open(file).convert("RGB").quantize(_COLOURS).save(file, optimize=True)
    print(f"{file} {file.stat().st_size:,} bytes")


def _told(values: tuple[str, ...]) -> str:
    if values == ("$__all",):
        return "All"
    try:
        return ", ".join(bytes.fromhex(value).decode() for value in values)
    except ValueError:
        return ", ".join(values)


def _inside(
    panel: Panel, left: float, bottom: float, wide: float, high: float, height: int
) -> tuple[float, float, float, float]:
    """Where the drawing is within a panel: under its title, and with room for the numbers at its sides."""
    if panel.kind in (Kind.STAT, Kind.GAUGES, Kind.TABLE):
        return left + 0.012, bottom + 0.3 / height, wide - 0.024, high - 1.5 / height
    margin = 0.16 if panel.kind is Kind.TIMELINE else 0.045
    return left + margin, bottom + 2.0 / height, wide - margin - 0.015, high - 3.3 / height


if __name__ == "__main__":
    main()
