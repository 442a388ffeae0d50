"""Draws a panel of each kind."""

# mypy: disable-error-code="no-untyped-call, arg-type"
# matplotlib.dates has no types, and those of plot know no times.
import math
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dashboards.asking import Answer
from dashboards.parts import Kind, Panel, PromQl
from dashboards.rendering.look import EDGE, FAINT, PANEL, TEXT, colour_by_value, colour_of, said, shown_of

_SMALL, _PLAIN, _LARGE = 7, 8, 16
_ROWS_SHOWN = 9

Series = dict[str, list[tuple[datetime, float]]]


def draw(axes: Axes, panel: Panel, answers: list[Answer], until_ms: int) -> None:
    """The inside of a panel, of what its questions were answered. `until_ms`: the end of the time shown."""
    axes.set_axisbelow(True)
    if panel.kind is Kind.TIMELINE:
        _timeline(axes, panel, answers, _time(until_ms / 1000))
    else:
        _DRAWS[panel.kind](axes, panel, answers)


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return datetime.fromtimestamp(float(value), UTC).replace(tzinfo=None)


def _legend(ask: PromQl, labels: Mapping[str, str]) -> str:
    name = ask.legend
    for label, value in labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return name


def series_of(panel: Panel, answers: list[Answer]) -> Series:
    """Name to points, of all questions of a panel."""
    found: Series = {}
    for ask, answer in zip(panel.asks, answers, strict=True):
        for row in answer.rows:
            if isinstance(ask, PromQl):
                name = _legend(ask, dict(zip(answer.columns[1:-1], row[1:-1], strict=True)))
                found.setdefault(name, []).append((_time(row[0]), float(row[-1])))
            else:
                texts = [str(value) for value in row[1:] if not _number(value)]
                numbers = [
                    (name, value) for name, value in zip(answer.columns[1:], row[1:], strict=True) if _number(value)
                ]
                for name, value in numbers:
                    found.setdefault(" ".join(texts) or name, []).append((_time(row[0]), float(value)))
    return dict(sorted(found.items()))


def _number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _plain(axes: Axes, panel: Panel) -> None:
    axes.grid(visible=True, axis="y", color=EDGE, linewidth=0.6)
    axes.tick_params(colors=FAINT, labelsize=_SMALL, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: said(f"{value:.6g}", panel.unit)))


