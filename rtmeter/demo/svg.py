"""Stacked columns, one a day, as SVG. It says in words what it shows, and each part says its number."""

from html import escape
from typing import Final

from rtmeter.demo.shown import Series
from schemas.instants import day_text
from streams.core.grid import MICRODAYS_PER_DAY

#: (on light, on dark), in the order of the series; the last is for the others. Neighbours differ in lightness too.
SERIES_COLOURS: Final = (
    ("#2a78d6", "#3987e5"),
    ("#1baf7a", "#199e70"),
    ("#eda100", "#c98500"),
    ("#008300", "#008300"),
    ("#4a3aa7", "#9085e9"),
    ("#e34948", "#e66767"),
    ("#8a8880", "#8f8d85"),
)
_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 44
_WEEKDAYS: Final = "MTWTFSS"


def chart(title: str, series: list[Series], before: list[int], days: range) -> str:
    """The drawing. `before`: totals that a dashed line shows; all quantities in microdays."""
    totals = [sum(column) for column in zip(*(one.quantities for one in series), strict=True)] or [0] * len(days)
    step = _tick_step(max(*totals, *before, 1) // MICRODAYS_PER_DAY + 1)
    top = (max(*totals, *before, 1) // (step * MICRODAYS_PER_DAY) + 1) * step
    scale = _Scale(top * MICRODAYS_PER_DAY, len(days))
    parts = [*_grid(scale, top, step), *_columns(scale, series, days), *_day_labels(scale, days)]
    line = " ".join(f"{scale.middle(place):.1f},{scale.height_of(value):.1f}" for place, value in enumerate(before))
    parts.append(f'<polyline class="before" points="{line}"/>')
    said = (
        f"Stacked columns, one for each of {len(days)} days. The total goes from {_whole(totals[0])} on the first day "
        f"to {_whole(totals[-1])} on the last; the largest service is {series[0].name if series else 'none'}. "
        "The table below has all the numbers."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-labelledby="chart-title chart-desc">\n<title id="chart-title">{escape(title)}</title>\n'
        f'<desc id="chart-desc">{escape(said)}</desc>\n' + "\n".join(parts) + "\n</svg>"
    )


class _Scale:
    """Where days and quantities are in the drawing."""

    def __init__(self, top: int, days: int) -> None:
        self._top = top
        self._step = (_WIDTH - _LEFT - _RIGHT) / days
        self.column_width = self._step * 0.78

    def middle(self, place: int) -> float:
        return _LEFT + (place + 0.5) * self._step

    def height_of(self, quantity: int) -> float:
        return _HEIGHT - _BOTTOM - quantity / self._top * (_HEIGHT - _TOP - _BOTTOM)


def _grid(scale: _Scale, top: int, step: int) -> list[str]:
    parts = []
    for tick in range(0, top + 1, step):
        y = scale.height_of(tick * MICRODAYS_PER_DAY)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
    return parts


def _columns(scale: _Scale, series: list[Series], days: range) -> list[str]:
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
    parts = []
    for place, day in enumerate(days):
        x = scale.middle(place)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{int(day_text(day)[8:])}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{_WEEKDAYS[(day + 3) % 7]}</text>')
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
