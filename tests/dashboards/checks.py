"""What an answer must be for a panel to show it."""

import math
from datetime import datetime

from dashboards.asking import Answer
from dashboards.parts import PromQl, Sql, Variable


def complaint_of(ask: Sql | PromQl, answer: Answer) -> str | None:
    """What is wrong with an answer, or None. As Grafana would take it: columns by name, series in order of time."""
    wanted = ask.columns if isinstance(ask, Sql) else ("time", *ask.labels, "value")
    if not answer.rows:
        return "there are no rows"
    if answer.columns != wanted:
        return f"the columns are {answer.columns}, and not {wanted}"
    if isinstance(ask, PromQl):
        values = [row[-1] for row in answer.rows]
        return None if any(map(math.isfinite, values)) else f"none of {len(values)} values is a number"
    return _of_series(ask, answer) if ask.series else None


def _of_series(ask: Sql, answer: Answer) -> str | None:
    times = [datetime.fromisoformat(row[0]) if isinstance(row[0], str) else row[0] for row in answer.rows]
    if not all(isinstance(time, datetime) for time in times):
        return f"{ask.columns[0]} is no time"
    if times != sorted(times):
        return "the times are not in order"
    texts = [place for place, value in enumerate(answer.rows[0]) if place and not _is_number(value)]
    if len(texts) == len(ask.columns) - 1:
        return "there is no number"
    keys = [(row[0], *(row[place] for place in texts)) for row in answer.rows]
    return None if len(set(keys)) == len(keys) else "a series has two values at one time"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def complaint_of_variable(variable: Variable, answer: Answer) -> str | None:
    """As above, of a choice: one column, or a value and its text; no value twice."""
    if complaint := complaint_of(variable.ask, answer):
        return complaint
    if len(answer.columns) > 2:
        return "more than a value and its text"
    values = [row[0] for row in answer.rows]
    return None if len(set(values)) == len(values) else "a value is offered twice"
