"""Many seeds, in several processes: of the code as it is, and of its broken variants."""

import gc
import logging
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.simulation.mutants import MUTANTS, broken
from tests.simulation.simulation import Failure, simulate

#: Each broken variant is to be caught by one of so many seeds, and the right code passes all of them.
WITHIN = 2_000
_SEEDS_PER_TASK = 100
#: Of a failing seed so many of its last effects are shown.
_SHOWN = 60


@dataclass
class Sweep:
    """How many seeds were run, and the text of each failure."""

    seeds: int = 0
    effects: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Sweep") -> None:
        self.seeds += other.seeds
        self.effects += other.effects
        self.failures += other.failures


def be_quick() -> None:
    """What a process that simulates does first: every fault is logged by the code, and thrown away here."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def sweep(first: int, seeds: int, processes: int) -> Iterator[Sweep]:
    """Simulate these seeds, in parts as they are done."""
    parts = [
        (start, min(_SEEDS_PER_TASK, first + seeds - start)) for start in range(first, first + seeds, _SEEDS_PER_TASK)
    ]
    with multiprocessing.get_context("spawn").Pool(processes, initializer=be_quick) as pool:
        yield from pool.imap_unordered(_part, parts)


def hunt(processes: int) -> Iterator[tuple[str, int | None, str]]:
    """Each broken variant with the number of seeds until it was caught (None: it survived), and by what."""
    with multiprocessing.get_context("spawn").Pool(processes, initializer=be_quick) as pool:
        for name, found in zip(
            MUTANTS, pool.imap(partial(_hunt_one, within=WITHIN), MUTANTS, chunksize=1), strict=True
        ):
            yield name, *found


def shown(failure: Failure) -> str:
    """The failure of a seed, with its last effects, and how to see it again."""
    try:
        simulate(failure.seed, keep=_SHOWN)
    except Failure as again:
        effects = "\n".join(again.trace)
        return f"{effects}\n{again}\nagain, with all effects: make simulate SEED={failure.seed}"
    return f"{failure}\nand it does not fail again: something is not the seed's choice"


def _part(part: tuple[int, int]) -> Sweep:
    first, seeds = part
    done = Sweep()
    for seed in range(first, first + seeds):
        done.seeds += 1
        try:
            done.effects += simulate(seed)
        except Failure as failure:
            done.failures.append(shown(failure))
            return done
    return done


def _hunt_one(name: str, within: int) -> tuple[int | None, str]:
    with broken(name):
        for seed in range(within):
            try:
                simulate(seed)
            except Failure as failure:
                return seed + 1, str(failure)
    return None, ""
