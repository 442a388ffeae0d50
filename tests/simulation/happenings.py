"""What happens beside the processes: records are sent and arrive, compaction, merges, freezes, rebalances."""

from collections.abc import Callable

from tests.simulation.kafka import COMPACTION_LAG_MS, Group, Member, Session
from tests.simulation.processes import Process, SinkProcess, WorkerProcess
from tests.simulation.setting import Setting

Processes = list[WorkerProcess] | list[SinkProcess]


class Happenings:
    """What can happen to a setting at any moment."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._dice = setting.dice
        # Who goes on first for a while, and what arrives after that.
        self._favoured: list[WorkerProcess] = []
        self._favours = 0
        self._arriving: Session | None = None

    def swarm(self) -> list[Callable[[], None] | None]:
        """The seed's own mixture, to be picked from evenly; None: a process goes on.

        Each seed has trouble of its own sort, because what happens always hides what happens seldom.
        """
        weights: list[tuple[Callable[[], None] | None, tuple[int, ...]]] = [
            (None, (60,)),
            (self._send, (10, 25)),
            (self._deliver, (5, 25)),
            (self.compact, (0, 2, 8)),
            (self._merge, (0, 3)),
            (self._freeze, (0, 1, 3)),
            (self._wake, (1, 4)),
            (self._rebalance_workers, (1, 3, 6)),
            (self._rebalance_sinks, (8,) if self._setting.world.about_catalog else (1, 3)),
            (self._fail_a_producer, (0, 0, 1)),
            (self._hand_over_in_flight, (0, 2, 6)),
        ]
        return [happening for happening, choices in weights for _ in range(self._dice.one_of(choices))]

    def next_process(self) -> Process | None:
        """Whose turn it is; None if that one is frozen."""
        process: Process
        if self._favours:
            self._favours -= 1
            process = self._dice.one_of(self._favoured)
            if self._favours == 0:
                self._arrive()
        else:
            process = self._dice.one_of(self._setting.turns)
        return None if process.frozen else process

    def new_day(self) -> None:
        self._favours = 0

    def compact(self) -> None:
        setting = self._setting
        partition = self._dice.below(setting.world.partitions)
        setting.note(f"compaction of {partition}")
        setting.broker.compact(partition, upto_ms=setting.broker.now_ms - COMPACTION_LAG_MS, dice=self._dice)

    def freeze_in_the_middle(self, process: Process) -> None:
        """Where it hurts: in the middle of an effect; and sooner or later the group does without it."""
        setting = self._setting
        process.frozen = True
        setting.note(f"{process.name} is FROZEN in the middle")
        if self._dice.random() < 0.7:
            of_workers = isinstance(process, WorkerProcess)
            group = setting.workers_group if of_workers else setting.sinks_group
            of_group: Processes = setting.workers if of_workers else setting.sinks
            others = [other.member for other in of_group if other is not process and other.member in group.members]
            if others:
                self._new_generation(group, others)

    # ---- what is in the swarm

    def _send(self) -> None:
        partition = self._dice.below(self._setting.world.partitions + 1)
        for _ in range(self._dice.one_of((1, 1, 3, 8))):
            if not self._setting.send_next(partition):
                return

    def _deliver(self) -> None:
        # What a frozen process handed over mostly arrives when it wakes up.
        processes = self._setting.processes
        frozen = [process.session for process in processes if process.frozen and self._dice.random() < 0.5]
        waiting = [session for session in self._setting.sessions if session.under_way and session not in frozen]
        if waiting:
            self._setting.note("records arrive")
            self._dice.one_of(waiting).deliver()

    def _merge(self) -> None:
        self._setting.store.merge_somewhere(self._dice)

    def _freeze(self) -> None:
        process = self._dice.one_of(self._setting.processes)
        process.frozen = True
        self._setting.note(f"{process.name} is frozen")

    def _wake(self) -> None:
        process = self._dice.one_of(self._setting.processes)
        process.frozen = False
        self._setting.note(f"{process.name} is not frozen")

    def _fail_a_producer(self) -> None:
        session = self._dice.one_of(self._setting.processes).session
        if session is not None:
            session.failed = True

    def _rebalance_workers(self) -> None:
        self._rebalance(self._setting.workers_group, self._setting.workers)

    def _rebalance_sinks(self) -> None:
        self._rebalance(self._setting.sinks_group, self._setting.sinks)

    def _rebalance(self, group: Group, processes: Processes) -> None:
        """Members that do not answer are expelled, sooner or later; so are some that do."""
        answering = {process.member for process in processes if not process.frozen}
        staying = [member for member in group.members if self._dice.random() < (0.85 if member in answering else 0.3)]
        if staying:
            self._new_generation(group, staying)

    def _hand_over_in_flight(self) -> None:
        """An owner is frozen with records under way; its successor has begun when they arrive."""
        group = self._setting.workers_group
        awake = [worker for worker in self._setting.workers if not worker.frozen and worker.member in group.members]
        busy = [worker for worker in awake if worker.session is not None and worker.session.under_way]
        if not busy or len(awake) < 2:
            return
        frozen = self._dice.one_of(busy)
        frozen.frozen = True
        self._setting.note(f"{frozen.name} is FROZEN with records under way")
        self._favoured = [worker for worker in awake if worker is not frozen]
        self._favours = 3 * len(self._favoured)
        self._arriving = frozen.session
        self._new_generation(group, [worker.member for worker in self._favoured])

    def _arrive(self) -> None:
        if self._arriving is not None:
            self._setting.note("what was under way arrives")
            while self._arriving.under_way:
                self._arriving.deliver()

    def _new_generation(self, group: Group, members: list[Member]) -> None:
        group.rebalance(members, self._dice)
        self._setting.note(f"generation {group.generation}: {[member.name for member in members]}")
