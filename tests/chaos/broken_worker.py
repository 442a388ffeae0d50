"""The negative control: a worker whose ledger writes the watermark (step 4) before the records (step 2).

It dies between the two, now and then, as a real one may: then the records are lost, and the checks must see it. Run as
`python -m tests.chaos.broken_worker BOOTSTRAP FOLDER`; FOLDER counts its deaths, so that they come to an end.
"""

import os
import signal
import sys
from pathlib import Path

from streams.core.partition import Applied
from streams.ledger import Ledger, _Owned
from streams.worker import Worker, WorkerSettings

DEATHS = 4
_RUNS_BETWEEN_DEATHS = 5


class WatermarkFirst(Ledger):
    """Step 4 before step 2."""

    deaths_in: Path
    _runs = 0

    def _write(self, partition: int, owned: _Owned, applied: Applied) -> None:
        self._write_watermark(partition, owned, applied.watermark)
        self._log.wait()
        self._runs += 1
        if self._runs % _RUNS_BETWEEN_DEATHS == 0 and applied.entitlements:
            deaths = len(list(self.deaths_in.glob("death-*")))
            if deaths < DEATHS:
                (self.deaths_in / f"death-{deaths}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        super()._write(partition, owned, applied)


def main(bootstrap_servers: str, folder: Path) -> int:
    worker = Worker(WorkerSettings(bootstrap_servers, close_days=False))
    worker._ledger.__class__ = WatermarkFirst
    worker._ledger.deaths_in = folder  # type: ignore[attr-defined]
    return worker.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
