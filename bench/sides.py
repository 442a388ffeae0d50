"""The sides that are compared: how each is started, which group it reads with, and how its output reads."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import quix_env
from bench.broker import PARTITIONS
from bench.reference import Held
from schemas.entitlements import PACKAGE, decode_key, decode_subscriber

ROOT = Path(__file__).resolve().parent.parent

OUR_WORKER = """
import sys
from streams.worker import Worker, WorkerSettings
sys.exit(Worker(WorkerSettings(sys.argv[1], sys.argv[2], close_days=False)).run())
"""


@dataclass(frozen=True)
class Side:
    """One side. `most_events`: a slow one is given fewer, the first ones of the same events.

    `command` takes bootstrap servers and topic prefix; `read_output` takes a record of `entitlements` and gives
    its subscriber and intervals, or None for a record about something else.
    """

    name: str
    title: str
    most_events: int
    group: str
    command: Callable[[str, str], list[str]]
    read_output: Callable[[bytes, bytes], tuple[str, tuple[Held, ...]] | None]


def environment(bootstrap: str, prefix: str) -> dict[str, str]:
    """The environment of a side's process; the peers read their settings from it."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BENCH_BOOTSTRAP": bootstrap,
        "BENCH_PREFIX": prefix,
        "BENCH_PARTITIONS": str(PARTITIONS),
    }


def _read_ours(key: bytes, value: bytes) -> tuple[str, tuple[Held, ...]] | None:
    owner = decode_key(key)
    if owner is None or owner.subscriber_id is None:
        return None
    intervals = decode_subscriber(value).intervals
    return owner.subscriber_id, tuple(
        Held(interval.item, interval.start_ms, interval.end_ms) for interval in intervals if interval.slot == PACKAGE
    )


def _read_peer(key: bytes, value: bytes) -> tuple[str, tuple[Held, ...]] | None:
    return key.decode(), tuple(Held(*interval) for interval in json.loads(value)["intervals"])


def _our_command(bootstrap: str, prefix: str) -> list[str]:
    return [sys.executable, "-c", OUR_WORKER, bootstrap, prefix]


def _two_workers_command(bootstrap: str, prefix: str) -> list[str]:
    return [sys.executable, "-m", "bench.two_workers", bootstrap, prefix]


def _faust_command(bootstrap: str, prefix: str) -> list[str]:
    # Without its web server: its fixed port may be taken, and nobody asks it.
    return [
        sys.executable, "-m", "faust", "-A", "bench.peers.faust_documented",
        "worker", "--without-web", "--loglevel", "warn",
    ]  # fmt: skip


def _quix_command(bootstrap: str, prefix: str) -> list[str]:
    return [str(quix_env.python()), "-m", "bench.peers.quix_documented"]


def all_sides() -> list[Side]:
    """The sides in the order of their turns; ours first, because the others are compared with it."""
    return [
        Side("ours", "rtmeter worker", sys.maxsize, "rtmeter-worker", _our_command, _read_ours),
        Side("two", "rtmeter, two workers", sys.maxsize, "rtmeter-worker", _two_workers_command, _read_ours),
        Side("faust", f"Faust {version('faust-streaming')}, as documented", 60_000, "faust",
             _faust_command, _read_peer),
        Side("quix", f"Quix Streams {quix_env.version()}, as documented", 200_000, "quix",
             _quix_command, _read_peer),
    ]  # fmt: skip
