"""One simulation: a world, a schedule full of faults, a healing, and the question whether all came out right.

A day at a time: some steps in which everything happens to everybody, then a quiet moment in which whoever owns a
partition looks after its log, then the clock goes on by less than the compaction lag. That an owner looks within the
lag is what the design asks of its operators; nothing else is promised to the code.
At the end the faults stop. Everything must then come out, twice: in the store as it is, and in an empty one that is
filled from logs that were compacted as far as they can be, by workers that restored their state from them.
"""

from collections.abc import Callable

from tests.simulation.baton import Fiber
from tests.simulation.check import Difference
from tests.simulation.dice import Dice
from tests.simulation.happenings import Happenings, Processes
from tests.simulation.kafka import COMPACTION_LAG_MS, Group, Session
from tests.simulation.processes import Crash, Process
from tests.simulation.setting import Setting, Trace
from tests.simulation.store import MemoryStore, Violation
from tests.simulation.world import LAST_ARRIVAL_MS, world

#: Seeds that share a world: the oracle takes longer than a schedule.
SEEDS_PER_WORLD = 25
#: More effects than any simulation that makes progress has.
_MOST_EFFECTS = 60_000
_ROUNDS = 5

#: Kept from seed to seed.
_FIBERS = [Fiber(f"process {number}") for number in range(5)]
_MAIN = Fiber("main")


class _Over(BaseException):
    """The simulation is over: end this fiber."""


class Failure(Exception):
    """A seed at which something is wrong."""

    def __init__(self, seed: int, cause: BaseException, trace: list[str]) -> None:
        super().__init__(f"seed {seed}: {type(cause).__name__}: {cause}")
        self.seed = seed
        self.cause = cause
        self.trace = trace


def simulate(seed: int, *, keep: int = 0, show: Callable[[str], None] | None = None) -> int:
    """Run one seed; how many effects it had. `Failure` with the last `keep` lines of its trace; `show` hears all."""
    trace = Trace(keep, show)
    simulation = Simulation(seed, trace)
    try:
        simulation.run()
    except Exception as cause:
        raise Failure(seed, cause, list(trace.lines)) from cause
    finally:
        simulation.end()
    return trace.effects


