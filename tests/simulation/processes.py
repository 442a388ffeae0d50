"""The processes of a simulation: what each life of a worker and of a sink does, with the real code inside.

A process lives in a fiber. Before and after each effect it asks its `Fate`, who may let it crash there, freeze it, or
let others go on first. After a crash it starts anew, as a supervisor would have it. `orders` come from the scheduler
in quiet times: they are carried out to the end, without faults.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from sinks import rows
from sinks.loop import Position, SinkLoop
from sinks.store import StoreFailed
from streams.close_day import close_in_order, day_closed_event, day_to_close
from streams.group_offsets import GroupOffsets
from streams.ledger import Ledger
from streams.log import LogFailed
from streams.metrics import WorkerMetrics
from streams.positions import Batch, Positions
from tests.simulation.dice import Dice
from tests.simulation.kafka import NAMES, Assignment, Broker, Group, Member, Session, TopicPartition
from tests.simulation.store import MemoryStore, Table, Violation

#: One for all: what it counts is nobody's question here, and making one takes longer than a simulation.
_METRICS = WorkerMetrics()


class Crash(BaseException):
    """The process is gone, between two instructions."""


class Fate(Protocol):
    """What the seed decides, at each effect of a process."""

    rng: Dice
    calm: bool

    def effect(self, process: "Process", what: str) -> None:
        """Before or after an effect. Raises Crash, or returns later."""

    def idle(self, process: "Process") -> None:
        """At the top of a process's loop: others go on first, perhaps; in quiet times, until there is an order."""

    def new_session(self, process: "Process") -> Session:
        """A producer for a process that starts."""


class Process:
    """What workers and sinks have in common: one life after the other, a producer each, membership in a group."""

    def __init__(self, name: str, fate: Fate, broker: Broker, group: Group) -> None:
        self.name = name
        self.frozen = False
        # Some are slow all their life, and far behind what a frozen one had done.
        self._slow = fate.rng.one_of((False, False, True))
        self.order: Callable[[], None] | None = None
        self.session: Session | None = None
        self.member = Member(name)
        self._fate = fate
        self._rng = fate.rng
        self._broker = broker
        self._group = group

    def live(self) -> None:
        """Lives without end: each goes until it crashes. `SystemExit` ends the last."""
        while True:
            self.session = self._fate.new_session(self)
            self.member = Member(self.name)
            self._group.join(self.member)
            try:
                self.run()
            except (Crash, LogFailed):
                # What it held in memory is gone with it.
                self.session.crash()

    def run(self) -> None:
        raise NotImplementedError

    def catch_up(self) -> None:
        """Do all that can be done now."""
        raise NotImplementedError

    def effect(self, what: str) -> None:
        self._fate.effect(self, what)

    def _hears_of_a_generation(self) -> bool:
        """Whether this process has to take over what is assigned in a new generation; joins where it was expelled."""
        if self.member.generation == self._group.generation:
            return False
        if self.member not in self._group.members:
            self._group.join(self.member)
        if self.member not in self._group.assigned:
            return False
        # A heartbeat tells of it, not at once.
        return self._fate.calm or self._rng.random() < 0.7

    def _assigned(self) -> list[TopicPartition]:
        return self._group.assigned.get(self.member, [])


