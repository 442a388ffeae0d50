"""A small ClickHouse over HTTP: the embedded engine in a process of its own, behind as much of the HTTP interface as
this project uses, so that the driver's HTTP path is a tested path.

It is written after the server's source (WriteBufferFromHTTPServerResponse.cpp, HTTPHandler.cpp): chunked answers in
one zstd frame with a checksum, no frame and no Content-Encoding when there is nothing to say, parameters in a form,
settings in the address, and an error after the first bytes as a marked block after which the answer breaks off.
An insert whose body breaks or has a wrong frame keeps the blocks before that, as a server may.

It is not a server: no users, roles, quotas or TLS, no Keeper, replicas or clusters, no sessions, no progress headers,
no codecs but zstd, and no `client_protocol_version` (the driver finds that out, as it does behind a proxy).

Run as `python -m tests.network.clickhouse_http FOLDER`: it says its port, and ends when its standard input does.
"""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
from backports import zstd

#: What the address says to the HTTP interface itself. Everything else in it is a setting.
_NO_SETTINGS = {
    "query",
    "query_id",
    "database",
    "user",
    "password",
    "session_id",
    "wait_end_of_query",
    "client_protocol_version",
    "enable_http_compression",
}
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*\Z")
_INSERT = re.compile(rb"(INSERT INTO .*?) FORMAT Native\n", re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_CHECKSUM = {zstd.CompressionParameter.checksum_flag: 1}
_BAD_REQUEST = (26, 36, 62, 117, 561)
_NOT_FOUND = (46, 47, 60, 81, 115)


class Refused(Exception):
    """What the engine, or the interface, says about a request that it does not carry out: `Code: n. DB::Exception`."""

    @property
    def code(self) -> int:
        found = _CODE.search(str(self))
        return int(found[1]) if found else 1002


class BrokenOff(Exception):
    """The body of a request ended before it should."""


class Engine:
    """Handles on the one engine of this process; each serves one request at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Handle] = []
        with self.handle({}) as handle:
            self.timezone = handle.run("SELECT timezone()", "TabSeparated", {}).decode().strip()

    @contextlib.contextmanager
    def handle(self, settings: dict[str, str], database: str = "") -> Iterator["Handle"]:
        """A handle with these settings, and no others."""
        handle = self._idle.pop() if self._idle else Handle(chdb.connect(str(self._folder)))
        try:
            handle.set_up(settings, database or "default")
            yield handle
        finally:
            self._idle.append(handle)


class Handle:
    """A connection to the engine, with the settings and the database of the request that has it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._settings: dict[str, str] = {}
        self._database = "default"

    def set_up(self, settings: dict[str, str], database: str) -> None:
        for name in self._settings.keys() - settings.keys():
            self.run(f"SET {name} = DEFAULT", "TabSeparated", {})
            del self._settings[name]
        for name, value in settings.items():
            if self._settings.get(name) != value:
                self.run(f"SET {name} = '{value}'", "TabSeparated", {})
                self._settings[name] = value
        if database != self._database:
            self.run(f"USE `{database}`", "TabSeparated", {})
            self._database = database

    def run(self, sql: str, form: str, parameters: dict[str, str]) -> bytes:
        try:
            return bytes(self._connection.query(sql, form, params=parameters).bytes() or b"")
        except Exception as error:
            raise Refused(_refusal(error)) from error

    def stream(self, sql: str, form: str, parameters: dict[str, str]) -> Iterator[bytes]:
        try:
            for chunk in self._connection.send_query(sql, form, params=parameters):
                yield bytes(chunk.bytes() or b"")
        except GeneratorExit:
            raise
        except Exception as error:
            raise Refused(_refusal(error)) from error

    def insert(self, statement: str, native: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".native") as file:
            file.write(native)
            file.flush()
            self.run(f"{statement} FROM INFILE '{file.name}' FORMAT Native", "TabSeparated", {})


def _refusal(error: Exception) -> str:
    text = str(error)
    return text[max(text.find("Code: "), 0) :]


class _Answer:
    """One answer, whose headers are sent with its first byte or its end."""

    def __init__(self, request: "_Request", headers: dict[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._tag = secrets.token_hex(8)
        accepted = request.headers.get("Accept-Encoding", "").split(",")
        compressed = "zstd" in (name.strip() for name in accepted) and request.address.get("enable_http_compression")
        self._frame = zstd.ZstdCompressor(options=_CHECKSUM) if compressed else None
        self.begun = False

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self.begun:
            self._begin(200, {"Content-Encoding": "zstd"} if self._frame else {})
        self._chunk(self._frame.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK) if self._frame else data)

    def finish(self) -> None:
        if not self.begun:
            self._begin(200, {})
        elif self._frame:
            self._chunk(self._frame.flush(zstd.ZstdCompressor.FLUSH_FRAME))
        self._request.wfile.write(b"0\r\n\r\n")

    def refuse(self, refused: Refused) -> None:
        """Say what is wrong: with a status if nothing was said yet, else in the middle of the answer, which breaks."""
        said = f"{refused}\n".encode()
        if self.begun:
            self.write(b"\r\n__exception__\r\n%b\r\n%b" % (self._tag.encode(), said))
            self.write(b"%d %b\r\n__exception__\r\n" % (len(said), self._tag.encode()))
            self._request.close_connection = True
            return
        status = 400 if refused.code in _BAD_REQUEST else 404 if refused.code in _NOT_FOUND else 500
        self._begin(
            status,
            {"X-ClickHouse-Exception-Code": str(refused.code), **({"Content-Encoding": "zstd"} if self._frame else {})},
        )
        self.write(said)
        self.finish()

    def _begin(self, status: int, more: dict[str, str]) -> None:
        self.begun = True
        self._request.send_response(status)
        headers = {
            **self._headers,
            "X-ClickHouse-Summary": json.dumps({"read_rows": "0", "elapsed_ns": "0"}),
            "Connection": "Keep-Alive",
            "Transfer-Encoding": "chunked",
            **more,
            "X-ClickHouse-Exception-Tag": self._tag,
        }
        for name, value in headers.items():
            self._request.send_header(name, value)
        self._request.end_headers()

    def _chunk(self, data: bytes) -> None:
        if data:
            self._request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine
    address: dict[str, str]

    def do_POST(self) -> None:
        self.address = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        headers = {
            "Content-Type": "text/tab-separated-values; charset=UTF-8",
            "X-ClickHouse-Server-Display-Name": "chdb",
            "X-ClickHouse-Query-Id": self.address.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": self.engine.timezone,
        }
        answer = _Answer(self, headers)
        try:
            self._carry_out(answer)
            answer.finish()
        except Refused as refused:
            answer.refuse(refused)
        except (BrokenOff, OSError):
            self.close_connection = True

    do_GET = do_POST  # noqa: N815 - http.server's name

    def _carry_out(self, answer: _Answer) -> None:
        body, ended_well = self._body()
        settings = {
            name: value
            for name, value in self.address.items()
            if name not in _NO_SETTINGS and not name.startswith("param_")
        }
        parameters = dict(self.address)
        sql = self.address.get("query", "").encode()
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            ended_well()
            parameters.update(_fields(body, content_type))
            sql = parameters["query"].encode()
        else:
            sql += body
        bound = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
        with self.engine.handle(settings, self.address.get("database", "")) as handle:
            insert = _INSERT.match(sql)
            if insert is not None:
                if len(sql) > insert.end():
                    handle.insert(insert[1].decode(), sql[insert.end() :])
                ended_well()
                return
            ended_well()
            text = sql.decode()
            form_named = _FORMAT.search(text)
            form = form_named[1] if form_named else "TabSeparated"
            if form == "Native" and self.address.get("wait_end_of_query") != "1":
                for piece in handle.stream(text, form, bound):
                    answer.write(piece)
            else:
                answer.write(handle.run(text, form, bound))

    def _body(self) -> tuple[bytes, Any]:
        """What came whole of the body, and a function that raises what was wrong with the rest."""
        failure: list[Exception] = []
        received = bytearray()
        try:
            for piece in self._received():
                received += piece
        except BrokenOff as error:
            failure.append(error)
        body = bytes(received)
        if self.headers.get("Content-Encoding") == "zstd":
            body = b""
            rest = bytes(received)
            while rest:
                frame = zstd.ZstdDecompressor()
                try:
                    piece = frame.decompress(rest)
                except zstd.ZstdError as error:
                    failure.append(Refused(f"Code: 561. DB::Exception: {error}. (ZSTD_DECODER_FAILED)"))
                    break
                if not frame.eof:
                    failure.append(Refused("Code: 561. DB::Exception: a frame does not end. (ZSTD_DECODER_FAILED)"))
                    break
                body += piece
                rest = frame.unused_data
        elif self.headers.get("Content-Encoding"):
            failure.append(Refused("Code: 48. DB::Exception: no codec but zstd. (NOT_IMPLEMENTED)"))

        def ended_well() -> None:
            for error in failure:
                raise error

        return body, ended_well

    def _received(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self._exactly(int(self.headers.get("Content-Length") or 0))
            return
        while True:
            try:
                size = int(self.rfile.readline(), 16)
            except ValueError:
                raise BrokenOff from None
            piece = self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise BrokenOff
            if not size:
                return
            yield piece

    def _exactly(self, size: int) -> bytes:
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise BrokenOff
        return piece

    def log_message(self, *args: object) -> None:
        pass


def _fields(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    boundary = b"\r\n--" + content_type.split("boundary=")[1].encode()
    for part in (b"\r\n" + body).split(boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None
        yield name[1].decode(), value.decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def clickhouse(folder: Path) -> Iterator[int]:
    """The port of a ClickHouse on this folder, until the end of the block."""
    command = [sys.executable, "-m", "tests.network.clickhouse_http", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main(folder: Path) -> None:
    handler = type("Request", (_Request,), {"engine": Engine(folder)})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    # What is stored is stored. The engine would wait for queries whose askers have gone.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
