"""Billing reports: the list, one of them, the file, and its end."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing.api.errors import ApiError, ErrorCode
from billing.api.reports import download_link, forget, visible
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.api.threads import in_thread
from billing.console.choices import sub_partner_names
from billing.console.forms import asked, fields_of
from billing.console.pages import page
from billing.console.session import Visit, enter, enter_by_form, home_of
from billing.console.words import days_of, state_of
from billing.jobs.reports import ReportStatus, StoredReport

router = APIRouter(prefix="/console/reports", include_in_schema=False)
_PER_PAGE = 25
_MOST_DIGITS = 15


@router.get("")
def list_reports(request: Request) -> Response:
    """The caller's reports and its sub-partners', the latest first, a page at a time."""
    services = services_of(request)
    visit = enter(services, request, Scope.REPORTS_READ)
    before = _place(asked(request, "before"))
    scope = services.directory.scope_of(visit.caller.org_id)
    # One more than is shown: whether there are older ones.
    found = services.register.newest(scope, _PER_PAGE + 1, before)
    last = found[_PER_PAGE - 1] if len(found) > _PER_PAGE else None
    return _page(
        services,
        visit,
        "reports.html",
        reports=found[:_PER_PAGE],
        older=None if last is None else f"{last.created_ms}.{last.id}",
        later=before is not None,
        deleted=asked(request, "said") == "deleted",
        names=sub_partner_names(services, visit.caller),
    )


@router.get("/{report_id}")
def show(request: Request, report_id: str) -> Response:
    """One report: how far it is, and when it is complete the way to its file."""
    services, visit, report = _found(request, report_id)
    names = sub_partner_names(services, visit.caller)
    age_seconds = max(0, services.now_ms() - report.created_ms) // 1000
    return _page(services, visit, "report.html", report=report, names=names, age_seconds=age_seconds)


@router.get("/{report_id}/download")
def download(request: Request, report_id: str) -> Response:
    """On to the file, by a link that is signed now: one in the page might be too old when it is used."""
    services, visit, report = _found(request, report_id)
    if report.status is not ReportStatus.COMPLETED:
        raise ApiError(409, ErrorCode.REPORT_NOT_COMPLETED, f"The report is {report.status}.")
    return RedirectResponse(download_link(services, visit.caller, report), 303)


@router.get("/{report_id}/delete")
def ask_to_delete(request: Request, report_id: str) -> Response:
    """The question before a report is deleted."""
    services, visit, report = _found(request, report_id)
    visit.caller.need(Scope.REPORTS_WRITE)
    return _page(services, visit, "delete.html", report=report, names=sub_partner_names(services, visit.caller))


@router.post("/{report_id}/delete")
async def delete(request: Request, report_id: str) -> Response:
    """Delete it, and its file: download links are dead at once (rule 29)."""
    fields = await fields_of(request)
    return await in_thread(_delete, services_of(request), request, fields, report_id)


def _place(text: str) -> tuple[int, str] | None:
    """Where the page before ended: the instant and the id of its last report. What is none begins at the top."""
    created, _, report_id = text.partition(".")
    if created.isascii() and created.isdigit() and len(created) <= _MOST_DIGITS and report_id:
        return int(created), report_id
    return None


def _delete(services: Services, request: Request, fields: dict[str, str], report_id: str) -> Response:
    visit = enter_by_form(services, request, fields, Scope.REPORTS_WRITE)
    forget(services, visit.caller, report_id)
    return RedirectResponse(f"{home_of(services.settings)}/reports?said=deleted", 303)


def _found(request: Request, report_id: str) -> tuple[Services, Visit, StoredReport]:
    services = services_of(request)
    visit = enter(services, request, Scope.REPORTS_READ)
    return services, visit, visible(services, visit.caller, report_id)


def _page(services: Services, visit: Visit, template: str, **shown: Any) -> Response:
    home = home_of(services.settings)
    return page(home, template, visit, state_of=state_of, days_of=days_of, ReportStatus=ReportStatus, **shown)
