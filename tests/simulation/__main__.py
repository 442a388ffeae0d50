"""Run seeds, replay one, or show that broken variants of the code are caught.

python -m tests.simulation run --seeds 200000
python -m tests.simulation replay 123
python -m tests.simulation mutants
"""

import argparse
import os
import sys
import time

from tests.simulation.simulation import Failure, simulate
from tests.simulation.sweep import WITHIN, Sweep, be_quick, hunt, sweep


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="many seeds; the first that fails is shown with its last effects")
    run.add_argument("--seeds", type=int, default=2_000)
    run.add_argument("--first", type=int, default=0)
    run.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    replay = commands.add_parser("replay", help="one seed, with all its effects")
    replay.add_argument("seed", type=int)
    mutants = commands.add_parser("mutants", help="how many seeds each broken variant needs")
    mutants.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.command == "run":
        return _run(asked.first, asked.seeds, asked.processes)
    if asked.command == "replay":
        return _replay(asked.seed)
    return _mutants(asked.processes)


def _run(first: int, seeds: int, processes: int) -> int:
    started = time.monotonic()
    done = Sweep()
    shown = started
    for part in sweep(first, seeds, processes):
        done.add(part)
        if part.failures:
            print(part.failures[0])
            break
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"{done.seeds:,} of {seeds:,} seeds, {done.seeds / (shown - started):,.0f} per second", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{done.seeds:,} seeds from {first} on, {done.effects:,} effects: {len(done.failures)} failed; "
        f"{seconds:,.1f} s, {done.seeds / seconds:,.0f} seeds per second with {processes} processes"
    )
    return 1 if done.failures else 0


def _replay(seed: int) -> int:
    be_quick()
    try:
        effects = simulate(seed, keep=1_000_000, show=print)
    except Failure as failure:
        print(failure)
        return 1
    print(f"seed {seed}: {effects} effects, all as it should be")
    return 0


def _mutants(processes: int) -> int:
    survivors = 0
    print(f"{'broken variant of the code':<80}{'seeds needed':>12}")
    for name, needed, _ in hunt(processes):
        survivors += needed is None
        print(f"{name:<80}{'SURVIVES' if needed is None else needed:>12}", flush=True)
    if survivors:
        print(f"{survivors} survive {WITHIN:,} seeds")
        return 1
    return _run(0, WITHIN, processes)


if __name__ == "__main__":
    sys.exit(main())