class WorkerProcess(Process):
    """A stream worker: what Faust, the transport and `streams.worker` do around the ledger, without them."""

    ledger: Ledger

    def run(self) -> None:
        self.ledger = Ledger(self.session, NAMES, _METRICS)
        self._positions = Positions()
        self._offsets = GroupOffsets()
        # Where the consumer stands, and what it has fetched but the agent has not begun with.
        self._consumed: dict[int, int] = {}
        self._fetched: list[Batch] = []
        while True:
            self._fate.idle(self)
            if self.order is not None:
                order, self.order = self.order, None
                order()
            elif self._hears_of_a_generation():
                self.take_over()
            else:
                self._next_step()

    def take_over(self) -> None:
        """As `BatchConsumer.seek_to_committed`."""
        generation = self._group.generation
        partitions = [partition for _, partition in self._assigned()]
        self.effect(f"takes over {partitions} in generation {generation}")
        self._positions.begin({})
        offsets = self.ledger.own(partitions, generation)
        # Fetches go on meanwhile: some were begun before the seek and arrive when the flow goes on, ...
        late = [
            self._read(partition, 3) for partition in offsets if partition in self._consumed and self._now_and_then()
        ]
        self._positions.begin(offsets)
        self._consumed = dict(offsets)
        # ... some are begun after it, and arrive while the flow is stopped.
        for partition in offsets:
            if self._now_and_then():
                self._take(self._read(partition, 50), current=False)
        self._positions.sought(offsets)
        self.member.generation = generation
        # Faust drops what was fetched in a generation that is over; most of it.
        self._fetched = [batch for batch in self._fetched if self._rng.random() < 0.1]
        for fetched in late:
            self._take(fetched, current=True)

    def settle(self) -> None:
        """Hear of the generation, and make the logs of the owned partitions good: looks, and waits in between."""
        if self._hears_of_a_generation():
            self.take_over()
        self.ledger.finish()
        self.ledger.look_for_others()
        if self.session is not None and self.session.under_way:
            # It had something to write: who wrote meanwhile shows now.
            self.ledger.finish()
            self.ledger.look_for_others()
            self.ledger.finish()

    def catch_up(self) -> None:
        """Everything that can be done now."""
        self.settle()
        while self._fetch_all() or self._fetched:
            self._apply()
        self._close_days()
        self._commit()
        self.ledger.finish()

    @property
    def owned(self) -> list[int]:
        return list(self.ledger.states())

    def _next_step(self) -> None:
        if self._slow and self._rng.random() < 0.7:
            return
        pick = self._rng.random()
        if self._fetched and (pick < 0.55 or len(self._fetched) > 2):
            self._apply()
        elif pick < 0.85:
            self._fetch()
        elif pick < 0.9:
            self._commit()
        elif pick < 0.95:
            self.ledger.look_for_others()
        else:
            self._close_days()

    def _fetch_all(self) -> bool:
        fetched = False
        for partition in self._consumed:
            while self._fetch_some(partition, 50):
                fetched = True
        return fetched

    def _fetch(self) -> None:
        if self._consumed:
            self._fetch_some(
                self._rng.one_of(list(self._consumed)), 1 if self._slow else self._rng.one_of((1, 2, 3, 5, 12))
            )

    def _fetch_some(self, partition: int, most: int) -> bool:
        """As `BatchConsumer.getmany`."""
        astray = self._positions.take_astray()
        self._consumed.update(astray)
        self._positions.sought(astray)
        fetched = self._read(partition, most)
        # Now and then a fetch arrives while the flow is stopped, and is thrown away: in quiet times too.
        self._take(fetched, current=not self._now_and_then())
        return bool(fetched.records)

    def _read(self, partition: int, most: int) -> Batch:
        """What the consumer fetches of a partition; it stands behind that from now on."""
        first_offset = self._consumed[partition]
        found = self._broker.fetch((NAMES.package_assignments, partition), first_offset, most)
        if found:
            self._consumed[partition] = found[-1].offset + 1
        records = [Assignment(record.offset, record.append_time_ms, record.key, record.value) for record in found]
        return Batch(partition, first_offset, self._consumed[partition], records)

    def _take(self, fetched: Batch, *, current: bool) -> None:
        if fetched.records:
            batch = self._positions.take(
                fetched.partition, fetched.records, fetched.first_offset, fetched.next_offset, current=current
            )
            if batch is not None:
                self._fetched.append(batch)

    def _now_and_then(self) -> bool:
        return self._rng.random() < 0.1

    def _apply(self) -> None:
        batch = self._fetched.pop(0)
        self.effect(f"applies {batch.partition} from {batch.first_offset} up to {batch.next_offset}")
        self.ledger.apply(batch.partition, batch.first_offset, batch.records, batch.next_offset)

    def _commit(self) -> None:
        """As `Worker._commit`."""
        assigned = [partition for _, partition in self._assigned()]
        news = self._offsets.news(self.ledger.durable_offsets(), assigned, self.member.generation)
        self.effect(f"commits {news}")
        for partition, offset in news.items():
            # What the group says of a partition is in its log, whoever wrote it.
            if offset > self._broker.highest_watermark(partition):
                raise Violation(f"the group hears of {offset} of partition {partition}, which is not durable")
        self.member.library_ahead = self._rng.random() < 0.5
        if self._group.commit(self.member, {(NAMES.package_assignments, part): news[part] for part in news}):
            self._offsets.heard(news, self.member.generation)

    def _close_days(self) -> None:
        """As `Worker._close_days_in_time`."""
        state = self.ledger.states().get(0)
        if state is None:
            return
        now = datetime.fromtimestamp(self._broker.now_ms / 1000, UTC)
        day = day_to_close(state.watermark.closed_through_day, now)
        if day is None:
            return
        session = self.session

        def write(partition: int, event: bytes) -> None:
            session.write_with_headers(NAMES.package_assignments, partition, None, event, [])

        self.effect(f"closes day {day}")
        close_in_order(self._broker.partitions, day_closed_event(day, now), write, session.wait)


