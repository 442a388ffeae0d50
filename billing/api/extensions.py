"""Beyond the contract, under a path of our own: details and other forms of a report, point-in-time reports, daily
usage for charts, and why a row is what it is."""

from collections.abc import Callable, Iterator
from typing import IO, Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from billing.api import formats, parameters
from billing.api.errors import ApiError, ErrorCode, bad_request, report_not_found, unavailable
from billing.api.reports import register, visible
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.audit.explain import TooManyRecords
from billing.audit.explain import explain as explain_from_store
from billing.audit.explanation import NotFound
from billing.audit.question import Question
from billing.daily import daily_usage
from billing.explain_row import HeldInterval, held_intervals
from billing.export import open_letters_of
from billing.ids import ORGANIZATION, own_id
from billing.jobs.reports import ReportCategory, ReportStatus, StoredReport
from billing.report import ReportRequest, ReportType, quantity_text
from schemas.instants import day_of_ms, day_text, time_text
from schemas.topics import TopicNames
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable

# The token is judged by the routes themselves; this shows in the documentation that one is needed.
router = APIRouter(prefix="/rtmeter", tags=["extensions"], dependencies=[Depends(HTTPBearer(auto_error=False))])
_MOST_DAYS = 400
_QUERY_WAIT_SECONDS = 10
#: Of one customer: about a second of work, which other requests wait for.
_MOST_RECORDS = 20_000
_T = TypeVar("_T")


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Details(_Body):
    """What is known of a report beyond the contract."""

    id: str
    category: ReportCategory
    status: ReportStatus
    internal: bool
    created: str
    finished: str | None
    sha256: str | None
    size_bytes: int | None
    notes: list[str]


class PointInTime(_Body):
    """A point-in-time report: which licences are held now."""

    type: ReportType
    sub_partner_org_id: str | None = None
    internal: bool = False


class DayOfUsage(_Body):
    """Usage of a day and service at one org. `quantity` in days as plain decimal text, exact to the microday."""

    date: str
    org_id: str
    service_name: str
    quantity: str
    active_licences: int


class Usage(_Body):
    """`open_dead_letters`: refused events of these days that nobody has dealt with; `..._before`: of the days before."""

    items: list[DayOfUsage]
    open_dead_letters: int
    open_dead_letters_before: int


class Interval(_Body):
    """Time in which a licence was held, cut to the days asked for; `until` null: it still runs."""

    service_name: str
    location_id: str
    since: str
    until: str | None
    quantity: str


class Explained(_Body):
    """The intervals of one subscriber that a row of a USER report adds up, and their sum by service and location.

    `explanation`: why they are so, recomputed from the events themselves; its members are those of `rtmeter explain
    --format json`, described in docs/explain.md. Null for the reason in `notExplained`.
    """

    intervals: list[Interval]
    totals: dict[str, str]
    explanation: dict[str, Any] | None
    not_explained: str | None


_First = Annotated[str, Query(alias="start", description="First day, YYYY-MM-DD.")]
_Last = Annotated[str, Query(alias="end", description="Last day, included, YYYY-MM-DD.")]
_SubPartner = Annotated[str | None, Query(alias="subPartnerOrgId", description="Only this sub-partner of yours.")]


@router.get("/reports/{report_id}/details")
def details(request: Request, report_id: str) -> Details:
    """Days of the period that were not closed, open dead letters of the partner, the digest of the file."""
    services = services_of(request)
    report = visible(services, services.caller(request, Scope.REPORTS_READ), report_id)
    return _details(report)


@router.get("/reports/{report_id}/json", response_class=StreamingResponse)
def as_json(request: Request, report_id: str) -> Response:
    """A completed report as a JSON array of objects; every value is the text of the CSV."""
    file = _file(request, report_id)
    return StreamingResponse(_closing(file, formats.as_json(file)), media_type="application/json")


@router.get("/reports/{report_id}/parquet", response_class=StreamingResponse)
def as_parquet(request: Request, report_id: str) -> Response:
    """A completed report as Parquet: dates and quantities typed, all else text."""
    with _file(request, report_id) as file:
        made = formats.as_parquet(file)
    chunks = iter(lambda: made.read(1 << 18), b"")
    return StreamingResponse(_closing(made, chunks), media_type="application/vnd.apache.parquet")


