"""HTTP to a ClickHouse server: no byte is taken on trust, and no call lasts longer than it may.

The driver leaves three things to its connection pool, so they are done here, once for all its requests:

- **What is sent** is checked by the server. The bodies of inserts and statements go as zstd frames with a checksum:
  a frame that does not fit is refused whole, so a wrong byte can't become a row. Queries go as forms, because their
  parameters are too long for an address; the server takes forms only as they are. Their bytes, like the address and
  the headers, are guarded by TCP and, in a deployment, by TLS.
- **What is answered** is checked here. ClickHouse puts a checksum into its zstd frames, so that is what is asked for.
  A frame that does not fit or is not complete is an error, and so is an answer that is neither empty nor such a frame,
  that does not say where it ends, or that is not ClickHouse's. Otherwise one wrong digit of a length is a short report.
- **How long** a call takes. A time-out of a socket is for one read, and a line that brings a byte now and then never
  reaches it. `Deadline` is for the call as a whole.
"""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from backports import zstd
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError

#: Level 1: a checksum is what is wanted, the smaller size comes with it.
_FRAME: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1, zstd.CompressionParameter.compression_level: 1}
_PIECE_BYTES = 1 << 20
#: So much of an answer is held back: an answer that is not longer is checked before any of it is read.
_HELD_BYTES = 1 << 20
_TLS_OPTIONS = ("ca_cert", "client_cert", "client_cert_key")
_FALSE = ("0", "false", "no", "off")


class WrongAnswer(ProtocolError):
    """The answer is not what the server sent, or not all of it, or not a server's."""


