"""What stands before every route: tracking ids, limits on bodies, and an answer whatever breaks.

Plain ASGI, because it must also see what the framework does not: bodies that are read in pieces, and bugs.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing.api.errors import ApiError, ErrorCode, a_bug, answer

logger = logging.getLogger("rtmeter.api")

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


#: Hears of each request that was answered: the pattern of its route (None if no route has its path), its method, the
#: status (0 if the client was gone before), the seconds it took.
Answered = Callable[[str | None, str, int, float], None]


#: How an error is told to the client of a request, whose ASGI scope comes first; the last is the tracking id.
Told = Callable[[Scope, ApiError, str], ASGIApp]


def as_json(scope: Scope, error: ApiError, tracking_id: str) -> ASGIApp:
    """The API's own form."""
    return answer(error, tracking_id)


def nobody(route: str | None, method: str, status: int, seconds: float) -> None:
    """No one is told."""


class Guard:
    """Wraps the application. One line of log per request: its path, never its query, which may hold a download link."""

    def __init__(
        self, app: ASGIApp, max_body_bytes: int, body_seconds: int, answered: Answered = nobody, told: Told = as_json
    ) -> None:
        self._app = app
        self._told = told
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tracking_id = f"RTMETER_{uuid.uuid4()}"
        scope["rtmeter.tracking_id"] = tracking_id
        started = time.monotonic()
        status = 0
        whole = False

        async def send_marked(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.body":
                whole = not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["trackingid"] = tracking_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
                    # No id has one, and PostgreSQL takes none.
                    raise ApiError(400, ErrorCode.BAD_PARAMETER, "U+0000 is not allowed.")
                body = await self._body(scope, receive)
                await self._app(scope, body, send_marked)
            except ApiError as error:
                await self._told(scope, error, tracking_id)(scope, receive, send_marked)
            except Exception:
                logger.exception(
                    "a bug: %s %s", scope["method"], _shown(scope["path"]), extra={"tracking_id": tracking_id}
                )
                if status and not whole:
                    raise  # the answer is under way: only breaking it off tells the client that it is not whole
                if not whole:
                    await self._told(scope, a_bug(), tracking_id)(scope, receive, send_marked)
        finally:
            seconds = time.monotonic() - started
            self._answered(getattr(scope.get("route"), "path", None), scope["method"], status, seconds)
            elapsed_ms = int(1000 * seconds)
            about = {"status": status, "elapsed_ms": elapsed_ms, "tracking_id": tracking_id}
            logger.info("%s %s %d", scope["method"], _shown(scope["path"]), status, extra=about)

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read whole before anything else works: a slow client holds a connection and nothing more."""
        if scope["method"] in ("GET", "HEAD", "DELETE"):
            return receive
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return _once(message)
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        raise ApiError(
                            413,
                            ErrorCode.BODY_TOO_LARGE,
                            f"The body is larger than {self._max_body_bytes} bytes.",
                            {"Connection": "close"},
                        )
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ApiError(
                408, ErrorCode.BODY_TOO_SLOW, "The body did not come in time.", {"Connection": "close"}
            ) from None
        return _once({"type": "http.request", "body": bytes(body), "more_body": False}, then=receive)


def _once(message: Message, then: Receive | None = None) -> Receive:
    waiting = [message]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        return message if then is None else await then()

    return receive


def _shown(path: str) -> str:
    """A path as it may stand in a log line: whatever a client sends, on one line."""
    return path.encode("unicode_escape").decode()[:300]
