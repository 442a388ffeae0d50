"""The sink as a process: the store, its migrations, the loop, and reads for others."""

import contextlib
import logging
import signal

from prometheus_client import start_http_server

from rtmeter.installation import Installation
from sinks.migrations import Placement, migrate
from sinks.sink import Sink, SinkMetrics, SinkSettings
from sinks.store import open_store
from sinks.store_server import serve

logger = logging.getLogger(__name__)


def run_sink(installation: Installation, servers: str, cluster: str, metrics_port: int | None) -> None:
    """Fill the store until SIGTERM or SIGINT. StoreUnavailable if another process has it open."""
    metrics = SinkMetrics()
    with open_store(installation.store_dsn, installation.store_folder) as store, contextlib.ExitStack() as serving:
        for name in migrate(store, Placement(cluster)):
            logger.info("migration %s applied", name)
        if installation.store_dsn is None:
            server = serve(store, installation.store_folder)
            serving.callback(server.stop)
        if metrics_port is not None:
            http, _ = start_http_server(metrics_port, addr="127.0.0.1", registry=metrics.registry)
            logger.info("metrics on http://127.0.0.1:%d/metrics", http.server_port)
        sink = Sink(SinkSettings(servers, installation.topic_prefix), store, metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sink.stop())
        sink.run()
