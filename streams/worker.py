"""The stream worker: a Faust app that hands each fetched batch to the ledger.

Any failure of the ledger ends the process at once: the state is in the log, so stopping is always safe, and
going on might not be. Exit codes: 0 stopped on request, 3 failed.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import faust
from faust.serializers import codecs
from faust.types import TP
from msgspec import Struct

from schemas.instants import day_text
from schemas.topics import TopicNames
from streams.close_day import close_days, day_to_close
from streams.group_offsets import GroupOffsets
from streams.input_bounds import InputLost
from streams.ledger import Ledger
from streams.log import KafkaLog
from streams.look import LOOK_SECONDS, REQUEST_SECONDS
from streams.metrics import WorkerMetrics
from streams.operator_port import OperatorAddress, serve_operator
from streams.positions import Batch
from streams.topic_ends import TopicEnds
from streams.transport import BatchTransport
from streams.worker_look import WorkerLook

logger = logging.getLogger(__name__)

FAILED = 3
_COMMIT_SECONDS = 0.5
_CLOSE_CHECK_SECONDS = 60.0
#: How often an owner looks whether a frozen former owner has written to its logs. It must be well within
#: `min.compaction.lag.ms` of `entitlements`: until then, compaction keeps what was overwritten.
_LOOK_SECONDS = 600.0


class WorkerSettings(Struct, frozen=True):
    """Settings of one worker process.

    `close_days`: whether the owner of partition 0 closes yesterday by itself, some minutes after midnight.
    `operator`: where metrics and health are served; None: nowhere.
    """

    bootstrap_servers: str
    topic_prefix: str = ""
    group: str = "rtmeter-worker"
    operator: OperatorAddress | None = None
    close_days: bool = True
    session_timeout_seconds: float = 10.0


class _AsIs(codecs.Codec):  # type: ignore[misc]
    """The codec of batches: they are objects of this process, and never bytes."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, obj: Any) -> Any:
        return obj


