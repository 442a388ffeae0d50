"""What a process and its children have used, from Linux's /proc."""

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """`cpu_seconds`: user and system, of the process, its living children and those that it has waited for.

    `peak_bytes`: the largest resident memory of each, added up.
    """

    cpu_seconds: float
    peak_bytes: int


def usage(pid: int) -> Usage:
    """What the process and its children have used so far; nothing when it has ended."""
    ticks = peak = 0
    for member in _family(pid):
        try:
            # After the name, which may hold anything but is closed by the last parenthesis.
            stat = Path(f"/proc/{member}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            status = Path(f"/proc/{member}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        ticks += sum(int(field) for field in stat[11:15])  # utime, stime, cutime, cstime
        peak += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0) * 1024
    return Usage(ticks / _TICKS_PER_SECOND, peak)


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_BYTES


def _family(pid: int) -> list[int]:
    """The process and its living descendants."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += [int(child) for child in children.read_text(encoding="utf-8").split()]
            except OSError:
                continue
    return members