class Simulation:
    """The scheduler. It is the `Fate` of the processes."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.rng = dice = Dice(seed)
        self.calm = False
        self._trace = trace
        self._random = dice.random
        self._over = False
        self._failure: BaseException | None = None
        # How many picks the day has left.
        self._budget = 0
        self._crash = dice.one_of((0.0, 0.002, 0.01, 0.03))
        self._stay = 1 - dice.one_of((0.05, 0.15, 0.4))
        self._freeze_here = dice.one_of((0.0, 0.02, 0.1, 0.2))
        self._picks_a_day = dice.one_of(((50,), (110,), (4, 20, 80), (4, 4, 140)))
        self._setting = Setting(world(seed // SEEDS_PER_WORLD), dice, self, trace)
        self._happenings = Happenings(self._setting)
        self._swarm = self._happenings.swarm()
        self._fibers = dict(zip(self._setting.processes, _FIBERS))

    def run(self) -> None:
        """The whole of it. Violation or Difference, or whatever the code under test raises and should not."""
        setting = self._setting
        for process, fiber in self._fibers.items():
            fiber.run(lambda process=process: self._live(process), lambda: _MAIN)  # type: ignore[misc]
        further_days = self.rng.one_of((0, 0, 3))
        while setting.broker.now_ms < LAST_ARRIVAL_MS or further_days > 0:
            further_days -= setting.broker.now_ms >= LAST_ARRIVAL_MS
            self._day()
            self._settle()
            setting.clock_goes_on(round(COMPACTION_LAG_MS * (0.5 + 0.47 * self._random())))
            # Now there is more to compact than at any other time of the day.
            if self._random() < 0.5:
                self._happenings.compact()
        self._day()
        self._heal()
        if self._random() < 0.5:
            self._begin_anew()

    def end(self) -> None:
        """Leave no fiber behind."""
        self._over = True
        for fiber in self._fibers.values():
            while not fiber.done:
                _MAIN.hand_to(fiber)

    # ---- what processes ask

    def effect(self, process: Process, what: str) -> None:
        trace = self._trace
        trace.effects += 1
        if trace.on:
            trace.note(f"{process.name} {what}")
        if self._over:
            raise _Over
        if self.calm:
            if trace.effects > _MOST_EFFECTS:
                raise Violation("no progress: this goes on for ever")
            return
        pick = self._random()
        if pick < self._crash:
            trace.note(f"{process.name} CRASHES")
            raise Crash
        if pick > self._stay:
            if self._random() < self._freeze_here:
                self._happenings.freeze_in_the_middle(process)
            self._hand_on(process)

    def idle(self, process: Process) -> None:
        if self._over:
            raise _Over
        if not self.calm:
            self._hand_on(process)
        while self.calm and process.order is None:
            self._fibers[process].hand_to(_MAIN)
            if self._over:
                raise _Over

    def new_session(self, process: Process) -> Session:
        self._trace.note(f"{process.name} starts")
        session = Session(self._setting.broker, self.rng, lambda what: self.effect(process, what))
        self._setting.sessions.append(session)
        return session

    # ---- fibers

    def _live(self, process: Process) -> None:
        try:
            process.live()
        except _Over:
            pass
        except BaseException as failure:
            self._failure = failure

    def _hand_on(self, process: Process) -> None:
        self._fibers[process].hand_to(self._pick())
        if self._over:
            raise _Over

    def _pick(self) -> Fiber:
        """Let things happen until it is a process's turn, or the day is over."""
        swarm = self._swarm
        count = len(swarm)
        while self._budget > 0:
            self._budget -= 1
            happening = swarm[int(self._random() * count)]
            if happening is not None:
                happening()
                continue
            process = self._happenings.next_process()
            if process is not None and not self._fibers[process].done:
                return self._fibers[process]
        return _MAIN

    def _run_fiber(self, fiber: Fiber) -> None:
        _MAIN.hand_to(fiber)
        if self._failure is not None:
            raise self._failure

    def _day(self) -> None:
        """So many picks of everything."""
        self.calm = False
        self._happenings.new_day()
        self._budget = self.rng.one_of(self._picks_a_day)
        self._run_fiber(self._pick())
        self.calm = True

    # ---- quiet times

    def _settle(self) -> None:
        """Whoever is awake shares the partitions, and looks after their logs."""
        setting = self._setting
        if all(worker.frozen for worker in setting.workers):
            self.rng.one_of(setting.workers).frozen = False
        awake = [worker for worker in setting.workers if not worker.frozen]
        owned: list[int] = []
        for _ in range(_ROUNDS):
            self._share(setting.workers_group, awake)
            for worker in awake:
                self._order(worker, worker.settle)
            # Who crashed in the middle does not own what was assigned to it.
            owned = sorted(partition for worker in awake for partition in worker.owned)
            if owned == list(range(setting.world.partitions)):
                return
        raise Difference(f"partitions {owned} are owned, of {setting.world.partitions}")

    def _share(self, group: Group, processes: Processes) -> None:
        """Each finishes what it is at; then a new generation of all of them."""
        for process in processes:
            self._order(process, _nothing)
        group.rebalance([process.member for process in processes], self.rng)
        self._trace.note(f"generation {group.generation}: {[process.name for process in processes]}, in quiet")

    def _let_in(self, group: Group, processes: Processes) -> None:
        """Those that had to start anew are members again."""
        awake = [process for process in processes if not process.frozen]
        if any(process.member not in group.assigned for process in awake):
            self._share(group, awake)  # type: ignore[arg-type]

    def _order(self, process: Process, order: Callable[[], None]) -> None:
        """Have an order carried out; a process that had to start anew before it gets it again."""
        done: list[bool] = []

        def carry_out() -> None:
            order()
            done.append(True)

        for _ in range(_ROUNDS):
            process.order = carry_out
            self._run_fiber(self._fibers[process])
            if done:
                return
        raise Violation(f"{process.name} does not carry out what it should")

    def _wake_all(self) -> None:
        for process in self._setting.processes:
            process.frozen = False
            self._order(process, _nothing)

    # ---- the end

    def _heal(self) -> None:
        """The faults stop: the store comes out right, and once more when the last frozen ones have woken up."""
        setting = self._setting
        setting.note("HEALING")
        if self._random() < 0.5:
            self._wake_all()
        if all(sink.frozen for sink in setting.sinks):
            setting.sinks[0].frozen = False
        for partition in range(setting.world.partitions + 1):
            while setting.send_next(partition):
                pass
        self._catch_up()
        setting.check()
        if any(process.frozen for process in setting.processes) or any(s.under_way for s in setting.sessions):
            setting.note("THE LAST ONES WAKE UP")
            self._wake_all()
            for session in setting.sessions:
                while session.under_way:
                    session.deliver()
            self._catch_up()
            setting.check()

    def _begin_anew(self) -> None:
        """From logs as short as they can be: states restored by new workers, an empty store filled by new sinks."""
        setting = self._setting
        setting.note("ANEW")
        setting.clock_goes_on(2 * COMPACTION_LAG_MS)
        for partition in range(setting.world.partitions):
            setting.broker.compact(partition, upto_ms=setting.broker.now_ms)
        setting.store = MemoryStore()
        for process in setting.processes:
            process.order = _crash
            self._run_fiber(self._fibers[process])
        self._catch_up()
        setting.check()

    def _catch_up(self) -> None:
        """Liveness: in a few rounds nothing is left to do."""
        setting = self._setting
        self._settle()
        self._share(setting.sinks_group, [sink for sink in setting.sinks if not sink.frozen])
        for _ in range(_ROUNDS):
            for process in setting.processes:
                if not process.frozen:
                    self._order(process, process.catch_up)
            self._let_in(setting.workers_group, setting.workers)
            self._let_in(setting.sinks_group, setting.sinks)
            if setting.lag() == 0:
                return
        raise Difference(f"after {_ROUNDS} rounds there is a lag of {setting.lag()} records")


def _nothing() -> None:
    """What a process is at, it finishes before any order."""


def _crash() -> None:
    raise Crash
