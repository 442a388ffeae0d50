"""Log in with a token, and out again."""

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing.api.errors import ApiError
from billing.api.services import Services, services_of
from billing.api.threads import in_thread
from billing.console import session
from billing.console.forms import asked, fields_of
from billing.console.pages import page

router = APIRouter(prefix="/console", include_in_schema=False)
#: Below the console's own path, whatever else it is: a link to the log-in leads to no other site.
_BELOW = re.compile(r"(/[\w./~%-]*)?(\?[\w./~%=&+-]*)?", re.ASCII)


@router.get("/login")
def log_in_form(request: Request) -> Response:
    """Where a token is pasted."""
    return _form(services_of(request), request, asked(request, "then"))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Keep the token, if it is good, and go where one wanted to go."""
    fields = await fields_of(request)
    return await in_thread(_log_in, services_of(request), request, fields)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Forget the session."""
    fields = await fields_of(request)
    return await in_thread(_log_out, services_of(request), request, fields)


def _log_in(services: Services, request: Request, fields: dict[str, str]) -> Response:
    then = fields.get("then", "")
    try:
        session.need_form(services, session.kept_entry(services, request), fields)
    except ApiError:
        problem = "That form was out of date, or your browser keeps no cookies. Try once more."
        return _form(services, request, then, 403, problem)
    token = re.sub(r"^bearer\s+", "", fields.get("token", ""), flags=re.IGNORECASE)
    if len(token) > session.MOST_TOKEN_CHARACTERS:
        problem = f"A token of more than {session.MOST_TOKEN_CHARACTERS} characters does not fit into a cookie."
        return _form(services, request, then, 400, problem)
    try:
        caller = services.tokens.caller(f"Bearer {token}")
    except ApiError:
        problem = "That token is not valid, or not any more. Paste it whole, or ask for a new one."
        return _form(services, request, then, 401, problem)
    response = RedirectResponse(session.home_of(services.settings) + _below(then), 303)
    session.begin(services, response, token, caller)
    return response


def _log_out(services: Services, request: Request, fields: dict[str, str]) -> Response:
    session.enter_by_form(services, request, fields)
    response = RedirectResponse(f"{session.home_of(services.settings)}/login", 303)
    session.end(services, response)
    return response


def _form(services: Services, request: Request, then: str, status: int = 200, problem: str = "") -> Response:
    kept = session.entry(services, request)
    response = page(
        session.home_of(services.settings),
        "login.html",
        None,
        status,
        form_token=session.entry_form_token(services, kept),
        then=_below(then),
        problem=problem,
    )
    session.keep_entry(services, response, kept)
    return response


def _below(then: str) -> str:
    return then if _BELOW.fullmatch(then) else ""
