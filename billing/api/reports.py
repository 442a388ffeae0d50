"""Create, list, get and delete billing reports: the public contract."""

from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from billing.api import parameters
from billing.api.errors import ApiError, ErrorCode, bad_request, report_not_found
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.api.threads import in_thread
from billing.api.tokens import Caller
from billing.ids import ORGANIZATION, PERSON, own_id, public_id
from billing.jobs.register import sort_key
from billing.jobs.reports import (
    AlreadyCompleted,
    ReportFilter,
    ReportStatus,
    SortBy,
    StoredReport,
    TooManyRunning,
)
from billing.report import ReportRequest, ReportType
from schemas.instants import day_text, time_text

router = APIRouter(include_in_schema=False)
PATH = "/wholesale/billing/reports"
_RETRY_SECONDS = 5


class NewReport(Struct, rename="camel"):
    """The body of a create request; unknown members are let through, as the public API does."""

    billing_start_date: str
    billing_end_date: str
    type: str | None = "PARTNER"
    sub_partner_org_id: str | UnsetType | None = UNSET
    internal: bool | None = False


_NEW_REPORT = msgspec.json.Decoder(NewReport)


@router.post(PATH)
async def create(request: Request) -> Response:
    """Ask for a report. Answers at once; the report is made afterwards."""
    # The body was read before (guard.Guard); what takes time runs in a thread.
    body = await request.body()
    return await in_thread(_create, request, body)


@router.get(PATH)
def list_reports(request: Request) -> Response:
    """The reports of the caller and its sub-partners, a page at a time."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_READ)
    sort_by = parameters.word(parameters.once(request, "sortBy"), "sortBy", SortBy) or SortBy.FIRST_DAY
    limit = parameters.number(
        parameters.once(request, "max"), "max", 1, parameters.MAX_PER_PAGE, parameters.MAX_PER_PAGE
    )
    sub_partner = parameters.once(request, "subPartnerOrgId")
    wanted = ReportFilter(
        parameters.day_filter(parameters.once(request, "billingStartDate"), "billingStartDate"),
        parameters.day_filter(parameters.once(request, "billingEndDate"), "billingEndDate"),
        parameters.word(parameters.once(request, "type"), "type", ReportType),
        parameters.word(parameters.once(request, "status"), "status", ReportStatus),
        own_id(ORGANIZATION, sub_partner) if sub_partner else None,
    )
    after = parameters.cursor(parameters.once(request, "after"), sort_by in (SortBy.ID, SortBy.STATUS))
    scope = services.directory.scope_of(caller.org_id)
    # One more than asked for: whether there is a next page.
    found = services.register.page(scope, wanted, sort_by, limit + 1, after)
    response = JSONResponse({"items": [_listed(report) for report in found[:limit]]})
    if len(found) > limit:
        end = parameters.cursor_text(sort_key(found[limit - 1], sort_by))
        response.headers["link"] = next_link(services, request, {"after": end})
    return response


@router.get(PATH + "/{report_id}")
def get(request: Request, report_id: str) -> Response:
    """One report; with a fresh download link when it is complete."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_READ)
    report = visible(services, caller, report_id)
    return JSONResponse(_shown(services, caller, report), headers=notes_header(report))


@router.delete(PATH + "/{report_id}")
def delete(request: Request, report_id: str) -> Response:
    """Forget a report: its download links are dead at once, and it may be asked for anew."""
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_WRITE)
    forget(services, caller, report_id)
    return Response(status_code=204)


def forget(services: Services, caller: Caller, report_id: str) -> None:
    """Delete a report that the caller may see, and its file; ApiError 404 if there is none."""
    deleted = services.register.delete(report_id, services.directory.scope_of(caller.org_id))
    if deleted is None:
        raise report_not_found()
    if deleted.file is not None:
        services.files.delete(deleted.file.name)


def visible(services: Services, caller: Caller, report_id: str) -> StoredReport:
    """A report that the caller may see. One query, whether it does not exist or is another's: both answer alike."""
    report = services.register.get(report_id, services.directory.scope_of(caller.org_id))
    if report is None:
        raise report_not_found()
    return report


def next_link(services: Services, request: Request, changed: dict[str, str]) -> str:
    """The `Link` header to the next page: absolute, with every filter kept."""
    parts = {**dict(request.query_params), **changed}
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parts.items())
    return f'<{services.settings.base_url}{request.url.path}?{query}>; rel="next"'


