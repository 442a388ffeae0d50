"""Fibers: synchronous code of several processes, of which exactly one runs, until it hands the baton on.

Each fiber is a thread that waits for its own lock; handing on is releasing another's lock and waiting for one's own.
So the code under test is the real, synchronous one, every hand-over is the seed's choice, and a switch takes some
microseconds. Threads are kept from seed to seed.
"""

import _thread
import threading
from collections.abc import Callable


class Fiber:
    """One thread of control. `run` gives it something to do; it ends when that returns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = True
        self._lock = _thread.allocate_lock()
        self._lock.acquire()
        self._work: Callable[[], None] | None = None
        self._after: Callable[[], Fiber] | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], None], after: Callable[[], "Fiber"]) -> None:
        """Have `work` done once the baton comes here; `after` says who gets the baton then. Neither may raise."""
        assert self.done
        self.done = False
        self._work, self._after = work, after
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)
            self._thread.start()

    def hand_to(self, other: "Fiber") -> None:
        """Give the baton to another fiber, and wait until it comes back."""
        if other is not self:
            other._lock.release()
            self._lock.acquire()

    def _live(self) -> None:
        while True:
            self._lock.acquire()
            assert self._work is not None
            assert self._after is not None
            self._work()
            self.done = True
            after = self._after()
            assert after is not self
            after._lock.release()
