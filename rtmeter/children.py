"""Child processes of `rtmeter up`: started, watched, started again when they die, ended by their own process id."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rtmeter.owned import owned_command

logger = logging.getLogger(__name__)

#: A child that fails by itself this often within the window will not get better by another try.
_FAILURES = 5
_FAILURE_WINDOW_SECONDS = 60.0
_RESTART_SECONDS = 0.5
_STOP_SECONDS = 60.0


class ChildFailed(Exception):
    """A part of the pipeline does not stay up: stop, and show its last words."""


class Child:
    """One part of the pipeline as a process of its own, with its log in a file."""

    def __init__(
        self, name: str, arguments: list[str], log: Path, pid_file: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._log = log
        self._pid_file = pid_file
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._failures: list[float] = []
        self._start_again_at = 0.0

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                # It ends with us even if we are killed, and does not get the terminal's Ctrl-C.
                owned_command([sys.executable, "-m", "rtmeter", *self._arguments]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Whoever runs it all on one machine reads the logs himself.
                env={"RTMETER_LOG_FORMAT": "text", **os.environ, **self._environment, "MALLOC_ARENA_MAX": "2"},
            )
        self._pid_file.write_text(f"{self._process.pid}\n")

    def watch(self) -> None:
        """Start it again if it has died. ChildFailed when it keeps failing by itself (a kill is no failure)."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return
        if not self._start_again_at:
            logger.warning("%s ended with exit code %d, starting it again", self.name, code)
            self._start_again_at = time.monotonic() + _RESTART_SECONDS
            if code > 0:
                now = time.monotonic()
                self._failures = [at for at in self._failures if now - at < _FAILURE_WINDOW_SECONDS] + [now]
                if len(self._failures) >= _FAILURES:
                    raise ChildFailed(
                        f"{self.name} failed {_FAILURES} times in a row; its log is {self._log}. "
                        f"Its last words:\n{self.last_words()}"
                    )
        elif time.monotonic() >= self._start_again_at:
            self._start_again_at = 0.0
            self.start()

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            # A frozen process cannot hear it.
            self._process.send_signal(signal.SIGCONT)

    def wait_for_end(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.error("%s does not stop, killing it: its state is in the log", self.name)
                self._process.kill()
                self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    def last_words(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def end_all(children: Sequence[Child]) -> None:
    """Ask them to stop, in their order, and wait until each has ended."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait_for_end()


def stop_requested() -> threading.Event:
    """An event that SIGINT and SIGTERM set; a second Ctrl-C interrupts at once."""
    event = threading.Event()

    def on_signal(number: int, _: object) -> None:
        event.set()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return event
