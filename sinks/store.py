"""The store: ClickHouse, embedded (chDB) or a server, behind the few calls that the project makes.

One process at a time may open an embedded store. While a sink has it, others ask that process for reads
through a Unix socket in the store's folder (`sinks.store_server`): `open_for_reading` finds out by itself.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

import clickhouse_connect
import tenacity
from clickhouse_connect.driver.exceptions import ClickHouseError
from msgspec import Struct
from urllib3.exceptions import HTTPError

from sinks.checked_http import CheckedPool, Deadline

_ROWS_PER_BLOCK = 10_000
_OPEN_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.1
_LONGEST_READ_SECONDS = 86_400
#: 0.1 + 0.2 + 0.4 + 0.8 seconds between them.
_TRIES = 5
_FIRST_WAIT_SECONDS = 0.1
_SETTINGS = {
    # Otherwise rows would be acknowledged before they are stored.
    "async_insert": 0,
    # A block may hold many years, when days are closed for the first time; refusing it would stop the sink for good.
    "max_partitions_per_insert_block": 0,
    # Rows of one key are always in one partition: a partition of one part has nothing to replace.
    "do_not_merge_across_partitions_select_final": 1,
}
_LOCK = "store.lock"

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Of a text so many values are handed on together: some hundred kilobytes, which stay in the processor's cache while
#: they are sent, received, hashed and written.
_LINES_PER_PIECE = 4_096


class QueryLimits(Struct, frozen=True):
    """What one query may take: time in seconds, memory in bytes. Sorts and sums that are larger go to disk."""

    seconds: int = 600
    memory_bytes: int = 4 << 30

    def settings(self) -> dict[str, int]:
        """As the engine names them."""
        return {
            "max_execution_time": self.seconds,
            "max_memory_usage": self.memory_bytes,
            "max_bytes_before_external_sort": self.memory_bytes // 4,
            "max_bytes_before_external_group_by": self.memory_bytes // 4,
        }


DEFAULT_LIMITS = QueryLimits()


class StoreTimeouts(Struct, frozen=True):
    """How long a server may take, in seconds; then the call fails, and its connection is not used again.

    Each is for a call as a whole, whatever comes in between. There is none for silence alone: a server that sorts says
    nothing for minutes. A machine that has gone is noticed earlier, by TCP's keep-alive, after two minutes.
    """

    #: A lost SYN is sent again after 1, 3 and 7 seconds: three may be lost.
    connect_seconds: int = 10
    #: Version, settings and a probe: a server that is well answers them at once.
    open_seconds: float = 30
    #: An insert, or a statement. A statement for a cluster waits up to 180 s for its nodes, and must hear that; the
    #: largest block, 128 MiB, gets through where half a megabyte a second does.
    statement_seconds: float = 300
    #: What a query may take beyond `QueryLimits.seconds`, when the server should have stopped it and said so.
    query_margin_seconds: float = 30


DEFAULT_TIMEOUTS = StoreTimeouts()


class StoreUnavailable(Exception):
    """The store cannot be opened or asked now. The message says why and what to do."""


class StoreFailed(Exception):
    """The store refused a statement or the connection broke: try again later."""


class QueryTooLarge(StoreFailed):
    """The query went beyond its limits of time or memory: it will again."""


#: The engine's codes for that.
_TOO_LARGE = re.compile(r"[Cc]ode: (159|160|241|307|396)\b")

#: What the driver and what is under it raise when a server refuses or a line breaks.
_FAILURES = (ClickHouseError, HTTPError, HTTPException, OSError)


def failure_of(text: str) -> StoreFailed:
    """What the engine says went wrong, as an exception."""
    return QueryTooLarge(text) if _TOO_LARGE.search(text) else StoreFailed(text)


class ReadableStore(Protocol):
    """What reports and status need."""

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query. Strings come as text, `parameters` are bound by the engine (`{name:Type}`)."""

    def stream(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """The same in blocks of rows, without holding all of them."""

    def stream_binary(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """As `stream`, with strings as the bytes that they are: raw events need not be text."""

    def stream_text(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[bytes]:
        """The bytes of a query's one column, a string, without holding all of them."""

    def close(self) -> None: ...


class Store:
    """A ClickHouse client of this process, embedded or HTTP, for one thread at a time.

    `limits`: what its queries may take from now on. `timeouts`: how long a server may take.
    """

    def __init__(
        self,
        dsn: str,
        lock: int | None = None,
        limits: QueryLimits = DEFAULT_LIMITS,
        timeouts: StoreTimeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self._dsn = dsn
        self._lock = lock
        self.limits = limits
        self._timeouts = timeouts
        self._pool = None if dsn.startswith("chdb:") else CheckedPool(dsn)
        options = {} if self._pool is None else _server_options(dsn, self._pool, timeouts)
        try:
            with self._within(timeouts.open_seconds):
                self._client = clickhouse_connect.get_client(dsn=dsn, settings=_SETTINGS, **options)
        except Exception as error:
            # A store that is not there, an address that is none, an option that the driver does not know.
            raise StoreUnavailable(f"the store does not open: {_reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def command(self, sql: str, parameters: dict[str, object] | None = None) -> None:
        """Run a statement that gives no rows."""
        with self._within(self._timeouts.statement_seconds):
            self._client.command(sql, parameters=parameters)

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        return [row for block in self.stream(sql, parameters) for row in block]

    def stream(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._stream(sql, parameters, {})

    def stream_binary(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        return self._stream(sql, parameters, {"String": "bytes"})

    def _stream(
        self, sql: str, parameters: dict[str, object] | None, formats: dict[str, str]
    ) -> Iterator[list[tuple[Any, ...]]]:
        settings = {"max_block_size": _ROWS_PER_BLOCK, **self.limits.settings()}
        for block in self._blocks(
            lambda: self._client.query_row_block_stream(
                sql, parameters=parameters, settings=settings, query_formats=formats
            )
        ):
            yield [tuple(row) for row in block]

    def stream_text(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[bytes]:
        # Not a format of the engine's: in Native the driver sees an error that comes after the first rows.
        for (column,) in self._blocks(
            lambda: self._client.query_column_block_stream(
                sql, parameters=parameters, settings=self.limits.settings(), query_formats={"String": "bytes"}
            )
        ):
            for start in range(0, len(column), _LINES_PER_PIECE):
                yield b"".join(column[start : start + _LINES_PER_PIECE])

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None:
        """Insert one block, given by column; either all of it is stored or StoreFailed is raised (then insert again)."""
        with self._within(self._timeouts.statement_seconds):
            self._client.insert(table, columns, column_names=list(names), column_oriented=True)

    def _blocks(self, ask: Callable[[], Any]) -> Iterator[Any]:
        """The blocks of the answer to a query, which ends as the server ended it, or with StoreFailed."""
        deadline = self._deadline(self.limits.seconds + self._timeouts.query_margin_seconds)
        try:
            with deadline:
                with deadline.requesting():
                    answer = ask()
                with answer as blocks:
                    try:
                        yield from blocks
                    except BaseException:
                        # Otherwise the driver reads on to the end of an answer that nobody wants any more.
                        deadline.cut()
                        raise
        except Exception as error:
            # Whatever it is: bytes that are wrong can make the driver's decoder raise anything.
            raise _failure(error, deadline) from error

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """The time that what the block asks of a server may take; StoreFailed when it is over, or what it asks fails."""
        deadline = self._deadline(seconds)
        try:
            with deadline, deadline.requesting():
                yield
        except _FAILURES as error:
            raise _failure(error, deadline) from error

    def _deadline(self, seconds: float) -> Deadline:
        # The embedded engine has no line that could hang, and stops queries itself.
        return Deadline(seconds if self._pool is not None else None)

    def another_handle(self) -> "Store":
        """A second client of the same engine, for another thread."""
        return Store(self._dsn, limits=self.limits, timeouts=self._timeouts)

    def close(self) -> None:
        self._client.close()
        if self._pool is not None:
            self._pool.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _server_options(dsn: str, pool: CheckedPool, timeouts: StoreTimeouts) -> dict[str, Any]:
    return {
        "pool_mgr": pool,
        # The driver goes by the port otherwise, and sends the password over a bare line to all others than 8443.
        "interface": "https" if dsn.startswith("https:") else "http",
        "connect_timeout": timeouts.connect_seconds,
        # Longer than the deadline of any call, which is what ends it.
        "send_receive_timeout": _LONGEST_READ_SECONDS,
        # The pool compresses.
        "compress": False,
        # A server takes parameters in the address, which is short, or in the body.
        "form_encode_query_params": True,
        # What a server still does for a call that was given up must not lock out the next one.
        "autogenerate_session_id": False,
    }


def _failure(error: Exception, deadline: Deadline) -> StoreFailed:
    """What went wrong, as our exception."""
    if deadline.over:
        return StoreFailed(f"the store did not answer within {deadline.seconds} s")
    return failure_of(_reason(error))


def _reason(error: BaseException) -> str:
    """What an error says, and what its causes say that it does not."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if not any(text in earlier for earlier in said):
            said.append(text)
        cause = cause.__cause__
    return ": ".join(said)


def open_embedded(folder: Path, limits: QueryLimits = DEFAULT_LIMITS) -> Store:
    """Open the embedded store of a folder for this process alone; StoreUnavailable if another process has it."""
    return Store(f"chdb://{embedded_engine(folder)}", lock_embedded(folder), limits)


def embedded_engine(folder: Path) -> Path:
    """Where the engine keeps the store of a folder."""
    return (folder / "chdb").resolve()


def lock_embedded(folder: Path) -> int:
    """Keep others from opening the store of a folder, until the descriptor is closed; StoreUnavailable if one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreUnavailable(f"another process has the store in {folder} open") from None
    return lock


def open_store(dsn: str | None, folder: Path) -> Store:
    """The store for writing: a server's if a DSN is configured, else the embedded one of the folder."""
    return open_embedded(folder) if dsn is None else patiently(Store, dsn)


def patiently(call: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
    """What a call gives, tried some times: a start is many requests, and one that breaks must not end all of it.

    Only some times, because a wrong address, or a statement that the server refuses, should be known soon. The call
    must be one that may be repeated.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreFailed, StoreUnavailable)),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=tenacity.wait_exponential(_FIRST_WAIT_SECONDS),
        reraise=True,
    )(call, *arguments, **named)


def open_while_sinking(dsn: str | None, folder: Path, limits: QueryLimits = DEFAULT_LIMITS) -> ReadableStore:
    """The store for reading while a sink is meant to have it open; StoreUnavailable if it does not answer (yet)."""
    from sinks.store_server import RemoteStore

    if dsn is not None:
        return Store(dsn, limits=limits)
    try:
        return RemoteStore(folder, limits)
    except OSError as error:
        raise StoreUnavailable(f"no sink answers in {folder}: {error}") from error


def open_for_reading(dsn: str | None, folder: Path, limits: QueryLimits = DEFAULT_LIMITS) -> ReadableStore:
    """The store for reading: as `open_store`, or through the sink that has the embedded one open."""
    if dsn is not None:
        return Store(dsn, limits=limits)
    if not (folder / "chdb").exists():
        raise StoreUnavailable(f"there is no store in {folder} yet: run `rtmeter up` first")
    # A sink that is starting has the lock before it answers, one that is stopping still has it afterwards.
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        stop=tenacity.stop_after_delay(_OPEN_SECONDS),
        wait=tenacity.wait_fixed(_LOOK_AGAIN_SECONDS),
        reraise=True,
    ):
        with attempt:
            try:
                return open_while_sinking(None, folder, limits)
            except StoreUnavailable:
                return open_embedded(folder, limits)
    raise AssertionError("tenacity either returns or raises")
