"""The application: the contract's routes, downloads, our extensions, and one form for every error."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp

from billing.api import downloads, extensions, reports, sub_partners
from billing.api.errors import ApiError, ErrorCode, answer, of_status, tracking_id_of
from billing.api.guard import Guard
from billing.api.services import Services, clock_ms
from billing.api.settings import ApiSettings
from billing.dismissals import Dismissed
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from sinks.store import ReadableStore

PREFIX = "/v1"
_ROUTERS = (reports.router, sub_partners.router, downloads.router, extensions.router)
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
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    return app


def guarded(app: FastAPI) -> ASGIApp:
    """The application behind its guard: what a server serves."""
    settings = app.state.services.settings
    return Guard(app, settings.max_body_bytes, settings.body_seconds)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answer(error, tracking_id_of(request))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    description = _DESCRIPTIONS.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request.url.path)))
    return answer(of_status(error.status_code, description, headers), tracking_id_of(request))


def _methods(path: str) -> set[str]:
    """What a path supports. Of several routes of one path the framework names only the first one's."""
    found: set[str] = set()
    for router in _ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and compile_path(PREFIX + route.path)[0].match(path):
                found |= route.methods or set()
    return found


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = ", ".join(sorted({".".join(map(str, one["loc"])) for one in error.errors()}))
    wrong_parameters = ApiError(400, ErrorCode.BAD_PARAMETER, f"Not as documented: {wrong}.")
    return answer(wrong_parameters, tracking_id_of(request))
