"""`python -m tests.fuzz`: so many byte strings, on all cores; the rate, what came of them, and the slowest one."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.table import Table

from tests.fuzz.judged import Tally, judge_many, merged

_AT_ONCE = 5_000


def main() -> int:
    """0 when all held."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console(highlight=False)
    started = time.monotonic()
    tallies: list[Tally] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool, console.status("judging") as status:
        pieces = -(-options.count // _AT_ONCE)
        waiting = [pool.submit(judge_many, _AT_ONCE, 1_000_000 * options.seed + piece) for piece in range(pieces)]
        for done in as_completed(waiting):
            tallies.append(done.result())
            status.update(f"{len(tallies) * _AT_ONCE:,} of {options.count:,} judged")
    seconds = time.monotonic() - started
    found = merged(tallies)
    table = Table("outcome", "byte strings", title=f"seed {options.seed}")
    for outcome, count in found.outcomes.most_common():
        table.add_row(outcome, f"{count:,}")
    console.print(table)
    console.print(
        f"{found.outcomes.total():,} byte strings in {seconds:,.0f} s, {found.outcomes.total() / seconds:,.0f}/s; "
        f"the slowest took {1000 * found.slowest_seconds:.1f} ms ({found.slowest_bytes:,} bytes)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
