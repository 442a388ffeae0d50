"""A server that answers as it is told, byte for byte, and recorded answers of a real one."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.network.fault_proxy import Gone, _Line

#: What answers a request: it gets the request and the connection, and closes it.
Answering = Callable[[bytes, socket.socket], None]


class ToldServer:
    """Passes requests on to a ClickHouse, until it is told how to answer itself. Every connection is for one request."""

    def __init__(self, clickhouse_port: int) -> None:
        self._clickhouse_port = clickhouse_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.answering: Answering | None = None
        self.last_request = b""
        self.last_answer = b""
        #: From then on connections are accepted, and nothing is read from them.
        self.deaf = threading.Event()
        self._unheard: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextlib.contextmanager
    def told(self, answering: Answering) -> Iterator[None]:
        """Answer so in the block."""
        self.answering = answering
        try:
            yield
        finally:
            self.answering = None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.deaf.is_set():
                    self._unheard.append(client)
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(Gone, OSError):
            head, body = _Line(client, 60).message()
            self.last_request = head + body
            if self.answering is not None:
                self.answering(self.last_request, client)
                return
            with _Line(socket.create_connection(("127.0.0.1", self._clickhouse_port)), 60) as server:
                server.send(head + body)
                self.last_answer = server.answer()
            client.sendall(self.last_answer)


def with_bytes(answer: bytes) -> Answering:
    """Say just that, and close."""
    return lambda _, client: client.sendall(answer)
