"""How the pictures look: Grafana's dark page, its units, and the colours of the panels."""

from collections.abc import Sequence
from decimal import Decimal

from dashboards.colours import SERIES
from dashboards.parts import Panel, Shown, Threshold

PAGE, PANEL, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c2f36", "#ccccdc", "#8e8e99"
_SECONDS = ((86_400, "days"), (3_600, "hours"), (60, "min"), (1, "s"), (0.001, "ms"))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
#: What is not ranked is coloured in order, the grey of the others last.
_IN_ORDER = SERIES


def shown_of(panel: Panel, name: str) -> Shown:
    """How a column or series is shown."""
    return next((one for one in panel.shown if one.name == name), Shown(name=name))


def said(value: object, unit: str) -> str:
    """A value as Grafana writes it in its unit: some digits, and thousands apart."""
    if value is None or value == "":
        return ""
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return str(value)
    if unit == "string" or not number.is_finite():
        return str(value)
    scales = {"s": _SECONDS, "bytes": _BYTES}.get(unit)
    if scales is not None:
        size, name = next((one for one in scales if abs(number) >= one[0]), scales[-1])
        return f"{_short(number / Decimal(size))} {name}"
    if unit == "bool_yes_no":
        return "Yes" if number else "No"
    return _short(number) + (" req/s" if unit == "reqps" else "")


def _short(number: Decimal) -> str:
    if number == number.to_integral_value():
        return f"{int(number):,}"
    return f"{number:,.{1 if abs(number) >= 100 else 2 if abs(number) >= 1 else 3}f}"


def colour_of(panel: Panel, name: str, place: int) -> str:
    """The colour of a series: its own, that of its rank, or that of its place."""
    if own := shown_of(panel, name).colour:
        return own
    rank = name.partition(" ")[0]
    if rank.isdigit() and 1 <= int(rank) <= len(SERIES):
        return SERIES[int(rank) - 1]
    return _IN_ORDER[place % len(_IN_ORDER)]


def colour_by_value(panel: Panel, value: object) -> str:
    """The colour of a number by its thresholds."""
    colour = panel.base_colour
    for step in _in_order(panel.thresholds):
        try:
            if Decimal(str(value)) >= Decimal(str(step.value)):
                colour = step.colour
        except ArithmeticError:
            return TEXT
    return colour


def _in_order(steps: Sequence[Threshold]) -> list[Threshold]:
    return sorted(steps, key=lambda step: step.value)
