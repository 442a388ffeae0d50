"""Beyond the contract, under a path of our own: details and other forms of a report, point-in-time reports, daily
usage for charts, and why a row is what it is."""

from collections.abc import Iterator
from typing import IO, Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from billing.api import formats
from billing.api.errors import ApiError, ErrorCode, bad_request, report_not_found
from billing.api.questions import Subscriber, ask_store, ask_why, usage_wanted
from billing.api.reports import own_sub_partner, register, visible
from billing.api.scopes import Scope
from billing.api.services import services_of
from billing.daily import daily_usage
from billing.explain_row import HeldInterval
from billing.export import open_letters_of
from billing.jobs.reports import ReportCategory, ReportStatus, StoredReport
from billing.report import ReportRequest, ReportType, quantity_text
from schemas.instants import day_of_ms, day_text, time_text

# The token is judged by the routes themselves; this shows in the documentation that one is needed.
router = APIRouter(prefix="/rtmeter", tags=["extensions"], dependencies=[Depends(HTTPBearer(auto_error=False))])


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
    sub_partner = own_sub_partner(services, caller, wanted.sub_partner_org_id)
    asked = ReportRequest(wanted.type, caller.org_id, sub_partner, today, today, wanted.internal)
    return _details(register(services, asked, caller, category=ReportCategory.POINT_IN_TIME))


@router.get("/usage/daily")
def usage_by_day(request: Request, start: _First, end: _Last, sub_partner: _SubPartner = None) -> Usage:
    """Closed days of the caller's customers and its sub-partners', by org and service. Internal customers left out."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_READ)
    wanted = usage_wanted(services, caller, start, end, sub_partner)
    rows, letters = ask_store(
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
    why = ask_why(services, caller, Subscriber(customer, subscriber, sub_partner), start, end)
    totals: dict[str, int] = {}
    for interval in why.held:
        row = f"{interval.item} {interval.location_id}".strip()
        totals[row] = totals.get(row, 0) + interval.quantity_microdays
    return Explained(
        intervals=[_interval(interval) for interval in why.held],
        totals={row: quantity_text(quantity) for row, quantity in sorted(totals.items())},
        explanation=None if why.explanation is None else msgspec.to_builtins(why.explanation),
        not_explained=why.not_explained,
    )


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
