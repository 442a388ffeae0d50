"""Why a user, or a workspace, is billed: the same explanation as `rtmeter explain` and the API give."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from billing.api.errors import ApiError
from billing.api.questions import Subscriber, ask_why
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.audit.day_runs import days_shown, runs_of_equal_days, runs_of_whole_days, service_shown
from billing.audit.explanation import ExplainedRecord
from billing.console.choices import sub_partners_of
from billing.console.forms import asked
from billing.console.pages import page
from billing.console.periods import last_complete_month
from billing.console.session import Visit, enter, home_of
from billing.console.words import explained

router = APIRouter(prefix="/console", include_in_schema=False)
_FIELDS = ("customer", "subscriber", "subPartner", "start", "end")
_HOUR_MS = 3_600_000


@router.get("/explain")
def explain(request: Request) -> Response:
    """The form, and, once a customer and a subscriber are named, the answer."""
    services = services_of(request)
    visit = enter(services, request, Scope.REPORTS_READ)
    month = last_complete_month(services.now_ms())
    fields = {name: asked(request, name) for name in _FIELDS}
    fields["start"], fields["end"] = fields["start"] or month.start, fields["end"] or month.end
    if not (fields["customer"] and fields["subscriber"]):
        return _page(services, visit, fields)
    about = Subscriber(fields["customer"], fields["subscriber"], fields["subPartner"] or None)
    try:
        why = ask_why(services, visit.caller, about, fields["start"], fields["end"])
    except ApiError as error:
        if error.status != 400:
            raise
        return _page(services, visit, fields, error.status, problem=explained(error))
    return _page(services, visit, fields, why=why)


def late(record: ExplainedRecord) -> str:
    """By how much an event came after the instant from which it holds; empty if by less than an hour."""
    if record.time_ms is None or record.arrived_ms - record.time_ms < _HOUR_MS:
        return ""
    hours = (record.arrived_ms - record.time_ms) // _HOUR_MS
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h"


def _page(services: Services, visit: Visit, fields: dict[str, str], status: int = 200, **more: object) -> Response:
    return page(
        home_of(services.settings),
        "explain.html",
        visit,
        status,
        fields=fields,
        sub_partners=sub_partners_of(services, visit),
        runs_of_whole_days=runs_of_whole_days,
        runs_of_equal_days=runs_of_equal_days,
        days_shown=days_shown,
        service_shown=service_shown,
        late=late,
        **{"problem": None, "why": None, **more},
    )
