"""What an operator's systems ask a process: /metrics, /healthz, /readyz, each from a thread of its own."""

import logging
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from msgspec import Struct
from prometheus_client import CollectorRegistry, make_wsgi_app

from streams.health import Health

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)


class _Server(ThreadingMixIn, WSGIServer):
    """A scrape that hangs keeps nobody waiting, and does not keep the process from its end."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    #: Who sends no request gets no thread for long.
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """A line per scrape says nothing."""


def answers(registry: CollectorRegistry, health: Callable[[], Health]) -> "WSGIApplication":
    """The three paths as an application. `health` is asked at each question."""
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path not in ("/healthz", "/readyz"):
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"/metrics, /healthz, /readyz\n"]
        now = health()
        good = now.healthy if path == "/healthz" else now.ready
        start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{now.says}\n".encode()]

    return application


class OperatorAddress(Struct, frozen=True):
    """Where to listen. Port 0: any free one."""

    port: int = 0
    host: str = "127.0.0.1"


def serve_operator(registry: CollectorRegistry, health: Callable[[], Health], address: OperatorAddress) -> WSGIServer:
    """Answer from now on until `shutdown`, or the process ends; OSError if it cannot listen there."""
    try:
        server = make_server(address.host, address.port, answers(registry, health), _Server, handler_class=_Quiet)
    except OSError as error:
        raise OSError(f"metrics cannot be served on {address.host}:{address.port}: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="operator-port", daemon=True).start()
    logger.info("metrics on http://%s:%d/metrics, health on /healthz and /readyz", address.host, server.server_port)
    return server
