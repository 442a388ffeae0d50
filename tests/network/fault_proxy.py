"""A line to a server on which things go wrong by plan: a TCP proxy that knows where HTTP messages begin and end.

It reads a request whole, deals it a fault or none, and does to it and its answer what that fault is. Where a fault has
forms (a reset after one byte or after all but one, a 503 before or after the server did what was asked) a seeded dice
chooses. Everything that it delivers otherwise is what came, byte for byte, on connections that are kept.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import TracebackType
from typing import Self

_RECEIVE_BYTES = 1 << 16
_SLOW_BYTES, _SLOW_SECONDS = 128, 0.125  # 1 KB/s
_LINE_END = b"\r\n"
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nbusy\n"


class Fault(StrEnum):
    """What happens to a request."""

    ANSWER_DROPPED = "answer dropped after apply"
    REQUEST_RESET = "reset in mid-request"
    ANSWER_RESET = "reset in mid-answer"
    REFUSED = "503"
    STALLED = "stall"
    HALF_OPEN = "half-open"
    SLOW = "1 KB/s"
    WRONG_REQUEST = "wrong byte in the request"
    WRONG_ANSWER = "wrong byte in the answer"


class Deck:
    """The faults that are still to come, dealt in a random order to about `share` of the requests."""

    def __init__(self, counts: Mapping[Fault, int], seed: int) -> None:
        self.rng = random.Random(seed)
        self._cards = [fault for fault, count in counts.items() for _ in range(count)]
        self.rng.shuffle(self._cards)
        self.share = 0.5
        self._lock = threading.Lock()
        self.dealt: Counter[Fault] = Counter()

    @property
    def left(self) -> int:
        return len(self._cards)

    def deal(self, head: bytes) -> Fault | None:
        """The fault of a request with this head, if any."""
        with self._lock:
            if not self._cards or self.rng.random() >= self.share:
                return None
            # Only what has a checksum is promised to be refused: see sinks.checked_http for what has none.
            checked = b"\r\ncontent-encoding: zstd" in head.lower()
            for n in reversed(range(len(self._cards))):
                if checked or self._cards[n] != Fault.WRONG_REQUEST:
                    fault = self._cards.pop(n)
                    self.dealt[fault] += 1
                    return fault
            return None


class Gone(Exception):
    """The other side has closed the connection, or says nothing."""


class FaultProxy:
    """Listens on `port` of loopback, in front of another port. `patience_seconds`: longer than any client's time-out."""

    def __init__(self, server_port: int, deck: Deck, patience_seconds: float) -> None:
        self._server_port = server_port
        self._deck = deck
        self._patience_seconds = patience_seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The accepting thread hears a shutdown, but not a close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with _Line(sock, self._patience_seconds) as client, contextlib.suppress(Gone, OSError):
            server = self._connect()
            try:
                while True:
                    head, body = client.message()
                    fault = self._deck.deal(head)
                    if not _ACTS[fault](self, client, server, head, body):
                        return
            finally:
                server.close()

    def _connect(self) -> "_Line":
        return _Line(socket.create_connection(("127.0.0.1", self._server_port)), self._patience_seconds)

    def _deliver(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        return client.pass_on(_ask(server, head + body))

    def _drop_answer(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        _ask(server, head + body)
        return client.end(self._deck.rng)

    def _reset_request(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        server.send(head + body[: self._somewhere(body)])
        server.end(self._deck.rng)
        return client.reset()

    def _reset_answer(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        answer = _ask(server, head + body)
        client.send(answer[: self._somewhere(answer)])
        return client.end(self._deck.rng)

    def _refuse(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        if self._deck.rng.random() < 0.5:
            _ask(server, head + body)
        return client.pass_on(_REFUSAL)

    def _stall(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        answer = _ask(server, head + body)
        if self._deck.rng.random() < 0.5:
            client.send(answer[: self._somewhere(answer)])
        return client.wait_for_its_end()

    def _leave_half_open(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        server.close()
        return client.wait_for_its_end()

    def _slow_down(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        slow_seconds = self._deck.rng.choice([0.3, self._patience_seconds])
        if self._deck.rng.random() < 0.5:
            server.send_slowly(head + body, slow_seconds)
            return client.pass_on(server.answer())
        client.send_slowly(_ask(server, head + body), slow_seconds)
        return True

    def _spoil_request(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        return self._deliver(client, server, head, self._spoiled(body))

    def _spoil_answer(self, client: "_Line", server: "_Line", head: bytes, body: bytes) -> bool:
        return client.pass_on(self._spoiled(_ask(server, head + body)))

    def _somewhere(self, message: bytes) -> int:
        """After some of its bytes: often the first or all but the last, where things are most easily overlooked."""
        if len(message) < 2:
            return 0
        return self._deck.rng.choice([1, len(message) - 1, self._deck.rng.randrange(1, len(message))])

    def _spoiled(self, message: bytes) -> bytes:
        if not message:
            return message
        spoiled = bytearray(message)
        spoiled[self._deck.rng.randrange(len(spoiled))] ^= self._deck.rng.randrange(1, 256)
        return bytes(spoiled)


_ACTS = {
    None: FaultProxy._deliver,
    Fault.ANSWER_DROPPED: FaultProxy._drop_answer,
    Fault.REQUEST_RESET: FaultProxy._reset_request,
    Fault.ANSWER_RESET: FaultProxy._reset_answer,
    Fault.REFUSED: FaultProxy._refuse,
    Fault.STALLED: FaultProxy._stall,
    Fault.HALF_OPEN: FaultProxy._leave_half_open,
    Fault.SLOW: FaultProxy._slow_down,
    Fault.WRONG_REQUEST: FaultProxy._spoil_request,
    Fault.WRONG_ANSWER: FaultProxy._spoil_answer,
}


def _ask(server: "_Line", request: bytes) -> bytes:
    server.send(request)
    return server.answer()


class _Line:
    """One side's connection."""

    def __init__(self, sock: socket.socket, patience_seconds: float) -> None:
        sock.settimeout(patience_seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._patience_seconds = patience_seconds
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_slowly(self, data: bytes, slow_seconds: float) -> None:
        """At 1 KB/s for that long, and then the rest."""
        until = time.monotonic() + slow_seconds
        while data and time.monotonic() < until:
            self.send(data[:_SLOW_BYTES])
            data = data[_SLOW_BYTES:]
            time.sleep(_SLOW_SECONDS)
        self.send(data)

    def pass_on(self, answer: bytes) -> bool:
        """Send an answer; False, and closed, if it broke off."""
        self.send(answer)
        if not _is_whole(answer):
            self.close()
            return False
        return True

    def message(self) -> tuple[bytes, bytes]:
        """The next request: its head and its body, both as they came."""
        head = self._until(_LINE_END * 2)
        return head, b"".join(self._body(head))

    def answer(self) -> bytes:
        """The next answer, as far as it comes."""
        received = b""
        with contextlib.suppress(Gone):
            received += self._until(_LINE_END * 2)
            for piece in self._body(received):
                received += piece
        return received

    def end(self, rng: random.Random) -> bool:
        """Close, one way or the other."""
        return self.reset() if rng.random() < 0.5 else self.close()

    def reset(self) -> bool:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return self.close()

    def close(self) -> bool:
        self._sock.close()
        return False

    def wait_for_its_end(self) -> bool:
        """Until the other side has closed."""
        with contextlib.suppress(OSError):
            while self._sock.recv(_RECEIVE_BYTES):
                pass
        return self.close()

    def _body(self, head: bytes) -> Iterator[bytes]:
        lines = head.lower().split(_LINE_END)
        if b"transfer-encoding: chunked" in lines:
            while True:
                size = self._until(_LINE_END)
                yield size
                yield self._exactly(int(size, 16) + 2)
                if int(size, 16) == 0:
                    return
        for line in lines:
            if line.startswith(b"content-length:"):
                yield self._exactly(int(line.split(b":")[1]))

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._receive()
        end = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _receive(self) -> None:
        try:
            received = self._sock.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise Gone from error
        if not received:
            raise Gone
        self._buffer += received


def _is_whole(answer: bytes) -> bool:
    head, mark, body = answer.partition(_LINE_END * 2)
    return bool(mark) and (body.endswith(b"0\r\n\r\n") if b"chunked" in head.lower() else bool(body))
