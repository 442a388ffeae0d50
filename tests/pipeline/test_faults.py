"""Killed and frozen processes change no number: the reports are those of the files, byte for byte."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rtmeter.options import now_ms
from tests.oracle.random_month import random_month
from tests.pipeline.harness import Installation, expected_reports

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

KILLS = 8
FREEZE_SECONDS = 15
PIECES = 12
PARTS = ("worker-1", "worker-2", "sink")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def test_kills_and_a_freeze_change_no_number(tmp_path: Path) -> None:
    rng = random.Random(77)
    catalog, events = random_month(rng, customers=150, events=24_000)
    lines = [*catalog, *(line for line in events if line and b"\n" not in line)]
    installation = Installation(tmp_path / "data")
    pieces = [tmp_path / f"piece-{n}.jsonl" for n in range(PIECES)]
    for n, piece in enumerate(pieces):
        start, stop = n * len(lines) // PIECES, (n + 1) * len(lines) // PIECES
        piece.write_bytes(b"\n".join(lines[start:stop]) + b"\n")

    pipeline = installation.start("up", "--workers", "2")
    killed: list[str] = []
    try:
        wait_until(lambda: all(installation.pid(part) for part in PARTS), 60, "all parts are up")
        done = threading.Event()
        faults = threading.Thread(target=_faults, args=(installation, rng, killed, done))
        faults.start()
        for n, piece in enumerate(pieces):
            installation.run("emit", "--raw", str(piece))
            if n == PIECES // 2:
                installation.run("close-day", "--through", "2026-10-20")
        faults.join(300)
        assert not faults.is_alive()
    finally:
        pipeline.send_signal(signal.SIGTERM)
        _, said = pipeline.communicate(timeout=120)
    assert pipeline.returncode == 0, said.decode()
    assert len(killed) >= 6, killed
    assert "sink" in killed

    installation.run("close-day", "--through", "2026-11-14")
    installation.drain("--workers", "2")
    assert installation.reports() == expected_reports(lines, now_ms())


def _faults(installation: Installation, rng: random.Random, killed: list[str], done: threading.Event) -> None:
    """Kill parts at random moments, and freeze a worker long enough to lose its partitions and come back."""
    frozen = False
    order = ["sink", "worker-1"] + [rng.choice(PARTS) for _ in range(KILLS - 2)]
    for part in order:
        done.wait(rng.uniform(1.0, 5.0))
        pid = installation.pid(part)
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.append(part)
            except ProcessLookupError:
                pass
        if len(killed) == KILLS // 2 and not frozen:
            frozen = True
            pid = installation.pid("worker-2")
            if pid is not None:
                try:
                    os.kill(pid, signal.SIGSTOP)
                    done.wait(FREEZE_SECONDS)
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass


def test_an_interrupted_pipeline_leaves_no_process(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    pipeline = installation.start("up")
    try:
        wait_until(lambda: all(installation.pid(part) for part in ("worker-1", "sink")), 60, "all parts are up")
        pids = [installation.pid(part) for part in ("worker-1", "sink")]
    finally:
        pipeline.send_signal(signal.SIGINT)
        _, said = pipeline.communicate(timeout=120)
    assert pipeline.returncode == 0, said.decode()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_parts_end_with_a_killed_pipeline(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    pipeline = installation.start("up")
    wait_until(lambda: all(installation.pid(part) for part in ("worker-1", "sink")), 60, "all parts are up")
    pids = [installation.pid(part) for part in ("worker-1", "sink")]
    pipeline.send_signal(signal.SIGKILL)
    pipeline.wait()
    for pid in pids:
        wait_until(lambda pid=pid: not _alive(pid), 20, f"process {pid} has ended")  # type: ignore[misc]


def _alive(pid: int) -> bool:
    # A zombie of a killed parent is reaped by init: no longer a process that does anything.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
