"""One campaign: events flow, and meanwhile everything that can break is broken; then all is drained and checked.

The faults go by a plan that the seed draws: kills of workers and sink, freezes longer than the session's time-out, one
worker to three and back, the broker stopped and started, the store's disk full. Everything is bounded in count and time,
and every process is ended by its own handle, also on Ctrl-C.
"""

import contextlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException
from msgspec import Struct

from rtmeter.emit import Emitter
from rtmeter.installation import Installation
from rtmeter.kafka_server import EmbeddedKafka
from rtmeter.lines import FileLine
from rtmeter.options import now_ms
from rtmeter.progress import ProgressReader
from schemas.instants import day_number
from sinks.positions import stored_positions
from sinks.store import StoreFailed, StoreUnavailable, open_for_reading, open_while_sinking
from streams.close_day import close_days
from streams.log import LogFailed
from streams.topics import create_topics
from tests.chaos.checks import Accounts, check, digest
from tests.chaos.input import Load, catalog_lines, event_lines
from tests.chaos.parts import Part, rtmeter
from tests.chaos.small_disk import DiskNotMade, SmallDisk, small_disk

PARTITIONS = 6
_FREEZE_SECONDS = 13.0
_BROKER_DOWN_SECONDS = 4.0
_FULL_SECONDS = 60.0
_CANNOT_STORE = b"cannot be stored, trying again"
_LINES_PER_PIECE = 2_000
_LAST_DAY = "2026-11-14"


class Plan(Struct, frozen=True):
    """How much is broken, and for how long it may take in all."""

    load: Load
    kills: int
    freezes: int
    broker_restarts: int
    most_workers: int = 3
    seconds_between_faults: float = 4.0
    disk_mb: int = 6_000
    drain_seconds: float = 900.0
    broken_worker: bool = False


class Done(Struct):
    """What was broken so far."""

    sent: int = 0
    kills: int = 0
    freezes: int = 0
    broker_restarts: int = 0
    disk_full: int = 0
    workers: int = 1
    left_out: str = ""
    phase: str = "starting"