def _named(axes: Axes, names: Collection[str]) -> None:
    if names:
        longest = max(map(len, names))
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.1), ncols=max(1, min(len(names), 92 // (longest + 5))), fontsize=_SMALL, frameon=False,
            labelcolor=TEXT, handlelength=1, columnspacing=1.2, borderaxespad=0,
        )  # fmt: skip


def _lines(axes: Axes, panel: Panel, answers: list[Answer]) -> None:
    series = series_of(panel, answers)
    _plain(axes, panel)
    times = sorted({time for points in series.values() for time, _ in points})
    colours = [colour_of(panel, name, place) for place, name in enumerate(series)]
    if panel.stacked and times:
        stacked = [[_at(dict(points), time) for time in times] for points in series.values()]
        axes.stackplot(np.array(times), stacked, labels=list(series), colors=colours, alpha=0.75)
    else:
        for (name, points), colour in zip(series.items(), colours, strict=True):
            axes.plot(
                [time for time, _ in points], [value for _, value in points], label=name, color=colour, linewidth=1.3
            )
    for step in panel.thresholds:
        if axes.get_ylim()[1] > step.value * 0.5:
            axes.axhline(step.value, color=step.colour, linestyle="--", linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    _named(axes, series)


def _at(points: Mapping[datetime, float], time: datetime) -> float:
    value = points.get(time, 0.0)
    return value if math.isfinite(value) else 0.0


def _bars(axes: Axes, panel: Panel, answers: list[Answer]) -> None:
    series = series_of(panel, answers)
    _plain(axes, panel)
    times = sorted({time for points in series.values() for time, _ in points})
    above, below = [0.0] * len(times), [0.0] * len(times)
    for place, (name, points) in enumerate(series.items()):
        values = [_at(dict(points), time) for time in times]
        base = [up if value >= 0 else down for value, up, down in zip(values, above, below, strict=True)]
        axes.bar(
            range(len(times)), values, 0.8, bottom=base, label=shown_of(panel, name).title or name,
            color=colour_of(panel, name, place), alpha=0.9,
        )  # fmt: skip
        above = [up + max(value, 0) for up, value in zip(above, values, strict=True)]
        below = [down + min(value, 0) for down, value in zip(below, values, strict=True)]
    if any(below):
        axes.axhline(0, color=FAINT, linewidth=0.8)
    step = max(1, len(times) // 8)
    axes.set_xticks(range(0, len(times), step), [f"{time:%Y-%m-%d}"[2:] for time in times[::step]])
    _named(axes, series)


def _stats(axes: Axes, panel: Panel, answers: list[Answer]) -> None:
    cells: list[tuple[str, str, str]] = []
    for ask, answer in zip(panel.asks, answers, strict=True):
        if isinstance(ask, PromQl):
            for row in answer.rows:
                name = _legend(ask, dict(zip(answer.columns[1:-1], row[1:-1], strict=True)))
                cells.append(_cell(panel, name, int(row[-1]) if row[-1] == int(row[-1]) else row[-1]))
        else:
            cells += [_cell(panel, name, value) for name, value in zip(answer.columns, answer.rows[0], strict=True)]
    axes.axis("off")
    for place, (name, value, colour) in enumerate(cells):
        x = (place + 0.5) / len(cells)
        size = min(_LARGE, 150 * panel.width / 24 * 6.2 / len(cells) / max(len(value), 4))
        axes.text(x, 0.62, value, color=colour, fontsize=size, ha="center", va="center", weight="bold")
        axes.text(x, 0.2, name, color=FAINT, fontsize=_SMALL, ha="center", va="center")


def _cell(panel: Panel, name: str, value: object) -> tuple[str, str, str]:
    shown = shown_of(panel, name)
    for wanted, words, colour in panel.values:
        if str(value) == wanted:
            return shown.title or name, words, colour
    colour = shown.colour or colour_by_value(panel, value)
    return shown.title or name, said(value, shown.unit or panel.unit) or panel.nothing or "-", colour


def _gauges(axes: Axes, panel: Panel, answers: list[Answer]) -> None:
    series = {name: points[-1][1] for name, points in series_of(panel, answers).items()}
    series = {name: value for name, value in series.items() if math.isfinite(value)}
    most = max([*series.values(), 1e-9])
    axes.set_xlim(0, 1)
    axes.set_ylim(len(series) - 0.4, -0.6)
    axes.axis("off")
    for place, (name, value) in enumerate(series.items()):
        colour = shown_of(panel, name).colour or panel.base_colour
        axes.text(0.0, place, name, color=TEXT, fontsize=_SMALL, va="center")
        axes.barh(place, 0.48, 0.62, left=0.36, color=EDGE)
        axes.barh(place, 0.48 * value / most, 0.62, left=0.36, color=colour)
        axes.text(
            0.86,
            place,
            said(round(value, 3 if panel.decimals is None else panel.decimals), panel.unit),
            color=TEXT,
            fontsize=_PLAIN,
            va="center",
        )


def _table(axes: Axes, panel: Panel, answers: list[Answer]) -> None:
    (answer,) = answers
    names = ["Value" if name == "value" else "Time" if name == "time" else name for name in answer.columns]
    kept = [place for place, name in enumerate(names) if not shown_of(panel, name).hidden]
    rows = [row for row in answer.rows if not isinstance(panel.asks[0], PromQl) or row[-1]][:_ROWS_SHOWN]
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(_ROWS_SHOWN + 0.6, -0.7)
    cells = [[said(row[place], shown_of(panel, names[place]).unit or panel.unit) for place in kept] for row in rows]
    heads = [shown_of(panel, names[place]).title or names[place] for place in kept]
    room = int(panel.width * 7.6)
    wide = [max([len(heads[at]), *(len(line[at]) for line in cells)]) + 2 for at in range(len(kept))]
    while sum(wide) > room and max(wide) > 12:
        wide[wide.index(max(wide))] -= 1
    begins = [sum(wide[:at]) / max(sum(wide), room * 0.6) for at in range(len(kept))]
    for at, begin in enumerate(begins):
        axes.text(begin, -0.1, heads[at], color="#6e9fff", fontsize=_SMALL, va="center")
        shown = shown_of(panel, names[kept[at]])
        numbers = [abs(float(row[kept[at]])) for row in rows] if shown.bar and rows else []
        for line, row in enumerate(cells):
            text = row[at] if len(row[at]) < wide[at] else row[at][: wide[at] - 2] + "…"
            if numbers:
                length = numbers[line] / max([*numbers, 1e-9]) * (wide[at] / sum(wide)) * 0.9
                axes.barh(line + 0.9, length, 0.7, left=begin, color=shown.colour or panel.base_colour, alpha=0.45)
            axes.text(begin, line + 0.9, text, color=TEXT, fontsize=_SMALL, va="center")
    axes.axhline(0.4, color=EDGE, linewidth=0.8)


def _timeline(axes: Axes, panel: Panel, answers: list[Answer], end: datetime) -> None:
    lanes: dict[str, list[tuple[datetime, str | None]]] = {}
    for time, lane, held in answers[0].rows:
        lanes.setdefault(lane, []).append((_time(time), held))
    services = sorted({held.partition(" at ")[0] for points in lanes.values() for _, held in points if held})
    for place, (_, points) in enumerate(sorted(lanes.items())):
        for (since, held), (until, _) in zip(points, [*points[1:], (end, None)], strict=True):
            if held:
                colour = colour_of(panel, held, services.index(held.partition(" at ")[0]))
                length = mdates.date2num(until) - mdates.date2num(since)
                axes.barh(place, length, 0.8, left=mdates.date2num(since), color=colour, edgecolor=PANEL)
    axes.set_yticks(
        range(len(lanes)), [lane if len(lane) < 30 else f"{lane[:8]}…{lane[36:]}" for lane in sorted(lanes)]
    )
    axes.tick_params(colors=FAINT, labelsize=_SMALL, length=0)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%m-%d"))
    for place, service in enumerate(services):
        axes.bar(0, 0, color=colour_of(panel, service, place), label=service)
    first = min(time for points in lanes.values() for time, _ in points)
    axes.set_xlim(mdates.date2num(first), mdates.date2num(end))
    _named(axes, services)


_DRAWS: dict[Kind, Callable[[Axes, Panel, list[Answer]], None]] = {
    Kind.STAT: _stats,
    Kind.TIME_SERIES: _lines,
    Kind.BARS: _bars,
    Kind.GAUGES: _gauges,
    Kind.TABLE: _table,
}
