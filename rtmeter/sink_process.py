"""The sink as a process: the store, its migrations, the loop, and reads for others."""

import contextlib
import logging
import signal

from rtmeter.installation import Installation
from sinks.metrics import SinkMetrics
from sinks.migrations import Placement, migrate
from sinks.sink import Sink, SinkSettings
from sinks.store import open_store
from sinks.store_server import serve
from streams.operator_port import OperatorAddress, serve_operator

logger = logging.getLogger(__name__)


def run_sink(installation: Installation, servers: str, cluster: str, operator: OperatorAddress | None) -> None:
    """Fill the store until SIGTERM or SIGINT. StoreUnavailable if another process has it open."""
    metrics = SinkMetrics()
    with open_store(installation.store_dsn, installation.store_folder) as store, contextlib.ExitStack() as serving:
        for name in migrate(store, Placement(cluster)):
            logger.info("migration %s applied", name)
        if installation.store_dsn is None:
            server = serve(store, installation.store_folder)
            serving.callback(server.stop)
        sink = Sink(SinkSettings(servers, installation.topic_prefix), store, metrics)
        if operator is not None:
            serving.callback(serve_operator(metrics.registry, sink.health, operator).shutdown)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sink.stop())
        sink.run()
