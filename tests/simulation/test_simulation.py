"""The real code under random faults: right at every seed, and each broken variant of it wrong at one of the same seeds."""

import os
import subprocess
import sys

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import simulate
from tests.simulation.sweep import WITHIN, Sweep, hunt, sweep

_PROCESSES = os.cpu_count() or 1

#: Prints a seed's whole trace.
_TRACE = "import sys; from tests.simulation.simulation import simulate; simulate(int(sys.argv[1]), show=print)"


def test_everything_comes_out_right_at_each_seed() -> None:
    done = Sweep()
    for part in sweep(0, WITHIN, _PROCESSES):
        done.add(part)
    assert done.failures == [], done.failures[0]
    assert done.seeds == WITHIN


@pytest.fixture(scope="module")
def caught() -> dict[str, tuple[int | None, str]]:
    """Each broken variant with the seeds that it needed, and what was seen."""
    return {name: (needed, seen) for name, needed, seen in hunt(_PROCESSES)}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_variant_is_caught(name: str, caught: dict[str, tuple[int | None, str]]) -> None:
    needed, seen = caught[name]
    assert needed is not None, f"the simulation does not notice in {WITHIN} seeds that {name}"
    # Not by a variant that does not even run.
    assert not any(error in seen for error in ("TypeError", "AttributeError", "NameError")), seen


def test_a_seed_is_the_same_to_the_letter_in_another_process() -> None:
    """Also where the hashes of strings differ, and after other seeds."""
    for seed in (3, 200):
        here: list[str] = []
        simulate(seed, show=here.append)
        for hash_seed in ("1", "2"):
            there = subprocess.run(
                [sys.executable, "-c", _TRACE, str(seed)],
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=True,
            )
            assert there.stdout.splitlines() == here
