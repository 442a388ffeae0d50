"""Measures that need a process of their own: run it, and read what it prints."""

import subprocess
import sys
import uuid
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from bench.broker import Record, RunTopics
from bench.limits import Limit
from bench.sides import ROOT, environment
from bench.state import Filled, Memory, Restored

_LONGEST_SECONDS = 900.0
Printed = TypeVar("Printed")


def decode_limit(events: int, passes: int) -> list[Limit]:
    """Decoding alone."""
    return _run("bench.limits", "decode", str(events), str(passes), printed=Limit)


def consume_limit(bootstrap: str, events: Sequence[Record], passes: int) -> list[Limit]:
    """Reading the events from the broker alone."""
    topics = _topics(bootstrap)
    try:
        topics.fill(events)
        return _run("bench.limits", "consume", bootstrap, topics.names.package_assignments, str(passes), printed=Limit)
    finally:
        topics.delete()


def memory(events: int) -> Memory:
    """Memory per subscriber of our state."""
    return _run("bench.state", "memory", str(events), printed=Memory)[0]


def restores(bootstrap: str, subscribers: int, passes: int) -> list[Restored]:
    """Restoring the state of that many subscribers, and at least one partition's last batch more."""
    topics = _topics(bootstrap)
    try:
        (filled,) = _run("bench.state", "fill", bootstrap, topics.prefix, str(subscribers), printed=Filled)
        restored = [
            _run("bench.state", "restore", bootstrap, topics.prefix, printed=Restored)[0] for _ in range(passes)
        ]
    finally:
        topics.delete()
    for one in restored:
        if (one.events, one.subscribers) != (filled.events, filled.subscribers):
            raise RuntimeError(f"written were {filled}, restored {one}")
    return restored


def _topics(bootstrap: str) -> RunTopics:
    topics = RunTopics(bootstrap, f"bench-{uuid.uuid4().hex[:8]}-")
    topics.create()
    return topics


def _run(module: str, *arguments: str, printed: type[Printed]) -> list[Printed]:
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment("", ""),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"{module} {arguments[0]} failed:\n{run.stderr.decode(errors='replace')[-4000:]}")
    return [msgspec.json.decode(line, type=printed) for line in run.stdout.splitlines()]