class Campaign:
    """A running campaign in a folder. `show` hears what was done, about twice a second."""

    def __init__(self, folder: Path, plan: Plan, show: Callable[[Done], None]) -> None:
        self.done = Done()
        self._plan = plan
        self._show = show
        self._rng = random.Random(plan.load.seed)
        self._folder = folder
        self._installation = Installation(folder, None, "")
        self._broker = EmbeddedKafka(self._installation.kafka_folder)
        self._sent: Counter[bytes] = Counter()
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> Accounts:
        """The whole of it. ChecksFailed when a number is wrong; TimeoutError when it does not come to an end."""
        with contextlib.ExitStack() as ending:
            disk = self._disk(ending)
            ending.callback(self._broker.stop)
            servers = self._broker.start()
            create_topics(servers, partitions=PARTITIONS)
            catalog = catalog_lines(self._plan.load)
            self._emitter = Emitter(servers, self._installation.names)
            self._emit(catalog)
            sink = self._part("sink", rtmeter("sink", *self._options(servers)), ending)
            first = self._part("worker-1", self._worker(servers), ending)
            ending.callback(self._stop.set)
            sender = threading.Thread(target=self._send, args=(servers,), name="sender", daemon=True)
            sender.start()
            self._break_things(servers, sink, [first], disk, ending, sender)
            self.done.phase = "sending the rest"
            while sender.is_alive():
                self._look(sender)
            self.done.phase = "draining"
            self._closing(servers, _LAST_DAY)
            self._drain(servers)
            ended = [part.stop for part in (first, sink)]
            for stop in ended:
                stop()
            self.done.phase = "checking"
            self._show(self.done)
            store = open_for_reading(None, self._installation.store_folder)
            try:
                return check(store, servers, self._installation.names, catalog, self._sent)
            finally:
                store.close()

    # ---- parts

    def _disk(self, ending: contextlib.ExitStack) -> SmallDisk | None:
        try:
            return ending.enter_context(small_disk(self._installation.store_folder, self._plan.disk_mb))
        except DiskNotMade as reason:
            self.done.left_out = f"the full disk: {reason}"
            return None

    def _part(self, name: str, command: list[str], ending: contextlib.ExitStack) -> Part:
        part = Part(name, command, self._folder / f"{name}.log")
        part.start()
        ending.callback(part.stop)
        return part

    def _options(self, servers: str) -> list[str]:
        return ["--bootstrap-servers", servers, "--data-dir", str(self._folder)]

    def _worker(self, servers: str) -> list[str]:
        if self._plan.broken_worker:
            return [sys.executable, "-m", "tests.chaos.broken_worker", servers, str(self._folder)]
        return rtmeter("worker", "--no-close-days", *self._options(servers))

    # ---- sending

    def _send(self, servers: str) -> None:
        try:
            piece: list[bytes] = []
            pieces = 0
            seconds = self._plan.seconds_between_faults * (self._plan.kills + self._plan.freezes)
            pause = 0.7 * seconds * _LINES_PER_PIECE / self._plan.load.events
            of_all = max(1, self._plan.load.events // _LINES_PER_PIECE)
            for line in event_lines(self._plan.load):
                piece.append(line)
                if len(piece) == _LINES_PER_PIECE:
                    self._emit(piece)
                    piece = []
                    pieces += 1
                    # Days are closed while facts about them are still on their way.
                    if pieces % max(1, of_all // 5) == 0:
                        self._closing(servers, f"2026-10-{min(28, 1 + 25 * pieces // of_all):02d}")
                    self._stop.wait(pause)
                if self._stop.is_set():
                    return
            self._emit(piece)
        except BaseException as failure:
            self._failure = failure

    def _emit(self, lines: list[bytes]) -> None:
        """Whoever sends waits for a broker that is away: its producer does."""
        wrapped = [FileLine("chaos", number, line) for number, line in enumerate(lines, start=1)]
        self._emitter.emit(wrapped, raw=True, now_ms=now_ms, advance=lambda _: None)
        if self.done.phase != "starting":
            self._sent.update(map(digest, lines))
            self.done.sent += len(lines)

    def _closing(self, servers: str, day: str) -> None:
        for _ in range(10):
            try:
                close_days(servers, self._installation.names, day_number(day), datetime.now(UTC))
                return
            except (KafkaException, LogFailed):
                time.sleep(1.0)  # the broker is away
        raise TimeoutError("days cannot be closed")

    # ---- faults

    def _break_things(
        self,
        servers: str,
        sink: Part,
        workers: list[Part],
        disk: SmallDisk | None,
        ending: contextlib.ExitStack,
        sender: threading.Thread,
    ) -> None:
        plan, done, rng = self._plan, self.done, self._rng
        done.phase = "breaking things"
        faults = ["kill"] * plan.kills + ["freeze"] * plan.freezes
        rng.shuffle(faults)
        extra = plan.most_workers - 1
        for number, fault in enumerate(faults):
            self._wait(rng.uniform(0.3, 1.7) * plan.seconds_between_faults, sender)
            if number == len(faults) // 4:
                for n in range(2, 2 + extra):
                    workers.append(self._part(f"worker-{n}", self._worker(servers), ending))
            if number == 3 * len(faults) // 4:
                while len(workers) > 1:
                    workers.pop().stop()
            done.workers = len(workers)
            if disk is not None and number == len(faults) // 3:
                self._fill(disk, sink)
            if any(number == len(faults) * (n + 1) // (plan.broker_restarts + 1) for n in range(plan.broker_restarts)):
                self._broker.stop()
                self._wait(_BROKER_DOWN_SECONDS, sender)
                self._broker.start()
                done.broker_restarts += 1
            part = sink if rng.random() < 0.25 else rng.choice(workers)
            if fault == "kill":
                self._until(part.kill, 30, f"{part.name} runs, to be killed")
                done.kills += 1
            else:
                with part.frozen() as frozen:
                    self._wait(_FREEZE_SECONDS, sender)
                    done.freezes += frozen
        while len(workers) > 1:
            workers.pop().stop()

    def _fill(self, disk: SmallDisk, sink: Part) -> None:
        before = sink.log.read_bytes().count(_CANNOT_STORE) if sink.log.exists() else 0
        disk.fill()
        try:
            self._until(
                lambda: sink.log.read_bytes().count(_CANNOT_STORE) > before or not sink.running,
                _FULL_SECONDS,
                "the sink says that it cannot store",
            )
            self.done.disk_full += 1
        finally:
            disk.free()

    # ---- waiting

    def _wait(self, seconds: float, sender: threading.Thread) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look(sender)

    def _look(self, sender: threading.Thread) -> None:
        if self._failure is not None:
            raise self._failure
        self._show(self.done)
        sender.join(0.2)
        if not sender.is_alive():
            time.sleep(0.2)

    def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.1)

    def _drain(self, servers: str) -> None:
        reader = ProgressReader(servers, self._installation.names, "")
        clear = 0

        def drained() -> bool:
            nonlocal clear
            self._show(self.done)
            try:
                progress = reader.read(self._stored)
            except (KafkaException, StoreUnavailable, StoreFailed):
                return False
            clear = clear + 1 if progress.records_to_meter == 0 and progress.records_to_store == 0 else 0
            return clear >= 3

        self._until(drained, self._plan.drain_seconds, "everything is metered and stored")

    def _stored(self) -> dict[tuple[str, int], int]:
        store = open_while_sinking(None, self._installation.store_folder)
        try:
            return stored_positions(store)
        finally:
            store.close()


def quiet(_: Done) -> None:
    """Show nothing."""


def rows_of(done: Done, accounts: Accounts | None, seconds: float) -> Iterator[tuple[str, str]]:
    """What happened, for a table."""
    for name in ("sent", "kills", "freezes", "broker_restarts", "disk_full"):
        yield name.replace("_", " "), f"{getattr(done, name):,}"
    if done.left_out:
        yield "left out", done.left_out
    if accounts is not None:
        for name in accounts.__struct_fields__[1:]:
            yield name.replace("_", " "), f"{getattr(accounts, name):,}"
    yield "seconds", f"{seconds:,.0f}"
