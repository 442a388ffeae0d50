"""The store of the benchmark, in a process of its own, as a sink has it: it answers reads, and exports by itself.

`python -m bench.reports.engine FOLDER SUBSCRIBERS OTHERS` makes the data and says `ready`; then each line of its
standard input is a statement in JSON, answered with the seconds that it took.
"""

import sys
import time
from pathlib import Path

import msgspec

from bench.reports.data import Size, fill
from billing.queries import Query
from sinks.migrations import Placement, migrate
from sinks.store import open_embedded
from sinks.store_server import serve


def main(data_dir: Path, size: Size) -> None:
    """Serve until standard input ends."""
    folder = data_dir / "store"
    with open_embedded(folder) as store:
        migrate(store, Placement())
        fill(store, size, lambda what: print(f"    {what}", file=sys.stderr, flush=True))
        server = serve(store, folder)
        print("ready", flush=True)
        for line in sys.stdin:
            query = msgspec.json.decode(line, type=Query)
            began = time.perf_counter()
            store.command(query.sql, query.parameters)
            print(time.perf_counter() - began, flush=True)
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Size(int(sys.argv[2]), int(sys.argv[3])))
