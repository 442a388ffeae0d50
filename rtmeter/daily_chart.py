"""The chart of an invoice: usage by day and service as stacked bars, in whole units of an SVG. Pure.

No library draws it: it is rectangles, and a library's picture would change its bytes with each version.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from billing.report import quantity_text
from schemas.instants import day_text

#: Told apart by people who see colours otherwise, and in grey (Okabe and Ito); more services than these share the last.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#777777")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1000, 260, 70, 24


class Bar(Struct, frozen=True):
    """A rectangle, with what it says when pointed at."""

    x: int
    y: int
    width: int
    height: int
    colour: str
    title: str


class Chart(Struct, frozen=True):
    """`ticks`: (height, text) of lines across; `labels`: (middle, text) under the bars; `legend`: (colour, service)."""

    width: int
    height: int
    left: int
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[int, str], ...]
    labels: tuple[tuple[int, str], ...]
    legend: tuple[tuple[str, str], ...]


def chart_of(daily: Mapping[str, Sequence[int]], first_day: int) -> Chart | None:
    """Bars of some services' usage by day, in microdays; None where there is nothing to draw."""
    days = max(map(len, daily.values()), default=0)
    top = max((sum(of_one[day] for of_one in daily.values()) for day in range(days)), default=0)
    if not top:
        return None
    plot = _HEIGHT - _BOTTOM
    step = (_WIDTH - _LEFT) // days
    colours = {service: _COLOURS[min(n, len(_COLOURS) - 1)] for n, service in enumerate(daily)}
    bars = []
    for day in range(days):
        below = 0
        for service, of_one in daily.items():
            if quantity := of_one[day]:
                # From sums, so that rounding leaves no gap between two bars.
                low, high = below * (plot - 10) // top, (below + quantity) * (plot - 10) // top
                title = f"{day_text(first_day + day)}, {service}: {quantity_text(quantity)}"
                bars.append(Bar(_LEFT + day * step, plot - high, step - 2, high - low, colours[service], title))
                below += quantity
    ticks = tuple((plot - part * (plot - 10) // 2, quantity_text(top * part // 2)) for part in range(3))
    labels = tuple(
        (_LEFT + day * step + step // 2, day_text(first_day + day)[8:].lstrip("0")) for day in range(0, days, 2)
    )
    return Chart(_WIDTH, _HEIGHT, _LEFT, tuple(bars), ticks, labels, tuple((c, s) for s, c in colours.items()))
