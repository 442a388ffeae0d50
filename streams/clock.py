"""The clock of this machine."""

import time


def clock_ms() -> int:
    """Milliseconds since the epoch: what append times are compared with."""
    return time.time_ns() // 1_000_000
