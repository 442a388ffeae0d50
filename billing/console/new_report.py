"""The form for a new report. Its own router, before the one of reports: `new` is no report's id."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing.api import parameters
from billing.api.errors import ApiError
from billing.api.reports import ask_for, own_sub_partner
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.api.threads import in_thread
from billing.console.choices import sub_partners_of
from billing.console.forms import fields_of
from billing.console.pages import page
from billing.console.periods import last_complete_month
from billing.console.session import Visit, enter, enter_by_form, home_of
from billing.console.words import Told, explained
from billing.jobs.reports import AlreadyCompleted, StoredReport
from billing.report import ReportRequest, ReportType

router = APIRouter(prefix="/console/reports", include_in_schema=False)
_TYPES = {
    ReportType.PARTNER: "one row for each service of each organisation",
    ReportType.CUSTOMER: "one row for each service and location of each customer",
    ReportType.USER: "one row for each service, location and user or workspace",
}


@router.get("/new")
def form(request: Request) -> Response:
    """The form, with the last complete month."""
    services = services_of(request)
    visit = enter(services, request, Scope.REPORTS_WRITE)
    month = last_complete_month(services.now_ms())
    return _form(services, visit, {"start": month.start, "end": month.end, "type": ReportType.CUSTOMER})


@router.post("")
async def create(request: Request) -> Response:
    """Ask for the report, and go to its page; or the form again, with what is wrong."""
    fields = await fields_of(request)
    return await in_thread(_create, services_of(request), request, fields)


def _create(services: Services, request: Request, fields: dict[str, str]) -> Response:
    visit = enter_by_form(services, request, fields, Scope.REPORTS_WRITE)
    try:
        report = ask_for(services, _wanted(services, visit, fields), visit.caller)
    except AlreadyCompleted as error:
        return _form(services, visit, fields, 409, twin=error.report)
    except ApiError as error:
        if error.status not in (400, 429):
            raise
        return _form(services, visit, fields, error.status, problem=explained(error))
    return RedirectResponse(f"{home_of(services.settings)}/reports/{report.id}", 303)


def _wanted(services: Services, visit: Visit, fields: dict[str, str]) -> ReportRequest:
    return ReportRequest(
        parameters.report_type(fields.get("type", "")),
        visit.caller.org_id,
        own_sub_partner(services, visit.caller, fields.get("subPartner") or None),
        *parameters.period(fields.get("start", ""), fields.get("end", ""), services.now_ms()),
        fields.get("internal") == "yes",
    )


def _form(
    services: Services,
    visit: Visit,
    fields: dict[str, str],
    status: int = 200,
    *,
    problem: Told | None = None,
    twin: StoredReport | None = None,
) -> Response:
    """`problem`: what is wrong with what was sent; `twin`: a completed report that stands in its way (rule 28)."""
    return page(
        home_of(services.settings),
        "new_report.html",
        visit,
        status,
        fields=fields,
        types=_TYPES,
        sub_partners=sub_partners_of(services, visit),
        problem=problem,
        twin=twin,
    )
