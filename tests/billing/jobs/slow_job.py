"""A process that makes reports slowly: `python -m tests.billing.jobs.slow_job URL FOLDER WORKER PIECES SECONDS LEASE_MS`.

It says `writing` when it has begun to write one, so that a test can end it in the middle.
"""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from billing.jobs.reports import ReportCategory
from billing.jobs.runner import JobRunner, RunnerSettings
from billing.relational.connect import open_engine


class NoStore:
    """The reports of this process need none."""

    def close(self) -> None: ...


def main(url: str, folder: str, worker: str, pieces: int, seconds: float, lease_ms: int) -> None:
    def export(store: Any, request: Any) -> Iterator[bytes]:
        for number in range(pieces):
            yield f"{number}\r\n".encode()
            if number == 0:
                print("writing", flush=True)
            time.sleep(seconds)

    runner = JobRunner(
        ReportRegister(open_engine(url), lambda: time.time_ns() // 1_000_000),
        ReportFiles(folder),
        NoStore,  # type: ignore[arg-type]
        RunnerSettings(worker, lease_ms=lease_ms, idle_seconds=0.05),
        exports={ReportCategory.RECONCILIATION: export},
        notes=lambda store, request: [],
    )
    runner.run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
