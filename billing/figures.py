"""What the stores hold open: the report queue, dead letters, what reconcile found, services without a price.

It is asked now and then by whoever makes reports, and exported. Each figure stands alone: if a store does not answer, the
figures of the other one are still right, and the time of the last whole look says so.
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from billing.audit.reconcile.check import Scope, Subject
from billing.audit.reconcile.notices import without_price
from billing.audit.reconcile.record import ReconcileRuns
from billing.dead_letters import open_by_reason
from billing.dismissals import Dismissed
from billing.jobs.register import ReportRegister
from billing.metrics import FigureMetrics
from schemas.instants import day_of_ms
from schemas.topics import TopicNames
from sinks.catalog import load_catalog
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
#: Prices go over a month of daily rows: every quarter of an hour is often enough.
_PRICES_EVERY_LOOKS = 15
_PRICE_DAYS = 31


class Figures:
    """Looks, one after the other."""

    def __init__(
        self,
        register: ReportRegister,
        runs: ReconcileRuns,
        dismissed: Dismissed,
        open_store: Callable[[], ReadableStore],
        metrics: FigureMetrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._register = register
        self._runs = runs
        self._dismissed = dismissed
        self._open_store = open_store
        self._metrics = metrics
        self._now_ms = now_ms
        self._looks_until_prices = 0

    def run(self, stop: threading.Event) -> None:
        """Look until `stop`."""
        while not stop.is_set():
            self.look()
            stop.wait(LOOK_SECONDS)

    def look(self) -> bool:
        """Look once; whether all was said. What fails is counted and logged, and asked again the next time."""
        asked = [self._ask(self._relational), self._ask(self._store)]
        if all(asked):
            self._metrics.looked(self._now_ms())
        return all(asked)

    def _ask(self, question: Callable[[], None]) -> bool:
        try:
            question()
        except (StoreFailed, StoreUnavailable, SQLAlchemyError, OSError) as failure:
            logger.warning("what is open is not known: %s", failure)
        except Exception:
            logger.exception("what is open is not known")
        else:
            return True
        self._metrics.failed()
        return False

    def _relational(self) -> None:
        self._metrics.queue(self._register.oldest_job_age_ms())
        self._metrics.reports(self._register.count_by_status())
        last = self._runs.last()
        if last is not None:
            self._metrics.reconciled(last, settled=not self._runs.unsettled())

    def _store(self) -> None:
        store = self._open_store()
        try:
            now_ms = self._now_ms()
            self._metrics.letters(open_by_reason(store, self._dismissed()), now_ms)
            if self._looks_until_prices <= 0:
                self._metrics.without_price(services_without_price(store, day_of_ms(now_ms)))
                self._looks_until_prices = _PRICES_EVERY_LOOKS
            self._looks_until_prices -= 1
        finally:
            store.close()


def services_without_price(store: ReadableStore, today: int) -> int:
    """Services by org with usage on closed days of the last 31 (`today` in days since the epoch) that are on no order."""
    scope = Scope(today - _PRICE_DAYS, today - 1, None, None, {})
    subject = Subject(store, TopicNames.with_prefix(""), load_catalog(store), scope)
    return without_price(subject).count