def notes_header(report: StoredReport) -> dict[str, str]:
    """Says that there is something to know about a report; the text is in our extension `.../details`."""
    return {"rtmeter-notes": str(len(report.notes))} if report.notes else {}


def download_path(report_id: str) -> str:
    return f"/v1/downloads/{report_id}.csv"


def _create(request: Request, body: bytes) -> Response:
    services = services_of(request)
    caller = services.caller(request, Scope.REPORTS_WRITE)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, ErrorCode.NOT_JSON, "The Content-Type must be application/json.")
    new = _new_report(body)
    first_day, last_day = parameters.period(new.billing_start_date, new.billing_end_date, services.now_ms())
    wanted = ReportRequest(
        parameters.report_type(new.type or "PARTNER"),
        caller.org_id,
        own_sub_partner(services, caller, new.sub_partner_org_id or None),
        first_day,
        last_day,
        bool(new.internal),
    )
    report = register(services, wanted, caller)
    answer: dict[str, Any] = {
        "id": report.id,
        "billingStartDate": day_text(first_day),
        "billingEndDate": day_text(last_day),
        "type": wanted.report_type,
        "category": report.category,
    }
    if new.internal is not None and new.internal:
        answer["internal"] = True
    return JSONResponse(answer)


def register(services: Services, wanted: ReportRequest, caller: Caller, **more: Any) -> StoredReport:
    """Put a report into the register: ApiError 409 or 429 if that cannot be."""
    try:
        return ask_for(services, wanted, caller, **more)
    except AlreadyCompleted as error:
        raise ApiError(409, ErrorCode.ALREADY_COMPLETED, f"{error}: {error.report.id}") from None


def ask_for(services: Services, wanted: ReportRequest, caller: Caller, **more: Any) -> StoredReport:
    """As `register`, but AlreadyCompleted with the report that stands in the way."""
    try:
        report = services.register.create(
            wanted, caller.person_id, max_running=services.settings.max_running_reports, **more
        )
    except TooManyRunning as error:
        description = f"Too many reports: {error}."
        raise ApiError(429, ErrorCode.TOO_MANY_RUNNING, description, {"Retry-After": str(_RETRY_SECONDS)}) from None
    services.wake_jobs()
    return report


def _new_report(body: bytes) -> NewReport:
    try:
        return _NEW_REPORT.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise bad_request(ErrorCode.BAD_BODY, f"The body is not the JSON object that is wanted: {error}") from None


def own_sub_partner(services: Services, caller: Caller, given: str | UnsetType | None) -> str | None:
    """The sub-partner that a caller names, None if it names none; ApiError 400 if it is none of its own (rule 21)."""
    if given is None or isinstance(given, UnsetType):
        return None
    org_id = own_id(ORGANIZATION, given)
    if org_id not in services.directory.scope_of(caller.org_id)[1:]:
        # Alike for what is another's and what does not exist.
        raise bad_request(ErrorCode.UNKNOWN_SUB_PARTNER, "subPartnerOrgId is not a sub-partner of yours.")
    return org_id


def _listed(report: StoredReport) -> dict[str, Any]:
    return {
        "id": report.id,
        "billingStartDate": day_text(report.request.first_day),
        "billingEndDate": day_text(report.request.last_day),
        "status": report.status,
        "type": report.request.report_type,
        "category": report.category,
    }


def _shown(services: Services, caller: Caller, report: StoredReport) -> dict[str, Any]:
    shown = _listed(report) | {
        "created": time_text(report.created_ms),
        "createdBy": public_id(PERSON, report.created_by),
    }
    if report.status is ReportStatus.COMPLETED:
        shown["tempDownloadURL"] = download_link(services, caller, report)
    if report.failure is not None:
        shown["errors"] = [{"code": report.failure.code, "description": report.failure.description}]
    return shown


def download_link(services: Services, caller: Caller, report: StoredReport) -> str:
    """A fresh link, signed for the caller's org."""
    expires_s = services.now_ms() // 1000 + services.settings.link_seconds
    path = services.links.sign(download_path(report.id), report.id, caller.org_id, expires_s)
    return services.settings.base_url + path
