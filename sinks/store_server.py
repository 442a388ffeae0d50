"""Reads of the embedded store for other processes of the same machine and user, over a Unix socket.

The engine allows one process per folder, and that is the sink. So it answers `rtmeter report` and `rtmeter
status` too, and freezes the tables for `rtmeter backup`. One request per connection; frames are a length and
msgpack, rows come in blocks as they are read.
"""

import contextlib
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from struct import Struct as Packed
from typing import Any

import msgspec

from sinks.backup.frozen import freeze
from sinks.store import DEFAULT_LIMITS, QueryLimits, Store, StoreFailed, failure_of

logger = logging.getLogger(__name__)

SOCKET = "store.sock"
_LENGTH = Packed(">I")
_ANSWER_SECONDS = 600
_IDLE_HANDLES = 4


class Wanted(StrEnum):
    """The form of a query's answer: `ReadableStore.stream`, `stream_binary`, `stream_text`."""

    ROWS = "rows"
    BINARY_ROWS = "binary-rows"
    TEXT = "text"
    #: Not an answer: all tables are frozen under the name that stands in the query's place.
    FROZEN = "frozen"


class Request(msgspec.Struct):
    """A query, and in which form its answer is wanted."""

    sql: str
    parameters: dict[str, Any]
    limits: QueryLimits
    wanted: Wanted


class Answer(msgspec.Struct, omit_defaults=True):
    """One frame: some rows, or some text; the last one has none of them, or a failure."""

    rows: list[tuple[Any, ...]] = []
    text: bytes = b""
    failure: str = ""


def serve(store: Store, folder: Path) -> "StoreServer":
    """Answer reads until `stop`; a socket left by a killed process is replaced."""
    return StoreServer(store, folder)


class StoreServer:
    def __init__(self, store: Store, folder: Path) -> None:
        self._path = folder / SOCKET
        self._path.unlink(missing_ok=True)

        handles = _Handles(store)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(_ANSWER_SECONDS)
                with contextlib.suppress(OSError):  # the asker has gone: nothing to tell anyone
                    _answer(self.request, handles)

        with _short_path(folder) as short:
            self._server = _ThreadingUnixServer(f"{short}/{SOCKET}", Handler)
        self._path.chmod(0o600)
        threading.Thread(target=self._server.serve_forever, name="store-server", daemon=True).start()

    def stop(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()


class _Handles:
    """Clients of the engine that are kept for the next asker: making one takes longer than most queries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._idle: list[Store] = []

    @contextlib.contextmanager
    def borrowed(self, limits: QueryLimits) -> Iterator[Store]:
        """One of them, for this thread alone."""
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = self._store.another_handle()
        handle.limits = limits
        try:
            yield handle
        except BaseException:
            handle.close()  # a query may have been broken off in the middle
            raise
        if len(self._idle) < _IDLE_HANDLES:
            self._idle.append(handle)
        else:
            handle.close()


class _ThreadingUnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class RemoteStore:
    """The store of another process of this machine, for reading; OSError if nobody answers there."""

    def __init__(self, folder: Path, limits: QueryLimits = DEFAULT_LIMITS) -> None:
        self._folder = folder
        self._limits = limits
        self._connect().close()

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        return [row for block in self.stream(sql, parameters) for row in block]

    def stream(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._rows(sql, parameters, Wanted.ROWS)

    def stream_binary(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._rows(sql, parameters, Wanted.BINARY_ROWS)

    def stream_text(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[bytes]:
        for answer in self._answers(Request(sql, parameters or {}, self._limits, Wanted.TEXT)):
            yield answer.text

    def freeze(self, name: str) -> None:
        """Freeze every table, for a backup (`sinks.backup`)."""
        for _ in self._answers(Request(name, {}, self._limits, Wanted.FROZEN)):
            pass

    def _rows(self, sql: str, parameters: dict[str, object] | None, wanted: Wanted) -> Iterator[list[tuple[Any, ...]]]:
        for answer in self._answers(Request(sql, parameters or {}, self._limits, wanted)):
            yield answer.rows

    def _answers(self, request: Request) -> Iterator[Answer]:
        try:
            with self._connect() as connection:
                _send(connection, msgspec.msgpack.encode(request))
                while True:
                    answer = msgspec.msgpack.decode(_receive(connection), type=Answer)
                    if answer.failure:
                        raise failure_of(answer.failure)
                    if not (answer.rows or answer.text):
                        return
                    yield answer
        except OSError as error:
            raise StoreFailed(f"the process that has the store open does not answer: {error}") from error

    def close(self) -> None:
        pass

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_ANSWER_SECONDS)
        try:
            with _short_path(self._folder) as short:
                connection.connect(f"{short}/{SOCKET}")
        except OSError:
            connection.close()
            raise
        return connection


def _answer(connection: socket.socket, handles: _Handles) -> None:
    try:
        request = msgspec.msgpack.decode(_receive(connection), type=Request)
    except (ConnectionError, msgspec.DecodeError):
        return
    try:
        with handles.borrowed(request.limits) as handle:
            for answer in _ANSWERS[request.wanted](handle, request):
                _send(connection, msgspec.msgpack.encode(answer))
        _send(connection, msgspec.msgpack.encode(Answer()))
    except (StoreFailed, ValueError) as failure:
        _send(connection, msgspec.msgpack.encode(Answer(failure=str(failure))))


def _rows(handle: Store, request: Request) -> Iterator[Answer]:
    return (Answer(rows) for rows in handle.stream(request.sql, request.parameters) if rows)


def _binary_rows(handle: Store, request: Request) -> Iterator[Answer]:
    return (Answer(rows) for rows in handle.stream_binary(request.sql, request.parameters) if rows)


def _text(handle: Store, request: Request) -> Iterator[Answer]:
    return (Answer(text=text) for text in handle.stream_text(request.sql, request.parameters) if text)


def _frozen(handle: Store, request: Request) -> Iterator[Answer]:
    freeze(handle, request.sql)
    return iter(())


_ANSWERS: dict[Wanted, Callable[[Store, Request], Iterator[Answer]]] = {
    Wanted.ROWS: _rows,
    Wanted.BINARY_ROWS: _binary_rows,
    Wanted.TEXT: _text,
    Wanted.FROZEN: _frozen,
}


def _send(connection: socket.socket, frame: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(frame)) + frame)


def _receive(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size))
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, length: int) -> bytes:
    pieces = []
    while length:
        piece = connection.recv(min(length, 1 << 20))
        if not piece:
            raise ConnectionError("the connection was closed in the middle of an answer")
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path of a folder that is short enough for a Unix socket's address (108 bytes), however deep it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
