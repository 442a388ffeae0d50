"""What went wrong, as a page in plain words; and the way to the log-in for who has no session."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from billing.api.errors import ApiError
from billing.console.pages import page
from billing.console.words import explained

_PATH = "/console"


def is_console(path: str) -> bool:
    """Whether a path is the console's."""
    return path == _PATH or path.startswith(f"{_PATH}/")


def error_page(home: str, scope: Scope, error: ApiError, tracking_id: str) -> Response:
    """The answer to an error in the console. Without a session: the log-in, and from there back to where one was."""
    request = Request(scope)
    if error.status == 401:
        return _to_log_in(home, request)
    response = page(home, "error.html", None, error.status, told=explained(error), tracking_id=tracking_id)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def _to_log_in(home: str, request: Request) -> Response:
    here = request.url.path.removeprefix(_PATH) + (f"?{request.url.query}" if request.url.query else "")
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # A strict cookie is not sent on the way from another site's page: from our own page it is.
        return page(home, "go_on.html", None, here=home + here)
    query = f"?{urlencode({'then': here})}" if request.method == "GET" and here else ""
    return RedirectResponse(f"{home}/login{query}", 303)