@router.post("/reports")
def create_point_in_time(request: Request, wanted: PointInTime) -> Details:
    """Ask for a report of the licences held now, of type CUSTOMER or USER; get, download and delete it as any other."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_WRITE)
    if wanted.type is ReportType.PARTNER:
        raise bad_request(ErrorCode.UNKNOWN_TYPE, "type is none of CUSTOMER, USER.")
    today = day_of_ms(services.now_ms())
    sub_partner = _sub_partner(services, caller.org_id, wanted.sub_partner_org_id)
    asked = ReportRequest(wanted.type, caller.org_id, sub_partner, today, today, wanted.internal)
    return _details(register(services, asked, caller, category=ReportCategory.POINT_IN_TIME))


@router.get("/usage/daily")
def usage_by_day(request: Request, start: _First, end: _Last, sub_partner: _SubPartner = None) -> Usage:
    """Closed days of the caller's customers and its sub-partners', by org and service. Internal customers left out."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_READ)
    only = _sub_partner(services, caller.org_id, sub_partner)
    first_day, last_day = _days(start, end)
    wanted = ReportRequest(ReportType.PARTNER, caller.org_id, only, first_day, last_day)
    rows, letters = _ask(
        services,
        lambda store: (daily_usage(store, wanted), open_letters_of(store, wanted, services.dismissed())),
    )
    return Usage(
        open_dead_letters=letters.of_period,
        open_dead_letters_before=letters.before,
        items=[
            DayOfUsage(
                date=day_text(row.day),
                org_id=row.owner_id,
                service_name=row.item,
                quantity=quantity_text(row.quantity_microdays),
                active_licences=row.active_licences,
            )
            for row in rows
        ],
    )


@router.get("/explain")
def explain(
    request: Request,
    customer: Annotated[str, Query(alias="customerOrgId")],
    subscriber: Annotated[str, Query(alias="subscriberId")],
    start: _First,
    end: _Last,
    sub_partner: _SubPartner = None,
) -> Explained:
    """Why a row of a USER report is what it is: the subscriber's intervals, cut to the period, and their sums.

    With each event that they come from, what it did, what overrode it, and the arithmetic of each interval.
    """
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_READ)
    owner = _sub_partner(services, caller.org_id, sub_partner) or caller.org_id
    first_day, last_day = _days(start, end)
    customer_id = own_id(ORGANIZATION, customer)
    question = Question(
        owner,
        customer_id,
        subscriber,
        first_day,
        last_day,
        own_only=True,
        today=day_of_ms(services.now_ms()),
        most_records=_MOST_RECORDS,
    )
    found, (explanation, not_explained) = _ask(
        services,
        lambda store: (
            held_intervals(store, owner, customer_id, subscriber, first_day, last_day),
            _explanation(store, services.names, question),
        ),
    )
    totals: dict[str, int] = {}
    for interval in found:
        row = f"{interval.item} {interval.location_id}".strip()
        totals[row] = totals.get(row, 0) + interval.quantity_microdays
    return Explained(
        intervals=[_interval(interval) for interval in found],
        totals={row: quantity_text(quantity) for row, quantity in sorted(totals.items())},
        explanation=explanation,
        not_explained=not_explained,
    )


def _explanation(
    store: ReadableStore, names: TopicNames, question: Question
) -> tuple[dict[str, Any] | None, str | None]:
    """The explanation as JSON has it, or why there is none."""
    try:
        return msgspec.to_builtins(explain_from_store(store, names, question)), None
    except (NotFound, TooManyRecords) as none:
        return None, str(none)


def _interval(held: HeldInterval) -> Interval:
    return Interval(
        service_name=held.item,
        location_id=held.location_id,
        since=time_text(held.start_ms),
        until=None if held.end_ms is None else time_text(held.end_ms),
        quantity=quantity_text(held.quantity_microdays),
    )


def _details(report: StoredReport) -> Details:
    return Details(
        id=report.id,
        category=report.category,
        status=report.status,
        internal=report.request.internal,
        created=time_text(report.created_ms),
        finished=None if report.finished_ms is None else time_text(report.finished_ms),
        sha256=None if report.file is None else report.file.sha256,
        size_bytes=None if report.file is None else report.file.size_bytes,
        notes=list(report.notes),
    )


def _file(request: Request, report_id: str) -> IO[bytes]:
    services = services_of(request)
    report = visible(services, services.caller(request, Scope.REPORTS_READ), report_id)
    if report.file is None:
        raise ApiError(409, ErrorCode.REPORT_NOT_COMPLETED, f"The report is {report.status}.")
    try:
        return services.files.open(report.file.name)
    except FileNotFoundError:  # deleted since we looked
        raise report_not_found() from None


def _closing(file: IO[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    with file:
        yield from chunks


def _sub_partner(services: Services, org_id: str, given: str | None) -> str | None:
    if given is None:
        return None
    wanted = own_id(ORGANIZATION, given)
    if wanted not in services.directory.scope_of(org_id)[1:]:
        raise bad_request(ErrorCode.UNKNOWN_SUB_PARTNER, "subPartnerOrgId is not a sub-partner of yours.")
    return wanted


def _days(start: str, end: str) -> tuple[int, int]:
    first_day, last_day = parameters.day(start, "start"), parameters.day(end, "end")
    if first_day > last_day:
        raise bad_request(ErrorCode.DATES_REVERSED, "start is after end.")
    if last_day - first_day >= _MOST_DAYS:
        raise bad_request(ErrorCode.BAD_PARAMETER, f"At most {_MOST_DAYS} days at a time.")
    return first_day, last_day


def _ask(services: Services, query: Callable[[ReadableStore], _T]) -> _T:
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
