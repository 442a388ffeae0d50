"""Stacked columns, one a day, as SVG. It says in words what it shows, and each part says its number."""

from collections.abc import Sequence
from html import escape
from typing import Final

from msgspec import Struct

from schemas.instants import day_text
from streams.core.grid import MICRODAYS_PER_DAY

#: (on light, on dark), in the order of the series; the last is for the others. Neighbours differ in lightness too, and
#: each stands out from the page by 3 : 1.
SERIES_COLOURS: Final = (
    ("#1f6fd0", "#4a92e6"),
    ("#10805a", "#1ba87a"),
    ("#b27300", "#cf8d10"),
    ("#005a00", "#5fae4a"),
    ("#4a3aa7", "#9a90ec"),
    ("#cf3c3b", "#ea7070"),
    ("#74726a", "#918f87"),
)
MOST_SERIES: Final = len(SERIES_COLOURS) - 1
OTHERS: Final = "others"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 44
_WEEKDAYS: Final = "MTWTFSS"
#: What a day number needs in width, and a month with its day.
_NUMBER_WIDTH, _DATE_WIDTH = 22, 48
_LABEL_STEPS: Final = (1, 2, 5, 7, 14, 28, 56, 112)


class Series(Struct, frozen=True):
    """One service over the days of the chart, in microdays."""

    name: str
    quantities: list[int]


class Size(Struct, frozen=True):
    """Width and height of the drawing, in its own units: text is 12 of them high."""

    width: int
    height: int


WIDE: Final = Size(960, 420)


def largest_first(series: Sequence[Series]) -> list[Series]:
    """The largest services, largest first, and the rest as one."""
    ordered = sorted(series, key=lambda one: (-sum(one.quantities), one.name))
    if len(ordered) <= MOST_SERIES + 1:
        return ordered
    rest = [sum(column) for column in zip(*(one.quantities for one in ordered[MOST_SERIES:]), strict=True)]
    return [*ordered[:MOST_SERIES], Series(OTHERS, rest)]


def stacked_columns(
    title: str,
    series: Sequence[Series],
    days: range,
    before: Sequence[int] = (),
    size: Size = WIDE,
    name: str = "chart",
) -> str:
    """The drawing. `before`: totals that a dashed line shows; quantities in microdays. `name`: its ids begin so."""
    totals = [sum(column) for column in zip(*(one.quantities for one in series), strict=True)] or [0] * len(days)
    highest = max(*totals, *before, 1)
    step = _tick_step(highest // MICRODAYS_PER_DAY + 1)
    top = (highest // (step * MICRODAYS_PER_DAY) + 1) * step
    scale = _Scale(top * MICRODAYS_PER_DAY, len(days), size)
    parts = [*_grid(scale, top, step), *_columns(scale, series, days), *_day_labels(scale, days)]
    if before:
        line = " ".join(f"{scale.middle(place):.1f},{scale.height_of(value):.1f}" for place, value in enumerate(before))
        parts.append(f'<polyline class="before" points="{line}"/>')
    said = (
        f"Stacked columns, one for each of {len(days)} days. The total goes from {_whole(totals[0])} on the first day "
        f"to {_whole(totals[-1])} on the last; the largest service is {series[0].name if series else 'none'}. "
        "The table has all the numbers."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {size.height}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">\n<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-desc">{escape(said)}</desc>\n' + "\n".join(parts) + "\n</svg>"
    )


class _Scale:
    """Where days and quantities are in the drawing."""

    def __init__(self, top: int, days: int, size: Size) -> None:
        self._top = top
        self.size = size
        self.step = (size.width - _LEFT - _RIGHT) / days
        self.column_width = self.step * 0.78

    def middle(self, place: int) -> float:
        return _LEFT + (place + 0.5) * self.step

    def height_of(self, quantity: int) -> float:
        return self.size.height - _BOTTOM - quantity / self._top * (self.size.height - _TOP - _BOTTOM)


def _grid(scale: _Scale, top: int, step: int) -> list[str]:
    parts = []
    for tick in range(0, top + 1, step):
        y = scale.height_of(tick * MICRODAYS_PER_DAY)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{scale.size.width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
    return parts


def _columns(scale: _Scale, series: Sequence[Series], days: range) -> list[str]:
    parts = []
    for place, day in enumerate(days):
        left = scale.middle(place) - scale.column_width / 2
        under = 0
        for number, one in enumerate(series):
            quantity = one.quantities[place]
            if not quantity:
                continue
            bottom, top = scale.height_of(under), scale.height_of(under + quantity)
            under += quantity
            parts.append(
                f'<rect class="part s{number}" x="{left:.1f}" y="{top:.1f}" width="{scale.column_width:.1f}" '
                f'height="{bottom - top:.1f}"><title>{day_text(day)}, {escape(one.name)}: {_whole(quantity)}</title></rect>'
            )
    return parts


def _day_labels(scale: _Scale, days: range) -> list[str]:
    """The number of each day, and its weekday; of more than a month, or where there is no room, some of them."""
    of_one_month = day_text(days[0])[:7] == day_text(days[-1])[:7]
    needed = _NUMBER_WIDTH if of_one_month else _DATE_WIDTH
    every = next((step for step in _LABEL_STEPS if step * scale.step >= needed), _LABEL_STEPS[-1])
    parts = []
    for place, day in enumerate(days):
        if place % every:
            continue
        x, bottom = scale.middle(place), scale.size.height
        label = str(int(day_text(day)[8:])) if of_one_month else day_text(day)[5:]
        parts.append(f'<text x="{x:.1f}" y="{bottom - 26}" text-anchor="middle">{label}</text>')
        if every == 1:
            weekday = _WEEKDAYS[(day + 3) % 7]
            parts.append(f'<text x="{x:.1f}" y="{bottom - 10}" text-anchor="middle">{weekday}</text>')
    return parts


def _tick_step(top: int) -> int:
    """1, 2 or 5 times a power of ten, for four to ten lines."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if top <= 8 * step * factor:
                return step * factor
        step *= 10


def _whole(microdays: int) -> str:
    return f"{(microdays + MICRODAYS_PER_DAY // 2) // MICRODAYS_PER_DAY:,}"
