"""What Grafana makes of a panel's question before the store hears it. Tests, benchmark and pictures ask the same way.

ClickHouse, as version 4 of Grafana's ClickHouse data source does it, in this order:
1. `$__conditionalAll(condition, $variable)`: the condition, or 1=1 where all of the variable is chosen.
2. Variables: `$name`, `${name}`, `${name:format}`.
3. The other macros. An instant of the range is whole seconds, and so is an interval, but never less than one.

Prometheus: `$__interval`, `$__rate_interval` and `$__range`, from the range, the width and the scrape interval.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from msgspec import Struct

#: The value of a variable of which all is chosen.
ALL = "$__all"


class NotExpanded(ValueError):
    """Grafana would send this on as it stands, and the store would not understand it."""


class Selection(Struct, frozen=True):
    """What a reader has chosen: the range, in ms since the epoch, and the values of the variables.

    `points`: for how many points a panel has room, `scrape_ms`: the interval that the Prometheus data source is told.
    """

    from_ms: int
    to_ms: int
    values: Mapping[str, tuple[str, ...]] = {}
    points: int = 500
    scrape_ms: int = 15_000

    @property
    def interval_ms(self) -> int:
        """The time between two points: one of the steps that Grafana rounds to, and never less than a second."""
        wanted = (self.to_ms - self.from_ms) / self.points
        return next((step for below, step in _STEPS if wanted < below), _DAY_MS)


_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
#: (below this, so much)
_STEPS = (
    (1_500, _SECOND_MS),
    (3_500, 2 * _SECOND_MS),
    (7_500, 5 * _SECOND_MS),
    (12_500, 10 * _SECOND_MS),
    (17_500, 15 * _SECOND_MS),
    (25_000, 20 * _SECOND_MS),
    (45_000, 30 * _SECOND_MS),
    (90_000, _MINUTE_MS),
    (210_000, 2 * _MINUTE_MS),
    (450_000, 5 * _MINUTE_MS),
    (750_000, 10 * _MINUTE_MS),
    (1_050_000, 15 * _MINUTE_MS),
    (1_500_000, 20 * _MINUTE_MS),
    (2_700_000, 30 * _MINUTE_MS),
    (5_400_000, _HOUR_MS),
    (9_000_000, 2 * _HOUR_MS),
    (16_200_000, 3 * _HOUR_MS),
    (32_400_000, 6 * _HOUR_MS),
    (86_400_000, 12 * _HOUR_MS),
)


def expanded_sql(sql: str, chosen: Selection) -> str:
    """The statement that ClickHouse hears. NotExpanded for a variable, format or macro that there is not."""
    return _left_over(_macros(_variables(_conditional(sql, chosen), chosen), chosen))


def expanded_promql(expr: str, chosen: Selection) -> str:
    """The expression that Prometheus hears; NotExpanded as above."""
    interval_ms = max(chosen.interval_ms, chosen.scrape_ms)
    values = {
        "__interval": f"{interval_ms // 1000}s",
        "__interval_ms": str(interval_ms),
        "__rate_interval": f"{max(interval_ms + chosen.scrape_ms, 4 * chosen.scrape_ms) // 1000}s",
        "__range": f"{round((chosen.to_ms - chosen.from_ms) / 1000)}s",
        "__range_s": str(round((chosen.to_ms - chosen.from_ms) / 1000)),
    }
    return _left_over(re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), expr))


def arguments(sql: str, opening: int) -> tuple[list[str], int]:
    """What stands between the bracket at `opening` and its own, at commas outside of inner brackets; where it ends."""
    depth, begin = 0, opening + 1
    found: list[str] = []
    for at in range(opening, len(sql)):
        match sql[at]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
                if depth == 0:
                    return [*found, sql[begin:at]], at + 1
            case "," if depth == 1:
                found.append(sql[begin:at])
                begin = at + 1
    raise NotExpanded(f"a bracket is not closed: {sql[opening : opening + 60]}")


def _conditional(sql: str, chosen: Selection) -> str:
    macro = "$__conditionalAll("
    while (at := sql.rfind(macro)) >= 0:
        found, end = arguments(sql, at + len(macro) - 1)
        variable = re.fullmatch(r"\$(\w+)|\$\{(\w+)\}", found[-1].strip())
        if len(found) != 2 or variable is None:
            raise NotExpanded(f"$__conditionalAll takes a condition and a plain variable, not {found}")
        values = _values(variable[1] or variable[2], chosen)
        sql = sql[:at] + ("1=1" if values in ((ALL,), ("",)) else found[0]) + sql[end:]
    return sql


def _values(name: str, chosen: Selection) -> tuple[str, ...]:
    if name not in chosen.values:
        raise NotExpanded(f"there is no variable {name}")
    return chosen.values[name]


def _variables(sql: str, chosen: Selection) -> str:
    def value(found: re.Match[str]) -> str:
        name, form = found[1] or found[2], found[3]
        if name.startswith("__"):
            return found[0]
        values = _values(name, chosen)
        match form:
            case "singlequote":
                return ",".join("'" + one.replace("'", "\\'") + "'" for one in values)
            case "raw":
                return ",".join(values)
            case None:
                return values[0] if len(values) == 1 else "'" + "','".join(values) + "'"
        raise NotExpanded(f"the format {form} is not one of those that are used here")

    return re.sub(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}", value, sql)


def _date(ms: int) -> str:
    return f"toDate('{datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()}')"


def _time(ms: int) -> str:
    return f"toDateTime({ms // 1000})"


def _time_ms(ms: int) -> str:
    return f"fromUnixTimestamp64Milli({ms})"


def _between(instant: Callable[[int], str]) -> "_Macro":
    def macro(chosen: Selection, column: str) -> str:
        return f"{column} >= {instant(chosen.from_ms)} AND {column} <= {instant(chosen.to_ms)}"

    return macro


_Macro = Callable[..., str]
#: Name, and how many arguments it takes.
_MACROS: dict[str, tuple[int, _Macro]] = {
    "fromTime": (0, lambda chosen: _time(chosen.from_ms)),
    "toTime": (0, lambda chosen: _time(chosen.to_ms)),
    "fromTime_ms": (0, lambda chosen: _time_ms(chosen.from_ms)),
    "toTime_ms": (0, lambda chosen: _time_ms(chosen.to_ms)),
    "timeFilter": (1, _between(_time)),
    "timeFilter_ms": (1, _between(_time_ms)),
    "dateFilter": (1, _between(_date)),
    "timeInterval": (
        1,
        lambda chosen, column: (
            f"toStartOfInterval(toDateTime({column}), INTERVAL {max(chosen.interval_ms // 1000, 1)} second)"
        ),
    ),
    "timeInterval_ms": (
        1,
        lambda chosen, column: (
            f"toStartOfInterval(toDateTime64({column}, 3), INTERVAL {max(chosen.interval_ms, 1)} millisecond)"
        ),
    ),
    "interval_s": (0, lambda chosen: str(max(chosen.interval_ms // 1000, 1))),
}


def _macros(sql: str, chosen: Selection) -> str:
    while found := re.search(r"\$__(\w+)", sql):
        if found[1] not in _MACROS:
            raise NotExpanded(f"there is no macro {found[0]}")
        wants, macro = _MACROS[found[1]]
        given: list[str] = []
        end = found.end()
        if wants:
            if sql[end : end + 1] != "(":
                raise NotExpanded(f"{found[0]} takes {wants} arguments")
            given, end = arguments(sql, end)
            if len(given) != wants:
                raise NotExpanded(f"{found[0]} takes {wants} arguments, not {len(given)}")
        sql = sql[: found.start()] + macro(chosen, *(one.strip() for one in given)) + sql[end:]
    return sql


def _left_over(text: str) -> str:
    if found := re.search(r"\$\{?\w+\}?|\[\[\w+\]\]", text):
        raise NotExpanded(f"{found[0]} would be sent as it stands")
    return text
