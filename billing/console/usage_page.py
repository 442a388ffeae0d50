"""Usage by day, by service and by sub-partner: closed days, as in PARTNER reports."""

from fastapi import APIRouter
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing.api.errors import ApiError
from billing.api.questions import ask_store, usage_wanted
from billing.api.scopes import Scope
from billing.api.services import Services, services_of
from billing.console.choices import sub_partner_names, sub_partners_of
from billing.console.forms import asked
from billing.console.pages import page
from billing.console.periods import Period, last_complete_month, month_until_yesterday
from billing.console.session import Visit, enter, home_of
from billing.console.usage_shown import UsageShown, usage_shown
from billing.console.words import explained
from billing.daily import daily_usage
from billing.export import report_notes
from billing.stacked_columns import WIDE, Size, stacked_columns

router = APIRouter(prefix="/console", include_in_schema=False)
_NARROW = Size(340, 300)


@router.get("")
def usage(request: Request) -> Response:
    """The days of `start` to `end`, of `subPartner` alone if one is named; without days, those of this month."""
    services = services_of(request)
    visit = enter(services, request, Scope.REPORTS_READ)
    now = month_until_yesterday(services.now_ms())
    period = Period(asked(request, "start", now.start), asked(request, "end", now.end))
    sub_partner = asked(request, "subPartner")
    try:
        return _page(services, visit, period, sub_partner)
    except ApiError as error:
        if error.status != 400:
            raise
        return _render(services, visit, period, sub_partner, error.status, problem=explained(error))


@router.get("/")
def home(request: Request) -> Response:
    """What people type."""
    return RedirectResponse(home_of(services_of(request).settings), 308)


def _page(services: Services, visit: Visit, period: Period, sub_partner: str) -> Response:
    wanted = usage_wanted(services, visit.caller, period.start, period.end, sub_partner or None)
    rows, notes = ask_store(
        services,
        lambda store: (daily_usage(store, wanted), report_notes(store, wanted, services.dismissed())),
    )
    days = range(wanted.first_day, wanted.last_day + 1)
    shown = usage_shown(rows, days, sub_partner_names(services, visit.caller))
    return _render(services, visit, period, sub_partner, shown=shown, notes=notes, charts=_charts(shown, period, days))


def _charts(shown: UsageShown, period: Period, days: range) -> list[tuple[str, Markup]]:
    """The drawing for a wide screen and for a narrow one; the style sheet shows one of them."""
    title = f"Licences in use, {period.start} to {period.end}"
    return [
        # Our own drawing, which escapes the names in it.
        (kind, Markup(stacked_columns(title, shown.series, days, size=size, name=f"chart-{kind}")))  # noqa: S704
        for kind, size in (("wide", WIDE), ("narrow", _NARROW))
    ]


def _render(
    services: Services, visit: Visit, period: Period, sub_partner: str, status: int = 200, **more: object
) -> Response:
    now_ms = services.now_ms()
    return page(
        home_of(services.settings),
        "usage.html",
        visit,
        status,
        period=period,
        sub_partner=sub_partner,
        sub_partners=sub_partners_of(services, visit),
        this_month=month_until_yesterday(now_ms),
        last_month=last_complete_month(now_ms),
        **{"problem": None, "shown": None, "notes": [], "charts": [], **more},
    )