class Worker:
    """One worker process: the app, its ledger, and what happens at start and stop."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._names = TopicNames.with_prefix(settings.topic_prefix)
        self._metrics = WorkerMetrics()
        self._ledger = Ledger(KafkaLog(settings.bootstrap_servers), self._names, self._metrics)
        ends = TopicEnds(settings.bootstrap_servers, REQUEST_SECONDS)
        self._look = WorkerLook(self._names.package_assignments, self._ledger, ends, self._metrics)
        self._group_offsets = GroupOffsets()
        # Batches are applied here, one at a time, in order: a long one (a customer of 200,000 subscribers deprovisioned)
        # must not keep the event loop from rebalances, commits and signals.
        self._apply_thread = ThreadPoolExecutor(1, thread_name_prefix="rtmeter-apply")
        self._leaving = False
        # Faust wants a folder for tables; there are none.
        self._faust_folder = tempfile.TemporaryDirectory(prefix="rtmeter-faust-")
        self._app = self._make_app()

    def run(self) -> int:
        """Meter until SIGTERM or SIGINT; the exit code."""
        if self._settings.operator is not None:
            serve_operator(self._metrics.registry, self._look.health, self._settings.operator)
        # The state is made of objects that can't be part of a cycle, most of them not even seen by the collector. With
        # its default thresholds it would go through the objects of each batch a hundred times, for nothing.
        gc.freeze()
        gc.set_threshold(500_000, 10, 10)
        return asyncio.run(self._main())

    async def _main(self) -> int:
        loop = asyncio.get_running_loop()
        self._app.loop = loop
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self._app.start()
        background = [
            asyncio.create_task(self._commit_for_monitoring()),
            asyncio.create_task(self._look_for_others()),
            asyncio.create_task(self._look_how_far()),
            asyncio.create_task(self._close_days_in_time()),
        ]
        crashed = asyncio.create_task(self._app.wait_until_stopped())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait([crashed, asked, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in background:
            if task.done() and task.exception() is not None:
                self._fail(task.exception())
            task.cancel()
        if not stopping.is_set():
            self._fail(self._app.crash_reason or RuntimeError("the Kafka consumer stopped by itself"))
        # What was begun is finished, as this waits in the same line. Then it is made durable, the group hears of it,
        # and is left, so that the next owner need not wait for a time-out.
        self._leaving = True
        await loop.run_in_executor(self._apply_thread, self._ledger.finish)
        await self._commit()
        await self._app.stop()
        self._apply_thread.shutdown()
        return 0

    def _make_app(self) -> faust.App:
        settings = self._settings
        codecs.register("rtmeter-batch", _AsIs())
        app = faust.App(
            f"{settings.topic_prefix}{settings.group}",
            broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
            store="memory://",
            datadir=self._faust_folder.name,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            # One batch is worked on while the next waits: more would only be dropped at a rebalance.
            stream_buffer_maxsize=2,
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=4_194_304,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.session_timeout_seconds / 4,
            broker_check_crcs=False,
        )
        app.finalize()
        transport = BatchTransport(app.conf.broker_consumer, app)
        transport.ledger = self._ledger
        app.transport = transport
        topic = app.topic(
            self._names.package_assignments, value_serializer="rtmeter-batch", key_serializer="raw", acks=False
        )

        @app.agent(topic, name="meter")  # type: ignore[untyped-decorator]
        async def meter(batches: Any) -> None:
            async for batch in batches:
                await self._apply(batch)

        app.on_partitions_revoked.connect(self._finish_before_leaving, weak=False)
        return app

    async def _apply(self, batch: Batch) -> None:
        """Apply a batch; the event loop goes on meanwhile. A worker that leaves begins nothing more."""
        if not self._leaving:
            await asyncio.get_running_loop().run_in_executor(self._apply_thread, self._apply_here, batch)

    def _apply_here(self, batch: Batch) -> None:
        try:
            self._ledger.apply(batch.partition, batch.first_offset, batch.records, batch.next_offset)
        except Exception as failure:
            self._fail(failure, partition=batch.partition, offset=batch.first_offset)

    async def _finish_before_leaving(self, *_: Any, **__: Any) -> None:
        """Finish the batch under way before partitions are given up: written later it would be a stale owner's."""
        await asyncio.get_running_loop().run_in_executor(self._apply_thread, _nothing)

    async def _commit_for_monitoring(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        consumer = self._app.consumer
        assigned = {tp.partition for tp in consumer.assignment()}
        generation = self._app.consumer_generation_id
        offsets = self._group_offsets.news(self._ledger.durable_offsets(), assigned, generation)
        topic = self._names.package_assignments
        if offsets and await consumer._commit({TP(topic, partition): offset for partition, offset in offsets.items()}):
            self._group_offsets.heard(offsets, self._app.consumer_generation_id)

    async def _look_for_others(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            # In a thread, so that heartbeats go on while a log is read.
            await asyncio.to_thread(self._ledger.look_for_others)

    async def _look_how_far(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._look.look)

    async def _close_days_in_time(self) -> None:
        """The owner of partition 0 closes yesterday for all: the record goes through the log as any other."""
        while self._settings.close_days:
            await asyncio.sleep(_CLOSE_CHECK_SECONDS)
            state = self._ledger.states().get(0)
            now = datetime.now(UTC)
            day = None if state is None else day_to_close(state.watermark.closed_through_day, now)
            if day is not None:
                logger.info("closing days through %s", day_text(day))
                await asyncio.to_thread(close_days, self._settings.bootstrap_servers, self._names, day, now)
        await asyncio.Event().wait()

    def _fail(self, failure: BaseException | None, **about: int) -> None:
        """End the process. `about`: partition, and offset from which the batch under way began."""
        # A hole in the input is nobody's bug: what it says is all there is to know.
        trace = None if isinstance(failure, InputLost) else failure
        logger.error("stopped, because going on could cost data: %s", failure, exc_info=trace, extra=about)
        sys.stderr.flush()
        os._exit(FAILED)


def _nothing() -> None:
    """What is run to wait for all that was to be run before."""
