"""What an event costs a subscriber that has many facts already: `python -m bench.long_subscriber [--short]`.

States of subscribers with so many facts each get more events, a few at a time, the sizes in turns. The time is the
processor's, of `PartitionState.apply`: from the event's bytes to the records to write. Days are closed, so that late
facts restate them. Then a customer of very many subscribers is deprovisioned: `bench.mass_deprovision`.
"""

import argparse
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import mass_deprovision
from schemas.instants import day_of_ms, parse_time_ms, time_text
from streams.core.partition import Applied, PartitionState

_START_MS = parse_time_ms("2021-01-01T00:00:00Z")
_NOW_MS = parse_time_ms("2026-01-01T00:00:00Z")
_APPENDED_MS = parse_time_ms("2036-01-01T00:00:00Z")
_PACKAGES = ("WEBEX_CALLING", "WEBEX_SUITE", "WEBEX_MEETINGS")
_LATE_SHARE = 0.10
_VOID_SHARE = 0.01
_BUILD_RUN = 256
_BURST = 16
_ROUNDS = 12
#: The first size is what the others are compared with.
_SIZES = (100, 1_000, 10_000, 100_000)


class _Record(Struct, frozen=True):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class _Side:
    """A state of subscribers with `size` facts each, as many in all as one of the largest size has."""

    def __init__(self, size: int, most: int, *, late: bool) -> None:
        self.size = size
        self._rng = random.Random(size)
        self._late = late
        self._made: list[int] = [0] * max(1, most // size)
        # So that the newest fact of each is of about now, whatever the size: as long a history, in other steps.
        self._step_ms = (_NOW_MS - _START_MS) // size
        self.state = PartitionState("package-assignments", 0)
        for subscriber in range(len(self._made)):
            while self._made[subscriber] < size:
                self.state.apply(self._events(subscriber, min(_BUILD_RUN, size - self._made[subscriber])))
        self.state.apply([self._close(day_of_ms(_NOW_MS) - 1)])
        self._turns = itertools.cycle(range(len(self._made)))
        gc.collect()

    def run(self, count: int) -> list[_Record]:
        """The next events, all of one subscriber, which is the next one each time."""
        return self._events(next(self._turns), count)

    def _events(self, subscriber: int, count: int) -> list[_Record]:
        first = self.state.next_offset
        return [_Record(first + n, _APPENDED_MS, b"c", self._event(subscriber)) for n in range(count)]

    def _event(self, subscriber: int) -> bytes:
        number = self._made[subscriber]
        self._made[subscriber] += 1
        draw = self._rng.random()
        data: dict[str, object] = {
            "partnerOrgId": "p",
            "customerOrgId": "c",
            "subscriberId": f"subscriber-{subscriber}",
        }
        time_ms = _START_MS + number * self._step_ms
        type_ = "wholesale.package.changed.v1"
        if self._late and number and draw < _VOID_SHARE:
            type_ = "wholesale.event.voided.v1"
            data["voids"] = {"source": "/bench", "id": f"{subscriber}-{self._rng.randrange(number)}"}
        else:
            data |= {"package": _PACKAGES[number % 3], "userId": "user", "locationId": f"site-{number // 10 % 5}"}
            if self._late and draw < _VOID_SHARE + _LATE_SHARE:
                time_ms = _START_MS + self._rng.randrange(number * self._step_ms + 1)
        event = {
            "specversion": "1.0",
            "id": f"{subscriber}-{number}",
            "source": "/bench",
            "type": type_,
            "time": time_text(time_ms),
            "data": data,
        }
        return json.dumps(event).encode()

    def _close(self, day: int) -> _Record:
        event = {
            "specversion": "1.0",
            "id": "close",
            "source": "/bench",
            "type": "rtmeter.day.closed.v1",
            "time": time_text(_NOW_MS),
            "data": {"day": time_text(day * 86_400_000)[:10]},
        }
        return _Record(self.state.next_offset, _APPENDED_MS, None, json.dumps(event).encode())


class Cost(Struct, frozen=True):
    """Microseconds of the processor and bytes written per event, of one turn."""

    microseconds: float
    written_bytes: float


def _turn(side: _Side, events: int, per_run: int) -> Cost:
    written = 0
    seconds = 0.0
    for _ in range(events // per_run):
        records = side.run(per_run)
        started = time.process_time()
        applied = side.state.apply(records)
        seconds += time.process_time() - started
        written += _bytes_of(applied)
    return Cost(1e6 * seconds / events, written / events)


def _bytes_of(applied: Applied) -> int:
    return sum(len(record["key"]) + len(record["value"]) for record in [*applied.pages, *applied.entitlements])


def measure(sizes: Sequence[int], rounds: int, console: Console, *, late: bool) -> Table:
    """A table of what an event costs at each size, one per run and in bursts."""
    console.print(f"making subscribers of {', '.join(f'{size:,}' for size in sizes)} facts", highlight=False)
    sides = [_Side(size, sizes[-1], late=late) for size in sizes]
    gc.freeze()
    kinds = {"one event": (96, 1), f"{_BURST} events": (96, _BURST)}
    costs: dict[tuple[str, int], list[Cost]] = {(kind, size): [] for kind in kinds for size in sizes}
    for _ in range(rounds):
        for kind, (events, per_run) in kinds.items():
            for side in sides:
                costs[kind, side.size].append(_turn(side, events, per_run))
    what = "10 % late, 1 % voids" if late else "in order"
    table = Table(title=f"An event of a subscriber, {what}: median of {rounds} turns [least, most]")
    for column in ("facts", "runs", "CPU µs per event", "times the first", "bytes written per event"):
        table.add_column(column, justify="right")
    for kind in kinds:
        first = statistics.median(cost.microseconds for cost in costs[kind, sizes[0]])
        for size in sizes:
            found = costs[kind, size]
            spent = sorted(cost.microseconds for cost in found)
            median = statistics.median(spent)
            table.add_row(
                f"{size:,}",
                kind,
                f"{median:.0f} [{spent[0]:.0f}, {spent[-1]:.0f}]",
                f"{median / first:.2f}",
                f"{statistics.median(cost.written_bytes for cost in found):,.0f}",
            )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all of it ran, and a restore gave the state back."""
    parser = argparse.ArgumentParser(prog="bench.long_subscriber", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small counts: that it works, not how fast it is")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    shown = Console(width=None if sys.stdout.isatty() else 120)
    sizes = (100, 1_000, 5_000) if options.short else _SIZES
    for late in (False, True):
        shown.print(measure(sizes, 2 if options.short else _ROUNDS, console, late=late))
    subscribers = 5_000 if options.short else 200_000
    console.print(f"deprovisioning a customer of {subscribers:,} subscribers", highlight=False)
    deprovisioned = mass_deprovision.run(subscribers)
    shown.print(mass_deprovision.shown(deprovisioned))
    return 0 if deprovisioned.restored_equal else 1


if __name__ == "__main__":
    sys.exit(main())
