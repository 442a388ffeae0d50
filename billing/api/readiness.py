"""Whether an API process can answer: both stores do. Without a token, because load balancers have none."""

import logging
import threading
from collections.abc import Callable

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from billing.jobs.register import ReportRegister
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable
from streams.health import Health

logger = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)
#: An answer counts for so long: whoever asks without a token must not be able to keep the stores busy.
_KEPT_MS = 2_000


class Readiness:
    """Asks the stores, at most every two seconds. A process that answers at all is healthy: it keeps nothing."""

    def __init__(
        self, register: ReportRegister, open_store: Callable[[], ReadableStore], now_ms: Callable[[], int]
    ) -> None:
        self._register = register
        self._open_store = open_store
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._asked_ms: int | None = None
        self._health = Health(ready=False, healthy=True, says="nothing was asked yet")

    def health(self) -> Health:
        """As of now, or of the last two seconds. What is wrong is in the log: the line for the world names the store only."""
        with self._lock:
            now_ms = self._now_ms()
            if self._asked_ms is None or not 0 <= now_ms - self._asked_ms < _KEPT_MS:
                self._health = self._ask()
                self._asked_ms = now_ms
            return self._health

    def _ask(self) -> Health:
        silent = [
            name
            for name, answers in (("the relational store", self._register.ping), ("the store", self._ping_store))
            if not self._answers(name, answers)
        ]
        if silent:
            return Health(ready=False, healthy=True, says=f"{' and '.join(silent)} does not answer")
        return Health(ready=True, healthy=True, says="both stores answer")

    def _answers(self, name: str, ask: Callable[[], None]) -> bool:
        try:
            ask()
        except (StoreFailed, StoreUnavailable, SQLAlchemyError, OSError) as failure:
            logger.warning("%s does not answer: %s", name, failure)
            return False
        return True

    def _ping_store(self) -> None:
        store = self._open_store()
        try:
            store.query("SELECT 1")
        finally:
            store.close()


@router.get("/healthz")
async def healthz() -> Response:
    """Whether the process answers: on its event loop, so that a full pool of threads is no illness."""
    return PlainTextResponse("it answers\n")


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """Whether both stores answer."""
    health: Health = request.app.state.services.readiness.health()
    return PlainTextResponse(f"{health.says}\n", 200 if health.ready else 503)
