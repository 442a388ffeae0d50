"""Two of our workers that share the partitions, as one process: `python -m bench.two_workers BOOTSTRAP PREFIX`."""

import signal
import subprocess
import sys

from bench.sides import OUR_WORKER


def main() -> int:
    """The exit code: that of the first that ended badly, or 0."""
    workers = [subprocess.Popen([sys.executable, "-c", OUR_WORKER, *sys.argv[1:]]) for _ in range(2)]
    signal.signal(signal.SIGTERM, lambda *_: [worker.terminate() for worker in workers])
    return max(abs(worker.wait()) for worker in workers)


if __name__ == "__main__":
    sys.exit(main())
