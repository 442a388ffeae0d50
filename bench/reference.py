"""What every side must come to: the intervals of each subscriber, by the plainest means.

Independent of `streams` and of the peers' fold. It relies on what the workload promises: a subscriber's events
come in the order of their times, repeats aside.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHOWN = 3


class Held(NamedTuple):
    """A package held over [start_ms, end_ms); `end_ms` None while it runs."""

    package: str
    start_ms: int
    end_ms: int | None


Timelines = dict[str, tuple[Held, ...]]
"""Of each subscriber what it held, by start."""


class WrongResult(Exception):
    """A side's output is not what the events say: its time does not count."""


def timelines(values: Iterable[bytes]) -> Timelines:
    """The timelines that follow from event values in order of arrival."""
    seen: set[tuple[str, str]] = set()
    held: dict[str, list[Held]] = {}
    for value in values:
        event = json.loads(value)
        identity = (event["source"], event["id"])
        if identity in seen:
            continue
        seen.add(identity)
        data = event["data"]
        _advance(
            held.setdefault(data["subscriberId"], []),
            data["package"],
            (datetime.fromisoformat(event["time"]) - _EPOCH) // _MILLISECOND,
            removed=".removed." in event["type"],
        )
    return {subscriber: tuple(intervals) for subscriber, intervals in held.items()}


def _advance(intervals: list[Held], package: str, time_ms: int, *, removed: bool) -> None:
    running = intervals[-1] if intervals and intervals[-1].end_ms is None else None
    if running is not None:
        if (running.package == package) != removed:
            return  # it holds that package already, or another one than the removal names
        intervals[-1] = running._replace(end_ms=time_ms)
    if not removed:
        intervals.append(Held(package, time_ms, None))


def check(expected: Mapping[str, tuple[Held, ...]], found: Mapping[str, tuple[Held, ...]]) -> None:
    """Raise WrongResult unless both say the same of every subscriber."""
    if expected == found:
        return
    wrong = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    shown = "; ".join(
        f"{name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(wrong)[:_SHOWN]
    )
    raise WrongResult(f"{len(wrong)} of {len(expected)} subscribers are wrong: {shown}")


def check_refuses_wrong_ones(expected: Timelines) -> None:
    """Prove that `check` can fail: a timeline that is missing, and one that ends a millisecond late."""
    name, intervals = next(iter(expected.items()))
    last = intervals[-1]
    late = (*intervals[:-1], last._replace(end_ms=(last.end_ms or last.start_ms) + 1))
    for broken in ({key: value for key, value in expected.items() if key != name}, {**expected, name: late}):
        try:
            check(expected, broken)
        except WrongResult:
            continue
        raise AssertionError("the check of results lets a wrong one pass")
