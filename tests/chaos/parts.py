"""The processes of the pipeline, each of which may be killed or frozen at any moment and comes back."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rtmeter.owned import owned_command

_RESTART_SECONDS = 0.5
_STOP_SECONDS = 60


class Part:
    """One process that is started again whenever it ends, until it is asked to stop."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.ends: list[int] = []
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = threading.Event()
        self._changing = threading.Lock()
        self._keeper: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run it, and keep it running."""
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """Ask it to end in good order, and see that it does; by force if it does not."""
        self._wanted.clear()
        with self._changing:
            process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._keeper is not None:
            self._keeper.join(_STOP_SECONDS)

    def kill(self) -> bool:
        """SIGKILL; whether there was anything to kill."""
        return self._signal(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[bool]:
        """SIGSTOP, until the end of the block; whether there was anything to freeze."""
        with self._changing:
            process = self._process
        frozen = self._signal(signal.SIGSTOP)
        try:
            yield frozen
        finally:
            # That very process, not one that took its place.
            if frozen and process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> bool:
        with self._changing:
            if not self.running:
                return False
            assert self._process is not None
            self._process.send_signal(number)
            return True

    def _keep(self) -> None:
        # The kernel ends the child with the thread that started it: this one outlives it.
        while self._wanted.is_set():
            with self.log.open("ab") as output, self._changing:
                self._process = subprocess.Popen(
                    owned_command(self._command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                )
            self.ends.append(self._process.wait())
            if self._wanted.is_set():
                time.sleep(_RESTART_SECONDS)


def rtmeter(*arguments: str) -> list[str]:
    """The command line of a part."""
    return [sys.executable, "-m", "rtmeter", *arguments]
