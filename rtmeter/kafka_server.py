"""One Kafka broker as a child process: for development, demonstrations and tests.

Everything about it is in one folder: `log/` (the records), `ports.json`, `server.properties`,
`broker.log` (and `broker.log.1`, of the start before) and `broker.lock`. It listens on loopback only.
It ends when its owner ends, however that happens, and survives being killed itself: the next start
recovers what it had written.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import random
import shutil
import socket
import subprocess
import threading
import time
import uuid
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from rtmeter.kafka_jars import KafkaUnavailable, java_command, kafka_libs
from rtmeter.owned import owned_command

__all__ = ["EmbeddedKafka", "KafkaUnavailable", "running_bootstrap"]

_HOST: Final = "127.0.0.1"
_LARGEST_RECORD_BYTES: Final = 17 * 1024 * 1024  # the 16 MiB of `entitlements`, and framing
_LOOK_AGAIN_SECONDS: Final = 0.05
_PORT_RELEASE_SECONDS: Final = 1.0
_SHUTDOWN_SECONDS: Final = 20.0
_SHOWN_LOG_LINES: Final = 20
_PORT_TAKEN: Final = "Address already in use"


@dataclass(frozen=True, slots=True)
class _Ports:
    """The two loopback ports of a broker: for clients, and for its own controller."""

    broker: int
    controller: int

    @property
    def bootstrap(self) -> str:
        return f"{_HOST}:{self.broker}"


class EmbeddedKafka:
    """A broker that belongs to this object's process; `data_dir` outlives it and can be used again.

    `heap_mb` is what the JVM's heap may grow to. With the default the process has about 250 MB at rest
    and had 530 MB after 3 GB of large records.
    """

    def __init__(self, data_dir: Path, heap_mb: int = 768) -> None:
        self._folder = data_dir.resolve()
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._lock: int | None = None
        self._owner = os.getpid()
        self._bootstrap = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The broker's process id, also after its end; None before the first start."""
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        """Whether the broker's process runs."""
        return self._process is not None and self._process.poll() is None and _is_alive(self._keeper)

    def start(self, timeout: float = 60) -> str:
        """Start the broker unless it runs, wait until it answers, and return its bootstrap servers.

        The port is that of the last start in this folder, if it is still free. Raises KafkaUnavailable
        when java or the jars are missing, another broker uses the folder, or this one ends or has not
        answered within `timeout` seconds; then nothing is left running. Fetching the jars the first
        time, and formatting, do not count towards `timeout`.
        """
        if self.alive():
            return self._bootstrap
        self.stop()  # lets go of the lock of one that died by itself
        self._owner = os.getpid()
        self._folder.mkdir(parents=True, exist_ok=True)
        java, libs = java_command(), kafka_libs()
        self._lock = _take_lock(self._folder, timeout)
        try:
            cluster_id = _format_once(self._folder, java, libs)
            deadline = time.monotonic() + timeout
            while True:
                ports = _choose_ports(self._folder)
                self._spawn(java, libs, ports)
                if self._wait_for_answer(ports, cluster_id, deadline):
                    self._bootstrap = ports.bootstrap
                    return self._bootstrap
                # Only a port that somebody took between the choice and the bind is worth another try.
                if time.monotonic() > deadline or _PORT_TAKEN not in self._last_log_lines():
                    raise KafkaUnavailable(self._failure(timeout))
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the broker in good order; by force if it does not end. Harmless when it has ended."""
        if self._process is not None and self.alive():
            self._process.terminate()
            self._wait_for_end(_SHUTDOWN_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a crash would, and wait until its process is gone."""
        if self._process is not None and self.alive():
            self._process.kill()
        self._wait_for_end(None)
        if self._lock is not None:
            # Unlock, not only close: a process forked from this one may hold a copy of the descriptor.
            # Such a process itself must not, for the broker is not its own and still runs.
            if self._owner == os.getpid():
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = None

    def _spawn(self, java: str, libs: Path, ports: _Ports) -> None:
        """Start the JVM from a thread that lives as long as it does.

        The kernel ends the child when the *thread* that started it ends, not the process; `start` may
        be called from a short-lived one.
        """
        (self._folder / "server.properties").write_text(_server_properties(ports, "log"), encoding="utf-8")
        log = self._folder / "broker.log"
        if log.exists():
            log.replace(self._folder / "broker.log.1")
        command = owned_command([*_jvm(java, libs, self._heap_mb), "kafka.Kafka", "server.properties"])
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        lock = self._lock
        assert lock is not None

        def keep() -> None:
            try:
                with log.open("wb") as output:
                    process = subprocess.Popen(
                        command,
                        cwd=self._folder,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # tens of MB less at no cost here
                        start_new_session=True,  # the terminal's Ctrl-C is for the owner, who then stops it
                        pass_fds=(lock,),  # the folder stays locked while the broker lives, owner or not
                    )
            except OSError as error:
                started.put(error)
                return
            started.put(process)
            process.wait()

        self._keeper = threading.Thread(target=keep, name="kafka-keeper", daemon=True)
        self._keeper.start()
        outcome = started.get()
        if isinstance(outcome, OSError):
            raise KafkaUnavailable(f"the broker's process could not be started: {outcome}") from outcome
        self._process = outcome

    def _wait_for_answer(self, ports: _Ports, cluster_id: str, deadline: float) -> bool:
        """True once it answers a metadata request; False when it ended, or `deadline` has passed."""
        while self.alive() and time.monotonic() < deadline:
            if _answers(ports.bootstrap, cluster_id):
                return True
            time.sleep(_LOOK_AGAIN_SECONDS)
        return False

    def _wait_for_end(self, timeout: float | None) -> None:
        if self._keeper is not None:
            self._keeper.join(timeout)

    def _last_log_lines(self) -> str:
        log = self._folder / "broker.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-_SHOWN_LOG_LINES:])

    def _failure(self, timeout: float) -> str:
        what = f"did not answer within {timeout:g} s" if self.alive() else "ended while starting"
        return f"the Kafka broker in {self._folder} {what}. The end of its log:\n{self._last_log_lines()}"


