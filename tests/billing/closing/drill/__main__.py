"""`python -m tests.billing.closing.drill`: a drill at full size, and what came of it."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.billing.closing.drill.campaign import Campaign, DrillFailed, rows_of
from tests.billing.closing.drill.growing_store import StoreEnded
from tests.billing.closing.drill.world import Size


def main() -> int:
    """0: every line and every hash is right. 1: the first differences are shown."""
    parser = argparse.ArgumentParser(prog="tests.billing.closing.drill", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--orgs", type=int, default=200, help="partners, and a quarter of them sub-partners")
    parser.add_argument("--late-per-mille", type=int, default=20, help="of the facts")
    parser.add_argument("--voided-per-mille", type=int, default=10, help="of the facts")
    parser.add_argument("--kills", type=int, default=5, help="while each month is closed")
    # Each invoice asks for the raw events of each partition by itself: more of them only take longer here.
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work in this empty folder, and leave it there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(highlight=False)
    size = Size(options.subscribers, options.orgs, options.seed, options.late_per_mille, options.voided_per_mille)
    with tempfile.TemporaryDirectory(prefix="rtmeter-drill-") as folder, console.status("starting") as status:

        def show(what: str) -> None:
            # Where there is no terminal a log is wanted, not a line that changes.
            status.update(what) if console.is_terminal else console.print(what, markup=False)

        campaign = Campaign(
            options.keep or Path(folder),
            size,
            options.kills,
            show,
            processes=os.cpu_count() or 1,
            partitions=options.partitions,
        )
        try:
            invoices = campaign.run()
        except (DrillFailed, StoreEnded) as failed:
            console.print(f"WRONG, seed {options.seed}:\n{failed}", markup=False)
            return 1
    table = Table("", "", title=f"seed {options.seed}")
    for name, value in rows_of(campaign, invoices):
        table.add_row(name, value)
    console.print(table)
    console.print("every invoice is the oracle's, and every hash is reproduced")
    return 0


if __name__ == "__main__":
    sys.exit(main())