class Deadline:
    """The seconds that a call may take in all. When they are over, the connection under it is shut down.

    `with` it, and send the call's requests inside `requesting`. `seconds` None: for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._over = threading.Event()
        self._connection: HTTPConnection | None = None
        self._timer = threading.Timer(seconds or 0, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self.seconds is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    @contextlib.contextmanager
    def requesting(self) -> Iterator[None]:
        """What this thread requests in the block is under the deadline, and its answers for as long as they are read."""
        token = _deadline.set(self)
        try:
            yield
        finally:
            _deadline.reset(token)

    def covers(self, connection: HTTPConnection) -> None:
        """The connection that the call uses now."""
        self._connection = connection
        if self.over:
            self.cut()

    def cut(self) -> None:
        """Shut the connection down: whoever waits for it hears at once, and nobody can use it again."""
        sock = self._connection.sock if self._connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):  # it has been closed already
                # Not the TLS socket's own, which takes away what a reader in another thread is using.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _end(self) -> None:
        self._over.set()
        self.cut()


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class _Connection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _cover(self)
        super().request(*args, **kwargs)


class _TlsConnection(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _cover(self)
        super().request(*args, **kwargs)


class _Connections(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsConnections(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class CheckedPool(PoolManager):
    """The connections of one store. `dsn`: what its query says about TLS (`verify`, `ca_cert`, ...) holds here too."""

    def __init__(self, dsn: str) -> None:
        super().__init__(**get_pool_manager_options(**_tls_options(dsn)))
        self.pool_classes_by_scheme = {"http": _Connections, "https": _TlsConnections}

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, *, preload_content: bool = True, **request: Any
    ) -> BaseHTTPResponse:
        deadline = _deadline.get()
        if deadline is not None and deadline.over:
            raise ProtocolError("there is no time left for another try")
        body = request.pop("body", None)
        headers = HTTPHeaderDict(request.pop("headers", None))
        headers["Accept-Encoding"] = "zstd"
        if body is not None and not headers.get("Content-Type", "").startswith("multipart/"):
            headers["Content-Encoding"] = "zstd"
            body = _framed(body)
        raw = super().urlopen(
            method,
            f"{url}&enable_http_compression=1" if "?" in url else url,
            # A server sends nobody elsewhere, and the driver tries again itself, where that does no harm.
            redirect=False,
            **{**request, "retries": False, "decode_content": False},
            body=body,
            headers=headers,
            preload_content=False,
        )
        answer = CheckedAnswer(raw)
        if preload_content:
            _ = answer.data
        return answer


class CheckedAnswer(BaseHTTPResponse):
    """An answer whose bytes have been checked, as far as the driver uses one; WrongAnswer where they do not fit.

    The bytes of an answer that is longer than what is held back are handed over before its end is known: the error
    then comes instead of the end.
    """

    def __init__(self, raw: BaseHTTPResponse) -> None:
        headers = HTTPHeaderDict(raw.headers)
        self._encoding = headers.pop("Content-Encoding", None)
        super().__init__(
            headers=headers,
            status=raw.status,
            version=raw.version,
            version_string=raw.version_string,
            reason=raw.reason,
            decode_content=False,
            request_url=None,
        )
        self._raw = raw
        self._whole: bytes | None = None
        self._succeeded = 200 <= raw.status < 300
        wrong = _what_is_wrong_with(raw.headers) if self._succeeded else None
        if wrong is not None:
            raw.close()
            raise WrongAnswer(wrong)

    @property
    def data(self) -> bytes:
        if self._whole is None:
            self._whole = b"".join(self.stream())
        return self._whole

    def stream(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        """The bytes, decompressed, in pieces. The connection is closed unless all of them were read."""
        finished = False
        try:
            if self._encoding == "zstd" and self._succeeded:
                yield from self._held_back(self._decompressed())
            elif self._encoding == "zstd":
                yield self._as_far_as_it_goes()
            else:
                for piece in self._raw.stream(_PIECE_BYTES, decode_content=False):
                    if self._succeeded:
                        raise WrongAnswer(f"the answer is not compressed by zstd, but {self._encoding or 'as it is'}")
                    yield piece
            finished = True
        finally:
            if not finished:
                self._raw.close()

    def _held_back(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        held: deque[bytes] = deque()
        held_bytes = 0
        try:
            for piece in pieces:
                held.append(piece)
                held_bytes += len(piece)
                while held_bytes > _HELD_BYTES:
                    held_bytes -= len(held[0])
                    yield held.popleft()
        except WrongAnswer:
            raise
        except HTTPError:
            # The server breaks an answer off where a query fails, and what came ends with the reason.
            yield from held
            raise
        yield from held

    def _decompressed(self) -> Iterator[bytes]:
        frame = zstd.ZstdDecompressor()
        for received in self._raw.stream(_PIECE_BYTES, decode_content=False):
            rest = received
            while rest:
                if frame.eof:
                    frame = zstd.ZstdDecompressor()
                try:
                    piece = frame.decompress(rest)
                except zstd.ZstdError as error:
                    raise WrongAnswer(f"the answer has wrong bytes: {error}") from error
                if piece:
                    yield piece
                rest = frame.unused_data if frame.eof else b""
        if not frame.eof:
            raise WrongAnswer("the answer is not complete: its last frame does not end")

    def _as_far_as_it_goes(self) -> bytes:
        """What a refusal says: even if its bytes are wrong, it is one."""
        pieces: list[bytes] = []
        with contextlib.suppress(HTTPError):
            pieces.extend(self._decompressed())
        return b"".join(pieces)

    def release_conn(self) -> None:
        self._raw.release_conn()

    def close(self) -> None:
        self._raw.close()


def _cover(connection: HTTPConnection) -> None:
    deadline = _deadline.get()
    if deadline is not None:
        deadline.covers(connection)


def _framed(body: str | bytes | Iterable[bytes]) -> bytes | Iterator[bytes]:
    """The body as zstd frames with checksums, one for each piece."""
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes | bytearray):
        return zstd.compress(body, options=_FRAME)
    return (zstd.compress(piece, options=_FRAME) for piece in body)


def _what_is_wrong_with(headers: HTTPHeaderDict) -> str | None:
    """Why an answer that says that all is well cannot be believed: it was cut off in its headers, or is another's."""
    if not headers.get("X-ClickHouse-Query-Id"):
        return "the answer is not ClickHouse's"
    if headers.get("Transfer-Encoding") != "chunked" and not headers.get("Content-Length", "").isdecimal():
        return "the answer does not say where it ends"
    return None


def _tls_options(dsn: str) -> dict[str, Any]:
    said = {name: values[0] for name, values in parse_qs(urlsplit(dsn).query).items()}
    options: dict[str, Any] = {name: said[name] for name in _TLS_OPTIONS if name in said}
    options["verify"] = said.get("verify", "true").lower() not in _FALSE
    return options