def running_bootstrap(data_dir: Path) -> str | None:
    """The bootstrap servers of the live broker of `data_dir`, whoever started it; None when there is none.

    None too while it is still starting: it is its answer that counts, under the folder's cluster id.
    """
    folder = data_dir.resolve()
    try:
        with (folder / "broker.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None  # nobody holds it
    except BlockingIOError:
        pass
    except OSError:
        return None
    ports, cluster_id = _stored_ports(folder), _cluster_id(folder / "log")
    if ports is None or cluster_id is None or not _answers(ports.bootstrap, cluster_id):
        return None
    return ports.bootstrap


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()


def _jvm(java: str, libs: Path, heap_mb: int) -> list[str]:
    """The java command with its flags, for a small heap on few cores and a quick start."""
    return [
        java,
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",  # the least memory and the quickest start; its pauses on this heap are short
        "-XX:+ExitOnOutOfMemoryError",  # a broker that limps on looks alive
        "-XX:-UsePerfData",  # no files outside the data folder
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        "-Dlog4j2.level=INFO",  # log4j's built-in configuration: this level, to standard output
        "-cp", f"{libs}/*",
    ]  # fmt: skip


def _server_properties(ports: _Ports, log_folder: str) -> str:
    """The broker's settings. `log_folder` is relative to the data folder, whose path may need escaping."""
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        # A fixed voter by address, not one on record in the log: the controller's port may change.
        "controller.quorum.voters": f"1@{_HOST}:{ports.controller}",
        "listeners": f"BROKER://{_HOST}:{ports.broker},CONTROLLER://{_HOST}:{ports.controller}",
        "advertised.listeners": f"BROKER://{_HOST}:{ports.broker}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKER",
        "log.dirs": log_folder,
        # After a kill the controller takes the old registration for alive this long (default: 9 s) and
        # refuses the new one. Shorter still, and a stall of a busy machine would fence a live broker.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # Topics are made by `streams.topics`; one made by a typing error would have wrong settings.
        "auto.create.topics.enable": "false",
        "message.max.bytes": _LARGEST_RECORD_BYTES,
        "replica.fetch.max.bytes": _LARGEST_RECORD_BYTES,
        # One node, and few partitions of Kafka's own: each costs files and start time.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        # A group starts at once, and may notice a dead member within a second: tests wait for both.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # The cleaner takes its buffer from the heap at start; the default is 128 MiB.
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _take_lock(folder: Path, timeout: float) -> int:
    """Lock the folder for one broker, and return the descriptor that holds the lock.

    A broker whose owner was killed lets go within moments, so wait for it; refuse as soon as one
    answers. The broker inherits the descriptor, hence flock: a POSIX lock would not be inherited.
    """
    descriptor = os.open(folder / "broker.lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            address = running_bootstrap(folder)
            if address is not None or time.monotonic() > deadline:
                os.close(descriptor)
                where = f", at {address}" if address else " that does not answer"
                raise KafkaUnavailable(f"{folder} is in use by another broker{where}; stop that one first") from None
            time.sleep(_LOOK_AGAIN_SECONDS)


def _format_once(folder: Path, java: str, libs: Path) -> str:
    """Format the storage unless it is, and return its cluster id.

    It is formatted under another name and then renamed: a crash in between leaves nothing that the
    next start would take for a formatted folder.
    """
    done = _cluster_id(folder / "log")
    if done is not None:
        return done
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    shutil.rmtree(folder / "log.new", ignore_errors=True)
    settings = folder / "format.properties"
    settings.write_text(_server_properties(_Ports(1, 2), "log.new"), encoding="utf-8")  # ports play no part
    run = subprocess.run(
        # `=` because an id may begin with a hyphen.
        owned_command([*_jvm(java, libs, 128), "kafka.tools.StorageTool", "format",
                f"--cluster-id={cluster_id}", "--config", settings.name]),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )  # fmt: skip
    if run.returncode != 0 or _cluster_id(folder / "log.new") is None:
        said = "\n".join(run.stdout.splitlines()[-_SHOWN_LOG_LINES:])
        raise KafkaUnavailable(f"the storage in {folder} could not be formatted:\n{said}")
    settings.unlink()
    (folder / "log.new").rename(folder / "log")
    return cluster_id


def _cluster_id(log_folder: Path) -> str | None:
    """The cluster id of formatted storage; None when it is not formatted."""
    try:
        lines = (log_folder / "meta.properties").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id=")), None)


def _answers(bootstrap: str, cluster_id: str) -> bool:
    """Whether the broker of this cluster, and no other program on that port, answers as ready."""
    host, _, port = bootstrap.rpartition(":")
    try:
        with closing(socket.create_connection((host, int(port)), timeout=1)):
            pass  # cheaper than a client, which would also complain in the log while there is nobody
    except OSError:
        return False
    try:
        metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=5)
    except KafkaException:
        return False
    return metadata.cluster_id == cluster_id and len(metadata.brokers) > 0  # it is listed once it may serve


def _choose_ports(folder: Path) -> _Ports:
    """The ports of the last start where they are free, else others; on record for the next start."""
    stored = _stored_ports(folder)
    broker = stored.broker if stored and _becomes_free(stored.broker) else _free_port()
    controller = stored.controller if stored and _becomes_free(stored.controller) else _free_port(broker)
    ports = _Ports(broker, controller)
    if ports != stored:
        new = folder / "ports.json.new"
        new.write_text(json.dumps(asdict(ports)) + "\n", encoding="utf-8")
        new.replace(folder / "ports.json")
    return ports


def _stored_ports(folder: Path) -> _Ports | None:
    try:
        stored = json.loads((folder / "ports.json").read_text(encoding="utf-8"))
        return _Ports(int(stored["broker"]), int(stored["controller"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _becomes_free(port: int) -> bool:
    """Whether the port can be bound, or can be in a moment: a killed broker's lock goes before its port."""
    deadline = time.monotonic() + _PORT_RELEASE_SECONDS
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        # As the broker does: connections of the one before, still closing, are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True


def _free_port(other_than: int = 0) -> int:
    """A free loopback port below those that the kernel hands to outgoing connections.

    From among those it would be lost while the broker is down: a client that keeps trying to reconnect
    on loopback can be given the very port as its own, and connect to itself.
    """
    try:
        lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest_ephemeral = 32768
    below = range(10_000, lowest_ephemeral) if lowest_ephemeral > 11_000 else range(10_000, 60_000)
    for port in random.sample(below, k=200):
        if port != other_than and _is_free(port):
            return port
    raise KafkaUnavailable(f"no free port on {_HOST} between {below.start} and {below.stop - 1}")
