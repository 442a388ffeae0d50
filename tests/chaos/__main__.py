"""`python -m tests.chaos`: a campaign, its negative control, and what came of both."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.campaign import Campaign, Done, Plan, rows_of
from tests.chaos.checks import ChecksFailed
from tests.chaos.input import Load


def main() -> int:
    """0: every number is right, and the broken worker was found out."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--freezes", type=int, default=20)
    parser.add_argument("--broker-restarts", type=int, default=3)
    parser.add_argument("--seconds-between-faults", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(highlight=False)
    load = Load(options.events, options.seed)
    plan = Plan(
        load,
        options.kills,
        options.freezes,
        options.broker_restarts,
        seconds_between_faults=options.seconds_between_faults,
    )
    right = _run(plan, options.keep, console, "every number is right")
    control = _run(broken(options.seed), None, console, "the broken worker was NOT found out")
    if control:
        console.print("the checks cannot fail", style="red")
    return 0 if right and not control else 1


def broken(seed: int) -> Plan:
    """The negative control: no faults but the broken worker's own deaths."""
    return Plan(Load(6_000, seed), kills=0, freezes=0, broker_restarts=0, drain_seconds=120, broken_worker=True)


def _run(plan: Plan, keep: Path | None, console: Console, verdict: str) -> bool:
    """Whether the checks passed."""
    started = time.monotonic()
    accounts = None
    with tempfile.TemporaryDirectory(prefix="rtmeter-chaos-") as folder, console.status("starting") as status:

        def show(done: Done) -> None:
            status.update(
                f"{done.phase}: {done.sent:,} of {plan.load.events:,} sent, {done.workers} workers, {done.kills} kills, "
                f"{done.freezes} freezes, {done.broker_restarts} broker restarts, {time.monotonic() - started:,.0f} s"
            )

        campaign = Campaign(keep or Path(folder), plan, show)
        try:
            accounts = campaign.run()
        except ChecksFailed as wrong:
            verdict = f"found out: {wrong}" if plan.broken_worker else f"WRONG: {wrong}"
        except TimeoutError as late:
            verdict = f"it does not come to an end: {late}"
    table = Table(
        "", "", title="negative control: step 4 before step 2" if plan.broken_worker else f"seed {plan.load.seed}"
    )
    for name, value in rows_of(campaign.done, accounts, time.monotonic() - started):
        table.add_row(name, value)
    console.print(table)
    console.print(verdict, markup=False)
    return accounts is not None


if __name__ == "__main__":
    sys.exit(main())
