"""Everything there is in one simulation: the world, Kafka, the store, the groups, the processes, the trace."""

from collections import deque
from collections.abc import Callable

import orjson

from schemas.instants import day_number
from tests.simulation.check import Difference, Offsets, check_store
from tests.simulation.dice import Dice
from tests.simulation.kafka import NAMES, Broker, Group, Session
from tests.simulation.processes import Fate, Process, SinkProcess, WorkerProcess
from tests.simulation.store import MemoryStore
from tests.simulation.world import World
from tests.streams.strategies import DAY_MS, FIRST_DAY


class Trace:
    """What happened, for reading: the last `keep` lines, and `show` hears each. With neither it costs nothing."""

    def __init__(self, keep: int, show: Callable[[str], None] | None) -> None:
        self.lines: deque[str] = deque(maxlen=keep)
        self.on = keep > 0 or show is not None
        self.effects = 0
        self._show = show

    def note(self, what: str) -> None:
        if self.on:
            line = f"{self.effects:6} {what}"
            self.lines.append(line)
            if self._show is not None:
                self._show(line)


class Setting:
    """The things; what happens to them is `Happenings`, in which order is `Simulation`."""

    def __init__(self, world: World, dice: Dice, fate: Fate, trace: Trace) -> None:
        self.world = world
        self.dice = dice
        self.note = trace.note
        self.broker = Broker(FIRST_DAY * DAY_MS + DAY_MS // 2, world.partitions)
        self.store = MemoryStore()
        self.offsets = Offsets(world.partitions)
        self.sent_to_catalog = 0
        # Of all processes that ever were: what they handed over may arrive after their end.
        self.sessions: list[Session] = []
        inputs = [where for where in self.broker.logs if where[0] == NAMES.package_assignments]
        self.workers_group = Group(inputs)
        self.sinks_group = Group(list(self.broker.logs))
        self.workers = [
            WorkerProcess(f"worker {name}", fate, self.broker, self.workers_group)
            for name in "ABC"[: dice.one_of((2, 2, 3))]
        ]
        self.sinks = [
            SinkProcess(f"sink {name}", fate, self.broker, self.sinks_group, lambda: self.store)
            for name in "AB"[: 2 if world.about_catalog else dice.one_of((1, 2))]
        ]
        self.processes: list[Process] = [*self.workers, *self.sinks]
        # Whose turn it may be; where it is about the catalog, mostly the sinks'.
        self.turns = self.processes + (self.sinks * 4 if world.about_catalog else [])

    def send_next(self, partition: int) -> bool:
        """Append the next record of a partition (or, one beyond, of the catalog), if its time has come."""
        world, broker = self.world, self.broker
        of_catalog = partition == world.partitions
        sent = [] if of_catalog else self.offsets.of_sent[partition]
        waiting = world.catalog[self.sent_to_catalog :] if of_catalog else world.sent[partition][len(sent) :]
        if not waiting or waiting[0].not_before_ms > broker.now_ms:
            return False
        if of_catalog:
            self.sent_to_catalog += 1
            broker.append((NAMES.catalog, 0), waiting[0].key, waiting[0].value)
        else:
            sent.append(broker.append((NAMES.package_assignments, partition), waiting[0].key, waiting[0].value))
        self.note(f"a record is sent to {'the catalog' if of_catalog else partition}")
        return True

    def clock_goes_on(self, by_ms: int) -> None:
        self.broker.now_ms += by_ms
        self.note(f"the clock goes on to day {self.broker.now_ms / DAY_MS - FIRST_DAY:.2f}")

    def lag(self) -> int:
        """Records that a group has not committed."""
        return sum(
            self.broker.ends[where] - group.committed.get(where, 0)
            for group in (self.workers_group, self.sinks_group)
            for where in group.owned
        )

    def closed(self) -> dict[int, int]:
        """The last closed day of each partition, -1 for none; Difference when they are not the same everywhere."""
        closed = dict.fromkeys(range(self.world.partitions), -1)
        for partition in closed:
            for record in self.broker.logs[NAMES.package_assignments, partition]:
                if record.key is None and record.value is not None:
                    day = day_number(orjson.loads(record.value)["data"]["day"])
                    closed[partition] = max(closed[partition], day)
        if len(set(closed.values())) > 1:
            raise Difference(f"days are closed here but not there: {closed}")
        return closed

    def check(self) -> None:
        """The store is what the oracle says, or Difference."""
        check_store(self.world, self.broker, self.store, self.closed(), self.offsets)
