"""The peers' own small fold: a subscriber's facts to its intervals, in plain JSON values.

Used by every peer, so that they differ in the library only. Standard library only, because each runs in the
environment of its library.
"""

from datetime import datetime
from typing import Any

_REMOVED = "wholesale.package.removed.v1"


def add_event(state: dict[str, Any], event: dict[str, Any]) -> bool:
    """Take an event into a subscriber's state, `facts` and `intervals`; False, and no change, for a known one."""
    facts: list[list[Any]] = state.setdefault("facts", [])
    source, identity = event["source"], event["id"]
    for fact in facts:
        if fact[1] == identity and fact[0] == source:
            return False
    time_ms = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)
    facts.append([source, identity, time_ms, event["type"], event["data"]["package"]])
    state["intervals"] = _intervals(facts)
    return True


def _intervals(facts: list[list[Any]]) -> list[list[Any]]:
    """[package, start_ms, end_ms] of each interval, by start; end_ms None while it runs."""
    intervals: list[list[Any]] = []
    running: list[Any] | None = None
    for _, _, time_ms, kind, package in sorted(facts, key=_time_of):
        if running is not None and (running[0] == package) == (kind == _REMOVED):
            running[2] = time_ms
            running = None
        if running is None and kind != _REMOVED:
            running = [package, time_ms, None]
            intervals.append(running)
    return intervals


def _time_of(fact: list[Any]) -> Any:
    return fact[2]
