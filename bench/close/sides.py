"""One side, in a process of its own that has the store: `python -m bench.close.sides FOLDER close|limit`.

Its standard output is the measured `Side` in JSON. The embedded engine runs in the process, so that its processor time
and memory are in the figures of both sides.
"""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import func, select

from bench.close.store_made import NOT_INTERNAL, PARTNERS
from bench.process_usage import usage
from bench.reports.data import MONTH
from billing.closing.close import Books, CloseOrder
from billing.closing.close_all import Ending
from billing.relational.schema import invoice_lines
from rtmeter.closing_run import close_everybody
from rtmeter.installation import Installation
from rtmeter.options import now_ms
from rtmeter.relational_store import open_relational
from schemas.instants import day_text
from sinks.store import ReadableStore, Store, open_embedded

CLOSE, LIMIT = "close", "limit"
_OF_MONTH = f"day BETWEEN toDate32({MONTH[0]}) AND toDate32({MONTH[1]})"
#: The limit: each daily row of the month read once, and nothing asked of it but its sum.
_ONE_SCAN = f"""
SELECT partner_id, item, sum(quantity_microdays) FROM daily_usage_history WHERE {_OF_MONTH} GROUP BY partner_id, item"""
#: What the invoices must add up to. From the current rows, which a close does not read.
_OUTCOME = f"SELECT sum(quantity_microdays) FROM daily_usage FINAL WHERE {_OF_MONTH} AND {NOT_INTERNAL}"
_READ = """
SELECT sumIf(value, event = 'SelectedRows'), sumIf(value, event = 'SelectedBytes'),
       sumIf(value, event = 'ReadBufferFromFileDescriptorReadBytes')
FROM system.events"""


class Side(Struct, frozen=True):
    """What one run took. `read_bytes`: as the engine has them in memory; `file_bytes`: as they are in its files.

    `base_bytes`, `peak_bytes`: largest resident memory when the store was open, and in the end. `asked`: seconds, by what
    was asked of the store.
    """

    seconds: float
    cpu_seconds: float
    base_bytes: int
    peak_bytes: int
    read_rows: int
    read_bytes: int
    file_bytes: int
    asked: dict[str, float]


class WrongOutcome(Exception):
    """What was closed is not what was used: then its time means nothing."""


class Timed:
    """A store that notes how long its answers take."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: dict[str, float] = {}

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        return [row for rows in self.stream(sql, parameters) for row in rows]

    def stream(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._timed(sql, lambda: self._store.stream(sql, parameters))

    def stream_binary(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._timed(sql, lambda: self._store.stream_binary(sql, parameters))

    def stream_text(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[bytes]:
        return self._store.stream_text(sql, parameters)

    def close(self) -> None:
        self._store.close()

    def _timed(self, sql: str, ask: Callable[[], Iterator[list[tuple[Any, ...]]]]) -> Iterator[list[tuple[Any, ...]]]:
        began = time.perf_counter()
        yield from ask()
        what = _what(sql)
        self.asked[what] = self.asked.get(what, 0.0) + time.perf_counter() - began


def _what(sql: str) -> str:
    of_days, of_intervals = "daily_usage_history" in sql, "timelines_history" in sql
    if of_days and of_intervals:
        return "how many rows each org has"
    if of_days or of_intervals:
        return "usage by days" if of_days else "usage by intervals"
    return "events: progress and catalog" if "raw_events" in sql else "other"


def close(store: Store, installation: Installation) -> Side:
    """Close the month of all partners by what `rtmeter close-month --all` calls; WrongOutcome."""
    timed = Timed(store)
    engine = open_relational(installation, None)
    order = CloseOrder("", day_text(MONTH[0])[:7], "bench")

    def run() -> None:
        asked: ReadableStore = timed
        books = Books(asked, engine, installation.names, now_ms)
        ended = close_everybody(books, order, threading.Event(), dry_run=False)
        if {row.ending for row in ended.rows} != {Ending.CLOSED} or len(ended.rows) != PARTNERS or ended.not_reached:
            raise WrongOutcome(
                f"not every partner was closed: {[row for row in ended.rows if row.ending != 'closed'][:3]}"
            )

    side = _measured(store, run, timed.asked)
    ((used,),) = store.query(_OUTCOME)
    with engine.connect() as connection:
        invoiced = connection.execute(select(func.sum(invoice_lines.c.quantity_microdays))).scalar_one()
    if invoiced != used or not used:
        raise WrongOutcome(f"{invoiced} microdays are on invoices, {used} were used")
    return side


def limit(store: Store) -> Side:
    """One scan of the same daily rows."""

    def run() -> None:
        store.query(_ONE_SCAN)

    return _measured(store, run, {})


def _measured(store: Store, run: Callable[[], None], asked: dict[str, float]) -> Side:
    read = store.query(_READ)[0]
    base = _peak_bytes()
    cpu, began = _cpu_seconds(), time.perf_counter()
    run()
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    rows, size, files = (after - before for before, after in zip(read, store.query(_READ)[0], strict=True))
    return Side(seconds, cpu, base, _peak_bytes(), rows, size, files, asked)


def _peak_bytes() -> int:
    return usage(os.getpid()).peak_bytes


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(folder: Path, which: str) -> int:
    installation = Installation(folder, None, "")
    with open_embedded(installation.store_folder) as store:
        try:
            side = close(store, installation) if which == CLOSE else limit(store)
        except WrongOutcome as wrong:
            print(wrong, file=sys.stderr)
            return 1
    print(msgspec.json.encode(side).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
