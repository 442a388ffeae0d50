"""What a caller asks of the store and is answered at once: usage by day, and why it is so.

Who may see what is decided here for the extensions and the console alike.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from billing.api import parameters
from billing.api.errors import ErrorCode, bad_request, unavailable
from billing.api.reports import own_sub_partner
from billing.api.services import Services
from billing.api.tokens import Caller
from billing.audit.explain import TooManyRecords, explain
from billing.audit.explanation import Explanation, NotFound
from billing.audit.question import Question
from billing.explain_row import HeldInterval, held_intervals
from billing.ids import ORGANIZATION, own_id
from billing.report import ReportRequest, ReportType
from schemas.instants import day_of_ms
from schemas.topics import TopicNames
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable

MOST_DAYS = 400
_QUERY_WAIT_SECONDS = 10
#: Of one customer: about a second of work, which other requests wait for.
_MOST_RECORDS = 20_000
_T = TypeVar("_T")


class Subscriber(Struct, frozen=True):
    """Who a caller asks about: ids as it gave them. Without a sub-partner the customer is the caller's own."""

    customer: str
    subscriber: str
    sub_partner: str | None


class Why(Struct, frozen=True):
    """The intervals that the reports add up, and why they are so; or, in `not_explained`, why that is not told."""

    held: list[HeldInterval]
    explanation: Explanation | None
    not_explained: str | None


def usage_wanted(services: Services, caller: Caller, start: str, end: str, sub_partner: str | None) -> ReportRequest:
    """Whose usage of which days a caller asks for: its own and its sub-partners', or one sub-partner's. ApiError 400."""
    only = own_sub_partner(services, caller, sub_partner)
    return ReportRequest(ReportType.PARTNER, caller.org_id, only, *_days(start, end))


def ask_why(services: Services, caller: Caller, about: Subscriber, start: str, end: str) -> Why:
    """Why a subscriber of the caller's, or of its sub-partner's, is billed for these days. ApiError 400, 503."""
    owner = own_sub_partner(services, caller, about.sub_partner) or caller.org_id
    first_day, last_day = _days(start, end)
    customer_id = own_id(ORGANIZATION, about.customer)
    question = Question(
        owner,
        customer_id,
        about.subscriber,
        first_day,
        last_day,
        own_only=True,
        today=day_of_ms(services.now_ms()),
        most_records=_MOST_RECORDS,
    )

    def ask(store: ReadableStore) -> Why:
        held = held_intervals(store, owner, customer_id, about.subscriber, first_day, last_day)
        return Why(held, *_explanation(store, services.names, question))

    return ask_store(services, ask)


def ask_store(services: Services, query: Callable[[ReadableStore], _T]) -> _T:
    """What the store answers; ApiError 503 if it does not, or has too much to answer."""
    if not services.queries.acquire(timeout=_QUERY_WAIT_SECONDS):
        raise unavailable()
    try:
        store = services.open_store()
        try:
            return query(store)
        finally:
            store.close()
    except (StoreFailed, StoreUnavailable, OSError):
        raise unavailable() from None
    finally:
        services.queries.release()


def _explanation(store: ReadableStore, names: TopicNames, question: Question) -> tuple[Explanation | None, str | None]:
    try:
        return explain(store, names, question), None
    except (NotFound, TooManyRecords) as none:
        return None, str(none)


def _days(start: str, end: str) -> tuple[int, int]:
    first_day, last_day = parameters.day(start, "start"), parameters.day(end, "end")
    if first_day > last_day:
        raise bad_request(ErrorCode.DATES_REVERSED, "start is after end.")
    if last_day - first_day >= MOST_DAYS:
        raise bad_request(ErrorCode.BAD_PARAMETER, f"At most {MOST_DAYS} days at a time.")
    return first_day, last_day
