"""What a store makes of answers that are cut, changed, another's, or never come: the right rows, or a failure."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import pytest

from sinks import checked_http, store
from sinks.store import QueryLimits, QueryTooLarge, Store, StoreFailed, StoreTimeouts, StoreUnavailable
from tests.network.answers import Answering, ToldServer, with_bytes
from tests.network.clickhouse_http import clickhouse

SHORT = StoreTimeouts(statement_seconds=1, query_margin_seconds=0)
#: For a machine that is busy.
SLACK_SECONDS = 10.0
SQL = "SELECT concat('line ', toString(number), '\\r\\n') AS line FROM numbers(7)"
NOTHING = "SELECT toString(number) AS line FROM numbers(7) WHERE number > 100"

READS: dict[str, Callable[[Store, str], list[Any]]] = {
    "query": lambda store, sql: store.query(sql),
    "stream_binary": lambda store, sql: [row for block in store.stream_binary(sql) for row in block],
    "stream_text": lambda store, sql: [b"".join(store.stream_text(sql))],
}
TRIED = [*((read, SQL) for read in READS), ("query", NOTHING)]


@pytest.fixture(scope="module")
def clickhouse_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with clickhouse(tmp_path_factory.mktemp("clickhouse") / "server") as port:
        yield port


@pytest.fixture
def server(clickhouse_port: int) -> Iterator[ToldServer]:
    with ToldServer(clickhouse_port) as server:
        yield server


@pytest.fixture
def through(server: ToldServer) -> Iterator[Store]:
    with Store(f"http://127.0.0.1:{server.port}") as store:
        yield store


@pytest.fixture
def hurried(server: ToldServer) -> Iterator[Store]:
    """A store that gives its server a second."""
    with Store(f"http://127.0.0.1:{server.port}", timeouts=SHORT) as store:
        yield store


def recorded(server: ToldServer, store: Store, read: str, sql: str) -> tuple[list[Any], bytes]:
    """What a query gives, and its answer on the line."""
    rows = READS[read](store, sql)
    return rows, server.last_answer


def believed(server: ToldServer, answer: bytes, read: Callable[[], list[Any]]) -> list[Any] | None:
    """What a reader takes the answer for, None if it refuses it."""
    with server.told(with_bytes(answer)):
        try:
            return read()
        except StoreFailed:
            return None


@pytest.mark.parametrize(("read", "sql"), TRIED)
def test_an_answer_that_ends_early_at_any_byte_is_no_answer(
    server: ToldServer, through: Store, read: str, sql: str
) -> None:
    rows, answer = recorded(server, through, read, sql)
    for length in range(len(answer)):
        found = believed(server, answer[:length], lambda: READS[read](through, sql))
        # Without the end of its last line an answer is still whole.
        assert found is None or found == rows, answer[:length]
    assert believed(server, answer, lambda: READS[read](through, sql)) == rows


@pytest.mark.parametrize(("read", "sql"), TRIED)
def test_a_wrong_byte_anywhere_in_an_answer_never_gives_other_rows(
    server: ToldServer, through: Store, read: str, sql: str
) -> None:
    rows, answer = recorded(server, through, read, sql)
    rng = random.Random(read + sql)
    for place, byte in enumerate(answer):
        for wrong in {ord("0"), byte ^ rng.randrange(1, 256)} - {byte}:
            spoiled = answer[:place] + bytes([wrong]) + answer[place + 1 :]
            found = believed(server, spoiled, lambda: READS[read](through, sql))
            assert found is None or found == rows, spoiled


def test_the_driver_alone_takes_wrong_answers_for_right(server: ToldServer) -> None:
    """The twin without the pool: why it is there, and that the two tests above can fail."""
    client = clickhouse_connect.get_client(
        dsn=f"http://127.0.0.1:{server.port}", compress="zstd", send_receive_timeout=2
    )

    def read() -> list[Any]:
        try:
            with client.query_row_block_stream(SQL) as blocks:
                return [row for block in blocks for row in block]
        except Exception as error:
            raise StoreFailed from error

    rows, answer = read(), server.last_answer
    assert len(rows) == 7
    cut = [believed(server, answer[:length], read) for length in range(len(answer))]
    assert [] in cut, "cut off in the headers, it is an answer without rows"
    chunks = answer.index(b"\r\n\r\n") + 4
    no_chunks = answer[:chunks] + b"0" + answer[chunks + 1 :]
    assert answer[chunks + 1 : chunks + 2] in (b"\r", b"0") or believed(server, no_chunks, read) != rows
    assert believed(server, answer[:chunks] + b"0\r\n\r\n", read) == [], "a wrong length of a chunk is its end"
    client.close()


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"302 Found", b"404 Not Found", b"503 Busy"])
def test_what_is_not_a_clickhouse_stores_nothing(server: ToldServer, through: Store, status: bytes) -> None:
    through.command("CREATE TABLE IF NOT EXISTS told (n Int64) ENGINE = MergeTree ORDER BY n")
    page = b"HTTP/1.1 %b\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n" % status
    with server.told(with_bytes(page)), pytest.raises(StoreFailed):
        through.insert("told", ["n"], [[1]])
    with server.told(with_bytes(page)), pytest.raises(StoreFailed):
        through.command("DROP TABLE told")
    with server.told(with_bytes(page)), pytest.raises(StoreUnavailable):
        Store(f"http://127.0.0.1:{server.port}")


def say_nothing(_: bytes, client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


def trickle_headers(_: bytes, client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"X-ClickHouse-Progress: {}\r\n")
        if not _still_there(client):
            return


def trickle_a_body(_: bytes, client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: 1\r\nContent-Encoding: zstd\r\n")
    client.sendall(b"Transfer-Encoding: chunked\r\n\r\nffff\r\n\x28\xb5\x2f\xfd")
    while True:
        client.sendall(b"\0")
        if not _still_there(client):
            return


def _still_there(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True


CALLS: dict[str, Callable[[Store], object]] = {
    "insert": lambda store: store.insert("sink_positions", ["revision"], [[1]]),
    "command": lambda store: store.command("SELECT 1"),
    **{name: lambda store, read=read: read(store, "SELECT '1'") for name, read in READS.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answering", [say_nothing, trickle_headers, trickle_a_body])
def test_no_call_lasts_longer_than_its_time_out(
    server: ToldServer, hurried: Store, call: str, answering: Answering
) -> None:
    hurried.limits = QueryLimits(seconds=1)
    started = time.monotonic()
    with server.told(answering), pytest.raises(StoreFailed, match="did not answer within 1"):
        CALLS[call](hurried)
    assert 1 <= time.monotonic() - started < 1 + SLACK_SECONDS
    hurried.limits = QueryLimits()
    assert hurried.query("SELECT '1'") == [("1",)], "the next call has a connection of its own"


def test_opening_a_server_that_says_nothing_ends(server: ToldServer) -> None:
    started = time.monotonic()
    with server.told(say_nothing), pytest.raises(StoreUnavailable, match="did not answer within 1"):
        Store(f"http://127.0.0.1:{server.port}", timeouts=StoreTimeouts(open_seconds=1))
    assert time.monotonic() - started < 1 + SLACK_SECONDS


def test_a_server_that_does_not_take_what_is_sent_is_given_up(
    server: ToldServer, through: Store, hurried: Store
) -> None:
    through.command("CREATE TABLE IF NOT EXISTS large (s String) ENGINE = MergeTree ORDER BY s")
    through._client.query("DESCRIBE TABLE large")
    described = server.last_answer

    def describe_and_hear_no_more(_: bytes, client: socket.socket) -> None:
        server.deaf.set()
        client.sendall(described)

    block = [[random.Random(1).randbytes(1 << 20) for _ in range(16)]]
    with server.told(describe_and_hear_no_more), pytest.raises(StoreFailed, match="did not answer within 1"):
        hurried.insert("large", ["s"], block)


def test_an_answer_that_nobody_reads_on_is_not_read_to_its_end(server: ToldServer, through: Store) -> None:
    closed = threading.Event()
    # The driver reads 10 MB ahead, and a block of the engine's has 65,409 rows.
    sql = "SELECT concat(toString(number), repeat('x', 100)) AS line FROM numbers(400000)"
    head, _, body = recorded(server, through, "stream_text", sql)[1].partition(b"\r\n\r\n")

    def stay_in_the_middle(_: bytes, client: socket.socket) -> None:
        client.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])
        client.settimeout(60)
        with contextlib.suppress(OSError):
            while client.recv(1 << 16):
                pass
        closed.set()

    with server.told(stay_in_the_middle):
        pieces = through.stream_text("SELECT 1")
        assert next(pieces)
        started = time.monotonic()
        pieces.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < SLACK_SECONDS, "it was waited for"
        assert closed.wait(SLACK_SECONDS), "the connection is still open"


def test_limits_are_known_as_such_over_http(clickhouse_port: int) -> None:
    dsn = f"http://127.0.0.1:{clickhouse_port}"
    with Store(dsn, limits=QueryLimits(seconds=60, memory_bytes=10_000_000)) as small:
        with pytest.raises(QueryTooLarge, match=r"(?i)memory"):
            small.query("SELECT groupArray(number) FROM numbers(10000000)")
    with Store(dsn, limits=QueryLimits(seconds=1)) as short:
        with pytest.raises(QueryTooLarge, match=r"(?i)time"):
            list(short.stream_text("SELECT toString(sum(sipHash64(number))) FROM numbers(100000000000)"))


def test_a_failure_after_the_first_bytes_is_no_short_file_over_http(clickhouse_port: int) -> None:
    with Store(f"http://127.0.0.1:{clickhouse_port}") as store:
        pieces = store.stream_text(
            "SELECT toString(throwIf(number = 2000000)) FROM numbers(3000000) SETTINGS max_threads = 1"
        )
        with pytest.raises(StoreFailed, match="throwIf"):
            assert sum(map(len, pieces)) < 0, "all of it came"


def test_a_body_with_a_wrong_byte_is_no_frame_any_more() -> None:
    body = b"INSERT INTO t (`n`) FORMAT Native\n" + random.Random(3).randbytes(60) * 4
    (frame,) = checked_http._framed([body])  # type: ignore[misc]
    spoiled = [frame[:n] + bytes([frame[n] ^ bit]) + frame[n + 1 :] for n in range(len(frame)) for bit in (1, 16, 128)]
    assert all(_decompressed(one) in (None, body) for one in spoiled)
    bare = checked_http.zstd.compress(body)
    spoiled = [bare[:n] + bytes([bare[n] ^ 1]) + bare[n + 1 :] for n in range(len(bare))]
    assert any(_decompressed(one) not in (None, body) for one in spoiled), "without the checksum some would be believed"


def _decompressed(frame: bytes) -> bytes | None:
    try:
        return checked_http.zstd.decompress(frame)
    except checked_http.zstd.ZstdError:
        return None


def test_https_in_the_address_is_tls_whatever_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said: list[bytes] = []

        def listen() -> None:
            client, _ = listener.accept()
            said.append(client.recv(1 << 16))
            client.close()

        listening = threading.Thread(target=listen)
        listening.start()
        with pytest.raises(StoreUnavailable):
            Store(f"https://user:secret@127.0.0.1:{listener.getsockname()[1]}/db", timeouts=SHORT)
        listening.join(10)
    assert said[0][:2] == b"\x16\x03"


@pytest.mark.parametrize("dsn", ["http://127.0.0.1:x/", "http://127.0.0.1:9/?no_such_option=1", "http://127.0.0.1:9/"])
def test_an_address_that_is_none_is_a_store_that_does_not_open(dsn: str) -> None:
    with pytest.raises(StoreUnavailable, match="does not open"):
        Store(dsn, timeouts=SHORT)


def test_what_went_wrong_is_said_with_its_causes() -> None:
    error = RuntimeError("Stream failed during read")
    error.__cause__ = checked_http.WrongAnswer("the answer has wrong bytes")
    assert store._reason(error) == "Stream failed during read: the answer has wrong bytes"
