"""Asks what panels ask, as Grafana would have it asked: ClickHouse through a store, Prometheus over HTTP."""

import time
from collections.abc import Mapping
from typing import Any

import httpx
from msgspec import Struct

from dashboards.expansion import ALL, Selection, expanded_promql, expanded_sql
from dashboards.parts import Dashboard, PromQl, Sql
from sinks.store import ReadableStore

#: What the profile of Grafana's user sets (deploy/grafana/clickhouse-user.sql).
PROFILE = {"do_not_merge_across_partitions_select_final": 1}
_PROFILE = "SETTINGS " + ", ".join(f"{name} = {value}" for name, value in PROFILE.items())


class Answer(Struct, frozen=True):
    """What came back: the names of the columns, and the rows. `seconds`: how long it took.

    Of Prometheus each value is a row: its instant in seconds, the labels in the order of `PromQl.labels`, the value.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    seconds: float


class Refused(Exception):
    """A store did not understand the question."""


def ask_clickhouse(store: ReadableStore, ask: Sql, chosen: Selection) -> Answer:
    """The answer, with the columns that the engine names (none if there are no rows); StoreFailed if it refuses."""
    sql = expanded_sql(ask.sql, chosen)
    began = time.perf_counter()
    rows = store.query(f"{sql} {_PROFILE}")
    seconds = time.perf_counter() - began
    # The store gives rows alone, and it streams no DESCRIBE.
    named = store.query(
        f"SELECT tupleNames(tuple(*)) FROM ({sql}) LIMIT 1 SETTINGS enable_named_columns_in_function_tuple = 1"
    )
    return Answer(tuple(named[0][0]) if named else (), rows, seconds)


def ask_prometheus(url: str, ask: PromQl, chosen: Selection) -> Answer:
    """The answer at the end of the range, or over all of it; Refused if Prometheus does."""
    query = {"query": expanded_promql(ask.expr, chosen)}
    if ask.instant:
        path, query["time"] = "query", str(chosen.to_ms / 1000)
    else:
        path = "query_range"
        query |= {
            "start": str(chosen.from_ms / 1000),
            "end": str(chosen.to_ms / 1000),
            "step": str(max(chosen.interval_ms, chosen.scrape_ms) // 1000),
        }
    began = time.perf_counter()
    answer = httpx.get(f"{url}/api/v1/{path}", params=query, timeout=60).json()
    seconds = time.perf_counter() - began
    if answer["status"] != "success":
        raise Refused(answer["error"])
    labels: tuple[str, ...] = ()
    rows = []
    for series in answer["data"]["result"]:
        metric: dict[str, str] = series["metric"]
        labels = ask.labels if set(metric) == set(ask.labels) else tuple(sorted(metric))
        for at, value in [series["value"]] if ask.instant else series["values"]:
            rows.append((at, *(metric[label] for label in labels), float(value)))
    return Answer(("time", *labels, "value"), rows, seconds)


def choices_of(
    dashboard: Dashboard, store: ReadableStore, chosen: Selection, wanted: Mapping[str, tuple[str, ...]] | None = None
) -> Selection:
    """A reader's choices: `wanted` ones, else all where that can be chosen, else the first that is offered."""
    values = dict(chosen.values)
    for variable in dashboard.variables:
        if wanted is not None and variable.name in wanted:
            values[variable.name] = wanted[variable.name]
        elif variable.several:
            values[variable.name] = (ALL,)
        else:
            now = Selection(chosen.from_ms, chosen.to_ms, values, chosen.points, chosen.scrape_ms)
            offered = ask_clickhouse(store, variable.ask, now).rows
            values[variable.name] = (str(offered[0][0]) if offered else "",)
    return Selection(chosen.from_ms, chosen.to_ms, values, chosen.points, chosen.scrape_ms)
