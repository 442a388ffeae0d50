"""`rtmeter up`: the embedded pipeline in the foreground.

Kafka (unless one is given), topics, N stream workers and a sink with the store, each a process of its own. What
dies is started again: the state is in the log, so that costs time and never a number.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from confluent_kafka import KafkaException

from rtmeter.children import Child, end_all
from rtmeter.installation import Installation
from rtmeter.output import say
from rtmeter.progress import Offsets, Progress, ProgressReader
from sinks.positions import stored_positions
from sinks.store import StoreFailed, StoreUnavailable, open_while_sinking

_WATCH_SECONDS = 0.2
_READ_SECONDS = 0.5
_STALL_SECONDS = 60.0


class Pipeline:
    """The running parts of one installation."""

    def __init__(
        self, workers: list[Child], others: list[Child], reader: ProgressReader, installation: Installation
    ) -> None:
        self._workers = workers
        self._others = others
        self._reader = reader
        self._installation = installation

    def run(self, stop: threading.Event, *, drain: bool, show: Callable[[Progress], None]) -> bool:
        """Keep everything up until `stop`, or with `drain` until nothing is left to meter or store; whether drained.

        `show` is called with the progress, about twice a second. ChildFailed when a part does not stay up.
        """
        clear_readings = 0
        stalled = _Stall()
        for progress in self._readings([*self._workers, *self._others], stop):
            if progress is None:
                clear_readings = 0
                continue
            show(progress)
            stalled.note(progress)
            # Twice, because what is metered between two readings is output that only the second one sees.
            clear = progress.records_to_meter == 0 and progress.records_to_store == 0
            clear_readings = clear_readings + 1 if clear else 0
            if drain and clear_readings >= 2:
                return True
        return False

    def end_workers(self, stop: threading.Event) -> None:
        """Stop metering, and wait until `stop`, or until the last that workers wrote is stored.

        A worker claims its partitions when it starts: where nothing was to be metered, a drain may be done before that.
        """
        end_all(self._workers)
        for progress in self._readings(self._others, stop):
            if progress is not None and progress.records_to_store == 0:
                return

    def _readings(self, children: list[Child], stop: threading.Event) -> Iterator[Progress | None]:
        """The progress about twice a second, and None when nobody can tell; keeps `children` up between."""
        next_reading = time.monotonic()
        while not stop.wait(_WATCH_SECONDS):
            for child in children:
                child.watch()
            if time.monotonic() < next_reading:
                continue
            next_reading = time.monotonic() + _READ_SECONDS
            try:
                yield self._reader.read(self._stored)
            except (KafkaException, StoreUnavailable, StoreFailed):
                yield None  # busy or starting: the next reading will tell

    def _stored(self) -> Offsets:
        """What the sink has stored, as its store says."""
        store = open_while_sinking(self._installation.store_dsn, self._installation.store_folder)
        try:
            return stored_positions(store)
        finally:
            store.close()


class _Stall:
    """Says so when work is left and nothing moves: a pipeline that hangs must not hang silently."""

    def __init__(self) -> None:
        self._left: tuple[int, int] | None = None
        self._since = time.monotonic()

    def note(self, progress: Progress) -> None:
        left = (progress.records_to_meter, progress.records_to_store)
        now = time.monotonic()
        if left != self._left or left == (0, 0):
            self._left, self._since = left, now
        elif now - self._since > _STALL_SECONDS:
            self._since = now
            behind = [part.partition for part in progress.partitions if part.metered < part.input_end]
            say(
                f"no progress for {_STALL_SECONDS:.0f} s: {left[0]} records to meter (partitions {behind}), {left[1]} to "
                f"store; see the logs in the data folder"
            )


@contextlib.contextmanager
def running(
    installation: Installation, workers: int, *, partitions: int, close_days: bool, api: bool, api_port: int | None
) -> Iterator[Pipeline]:
    """The pipeline, started; everything it started has ended afterwards. `api_port` None: the usual one, or a free one."""
    logs = installation.log_folder
    pids = installation.data_dir / "run"
    for folder in (logs, pids):
        folder.mkdir(parents=True, exist_ok=True)
    with installation.kafka(partitions) as servers:
        common = ["--bootstrap-servers", servers, "--topic-prefix", installation.topic_prefix]
        common += ["--data-dir", str(installation.data_dir)]
        closing = ["--close-days" if close_days else "--no-close-days"]
        metering = [
            Child(f"worker-{n}", ["worker", *common, *closing], logs / f"worker-{n}.log", pids / f"worker-{n}.pid")
            for n in range(1, workers + 1)
        ]
        # In the environment, because a DSN can hold a password, and arguments are everybody's to read.
        dsn = {} if installation.store_dsn is None else {"RTMETER_CLICKHOUSE_DSN": installation.store_dsn}
        others = [Child("sink", ["sink", *common], logs / "sink.log", pids / "sink.pid", dsn)]
        if api:
            arguments = ["api", "--data-dir", str(installation.data_dir), "--topic-prefix", installation.topic_prefix]
            arguments += [] if api_port is None else ["--port", str(api_port)]
            others.append(Child("api", arguments, logs / "api.log", pids / "api.pid", dsn))
        children = [*metering, *others]
        try:
            for child in children:
                child.start()
            yield Pipeline(
                metering, others, ProgressReader(servers, installation.names, installation.topic_prefix), installation
            )
        finally:
            # Workers first: what they still write, the sink may still store; what it does not, the next start will.
            end_all(children)
