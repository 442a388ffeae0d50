"""The application: the contract's routes, downloads, our extensions, the console, and one form for every error of each."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Scope

from billing.api import downloads, extensions, readiness, reports, sub_partners
from billing.api.errors import ApiError, ErrorCode, a_bug, answer, of_status, tracking_id_of
from billing.api.guard import Answered, Guard, nobody
from billing.api.services import Services
from billing.api.settings import ApiSettings
from billing.console.failures import error_page, is_console
from billing.console.router import ROUTERS as CONSOLE_ROUTERS
from billing.console.session import home_of
from billing.dismissals import Dismissed
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from sinks.store import ReadableStore
from streams.clock import clock_ms

PREFIX = "/v1"
#: Each with the path that it is under.
_ROUTERS = (
    (PREFIX, reports.router),
    (PREFIX, sub_partners.router),
    (PREFIX, downloads.router),
    (PREFIX, extensions.router),
    *(("", router) for router in CONSOLE_ROUTERS),
)
_DESCRIPTIONS = {
    404: "There is no such path.",
    405: "The path does not support this method.",
}


def create_app(
    settings: ApiSettings,
    register: ReportRegister,
    files: ReportFiles,
    open_store: Callable[[], ReadableStore],
    now_ms: Callable[[], int] = clock_ms,
    wake_jobs: Callable[[], None] = lambda: None,
    topic_prefix: str = "",
    *,
    dismissed: Dismissed,
) -> FastAPI:
    """The API. `open_store` opens the store for one request; it is closed afterwards. `wake_jobs`: there is work.

    `dismissed`: the dead letters that people have decided to leave, as of now.
    """
    app = FastAPI(
        title="rtmeter extensions",
        version="1",
        description="What rtmeter offers beyond the public billing-report API, which it serves beside this.",
        redoc_url=None,
        redirect_slashes=False,  # a path is what it is: a link with a slash more is another one
    )
    app.state.services = Services(
        settings, register, files, open_store, now_ms, wake_jobs, topic_prefix, dismissed=dismissed
    )
    for prefix, router in _ROUTERS:
        app.include_router(router, prefix=prefix)
    app.include_router(readiness.router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    # The framework answers a bug before it lets the guard hear of it.
    app.add_exception_handler(Exception, _bug)
    return app


def guarded(app: FastAPI, answered: Answered = nobody) -> ASGIApp:
    """The application behind its guard: what a server serves. `answered` hears of each request."""
    settings = app.state.services.settings

    def told(scope: Scope, error: ApiError, tracking_id: str) -> ASGIApp:
        return _told(settings, scope, error, tracking_id)

    return Guard(app, settings.max_body_bytes, settings.body_seconds, answered, told)


def _told(settings: ApiSettings, scope: Scope, error: ApiError, tracking_id: str) -> Response:
    """An error in the form that its client reads: a page in the console, JSON everywhere else."""
    if is_console(scope["path"]):
        return error_page(home_of(settings), scope, error, tracking_id)
    return answer(error, tracking_id)


def _answer(request: Request, error: ApiError) -> Response:
    return _told(request.app.state.services.settings, request.scope, error, tracking_id_of(request))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _answer(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    description = _DESCRIPTIONS.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request.url.path)))
    return _answer(request, of_status(error.status_code, description, headers))


def _methods(path: str) -> set[str]:
    """What a path supports. Of several routes of one path the framework names only the first one's."""
    found: set[str] = set()
    for prefix, router in _ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and compile_path(prefix + route.path)[0].match(path):
                found |= route.methods or set()
    return found


async def _bug(request: Request, error: Exception) -> Response:
    return _answer(request, a_bug())


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = ", ".join(sorted({".".join(map(str, one["loc"])) for one in error.errors()}))
    wrong_parameters = ApiError(400, ErrorCode.BAD_PARAMETER, f"Not as documented: {wrong}.")
    return _answer(request, wrong_parameters)