class SinkProcess(Process):
    """A sink: what `sinks.sink` does around the loop."""

    def __init__(self, name: str, fate: Fate, broker: Broker, group: Group, store: Callable[[], MemoryStore]) -> None:
        super().__init__(name, fate, broker, group)
        self._current_store = store

    def run(self) -> None:
        self._loop = SinkLoop(NAMES, self, self.session, self, self._persist)
        self._positions: dict[TopicPartition, int] = {}
        while True:
            self._fate.idle(self)
            if self.order is not None:
                order, self.order = self.order, None
                order()
            elif self._hears_of_a_generation():
                self.take_over()
            elif self._positions:
                self._next_step()

    def take_over(self) -> None:
        """As `Sink._begin`."""
        assigned = self._assigned()
        self.member.generation = self._group.generation
        self.effect(f"takes over {len(assigned)} partitions in generation {self.member.generation}")
        positions = self._loop.begin(assigned)
        self._positions = {where: positions.get(where, 0) for where in assigned}
        self.commit([Position(*where, offset) for where, offset in positions.items()])

    def catch_up(self) -> None:
        """Store all that is there."""
        if self._hears_of_a_generation():
            self.take_over()
        while self._store(list(self._positions), 1_000):
            pass

    def _next_step(self) -> None:
        count = 1 + self._rng.below(min(4, len(self._positions)))
        self._store(self._rng.some_of(list(self._positions), count), self._rng.one_of((1, 2, 5, 40)))

    def _store(self, partitions: Sequence[TopicPartition], most: int) -> bool:
        records = [record for where in partitions for record in self._broker.fetch(where, self._positions[where], most)]
        if records:
            self.effect(f"stores {len(records)} records")
            self._loop.store(records)
            for record in records:
                self._positions[record.topic, record.partition] = record.offset + 1
        return bool(records)

    def commit(self, positions: Sequence[Position]) -> None:
        """As `Sink.commit`. What the group hears of is stored."""
        self.effect("commits")
        tables = self._current_store().tables
        stored = {row[:2]: row[2] for row in tables["sink_positions"].final().values()}
        for position in positions:
            if position.offset > stored.get(position[:2], 0):
                raise Violation(f"the group hears of {position}, which is not stored")
            if position.topic == NAMES.entitlements:
                self._check_progress(position, tables["partition_progress"])
        self._group.commit(self.member, {position[:2]: position.offset for position in positions})

    def _check_progress(self, position: Position, table: Table) -> None:
        """What is stored of a partition's log is as far as the log says."""
        highest = self._broker.highest_watermark_below(position.partition, position.offset)
        row = table.final().get((position.partition,))
        if highest > 0 and (row is None or row[1] < highest):
            raise Violation(f"progress of {position} is {row}, but a watermark says {highest}")

    # ---- the store, as it is to a sink: every statement may fail, and may have been carried out all the same

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None:
        self.effect(f"inserts {len(columns[0])} rows into {table}")
        store = self._current_store()
        found = store.rows_of(table, names, columns)
        trouble = 1.0 if self._fate.calm else self._rng.random()
        if trouble < 0.03:
            raise StoreFailed("refused")
        if trouble < 0.06 and len(found) > 1:
            store.tables[table].insert(found[: 1 + self._rng.below(len(found) - 1)])
            raise StoreFailed("cut off in the middle")
        store.tables[table].insert(found)
        if trouble < 0.1:
            raise StoreFailed("stored, but the answer was lost")
        self.effect("inserted")

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        self.effect("asks the store")
        if not self._fate.calm and self._rng.random() < 0.05:
            raise StoreFailed("no answer")
        return self._current_store().query(sql)

    def _persist(self, statement: Callable[[], Any], block: rows.Block | None) -> Any:
        """As `Sink._persist`, whose waiting is somebody else's turn here."""
        while True:
            try:
                return statement()
            except StoreFailed as failure:
                self.effect(f"tries again: {failure}")
