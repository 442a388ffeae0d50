"""The store: ClickHouse, embedded (chDB) or a server, behind the few calls that the project makes.

One process at a time may open an embedded store. While a sink has it, others ask that process for reads
through a Unix socket in the store's folder (`sinks.store_server`): `open_for_reading` finds out by itself.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import clickhouse_connect
import tenacity
from clickhouse_connect.driver.exceptions import ClickHouseError
from msgspec import Struct

_ROWS_PER_BLOCK = 10_000
_OPEN_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.1
_SETTINGS = {
    # Otherwise rows would be acknowledged before they are stored.
    "async_insert": 0,
    # A block may hold many years, when days are closed for the first time; refusing it would stop the sink for good.
    "max_partitions_per_insert_block": 0,
    # Rows of one key are always in one partition: a partition of one part has nothing to replace.
    "do_not_merge_across_partitions_select_final": 1,
}
_LOCK = "store.lock"


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


class StoreUnavailable(Exception):
    """The store cannot be opened or asked now. The message says why and what to do."""


class StoreFailed(Exception):
    """The store refused a statement or the connection broke: try again later."""


class QueryTooLarge(StoreFailed):
    """The query went beyond its limits of time or memory: it will again."""


#: The engine's codes for that.
_TOO_LARGE = re.compile(r"Code: (159|160|241|307|396)\b")


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
    """A ClickHouse client of this process: embedded or HTTP. `limits`: what its queries may take from now on."""

    def __init__(self, dsn: str, lock: int | None = None, limits: QueryLimits = DEFAULT_LIMITS) -> None:
        # A server takes parameters in the address, which is short, or in the body.
        options = {} if dsn.startswith("chdb:") else {"form_encode_query_params": True}
        try:
            self._client = clickhouse_connect.get_client(dsn=dsn, settings=_SETTINGS, **options)
        except (ClickHouseError, OSError) as error:
            raise StoreUnavailable(f"the store does not open: {error}") from error
        self._dsn = dsn
        self._lock = lock
        self.limits = limits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def command(self, sql: str, parameters: dict[str, object] | None = None) -> None:
        """Run a statement that gives no rows."""
        try:
            self._client.command(sql, parameters=parameters)
        except (ClickHouseError, OSError) as error:
            raise failure_of(str(error)) from error

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
        try:
            with self._client.query_row_block_stream(
                sql, parameters=parameters, settings=settings, query_formats=formats
            ) as blocks:
                for block in blocks:
                    yield [tuple(row) for row in block]
        except (ClickHouseError, OSError) as error:
            raise failure_of(str(error)) from error

    def stream_text(self, sql: str, parameters: dict[str, object] | None = None) -> Iterator[bytes]:
        # Not a format of the engine's: in Native the driver sees an error that comes after the first rows.
        try:
            with self._client.query_column_block_stream(
                sql, parameters=parameters, settings=self.limits.settings(), query_formats={"String": "bytes"}
            ) as blocks:
                for (column,) in blocks:
                    yield b"".join(column)
        except (ClickHouseError, OSError) as error:
            raise failure_of(str(error)) from error

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None:
        """Insert one block, given by column; either all of it is stored or StoreFailed is raised (then insert again)."""
        try:
            self._client.insert(table, columns, column_names=list(names), column_oriented=True)
        except (ClickHouseError, OSError) as error:
            raise failure_of(str(error)) from error

    def another_handle(self) -> "Store":
        """A second client of the same engine, for another thread."""
        return Store(self._dsn, limits=self.limits)

    def close(self) -> None:
        self._client.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


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
    return open_embedded(folder) if dsn is None else Store(dsn)


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
