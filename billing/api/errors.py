"""Errors as the API answers them: one body for all, with a code that docs/api.md explains."""

from enum import IntEnum

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse


class ErrorCode(IntEnum):
    """Codes of `errors[].errorCode`; 2024 is the public API's, the others are ours."""

    BAD_BODY = 2001
    BAD_DATE = 2002
    DATES_REVERSED = 2003
    DATE_NOT_OVER = 2004
    DATE_TOO_OLD = 2005
    UNKNOWN_TYPE = 2006
    UNKNOWN_SUB_PARTNER = 2007
    BAD_PARAMETER = 2008
    ALREADY_COMPLETED = 2009
    TOO_MANY_RUNNING = 2010
    TOO_MANY_REQUESTS = 2011
    NOT_AUTHENTICATED = 2012
    NOT_ALLOWED = 2013
    BODY_TOO_LARGE = 2014
    NOT_JSON = 2015
    METHOD_NOT_ALLOWED = 2016
    NO_SUCH_PATH = 2017
    LINK_NOT_VALID = 2018
    RANGE_NOT_SATISFIABLE = 2019
    BODY_TOO_SLOW = 2020
    REPORT_NOT_COMPLETED = 2021
    REPORT_NOT_FOUND = 2024
    INTERNAL = 2030
    UNAVAILABLE = 2031


class ApiError(Exception):
    """An answer that is no success. `description` is for the client: it must say nothing of others or of the inside."""

    def __init__(self, status: int, code: ErrorCode, description: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description
        self.headers = headers or {}


def report_not_found() -> ApiError:
    """Also for a report that is another's: whether it exists is its owner's to know."""
    return ApiError(404, ErrorCode.REPORT_NOT_FOUND, "Billing Report not found.")


def bad_request(code: ErrorCode, description: str) -> ApiError:
    return ApiError(400, code, description)


def a_bug() -> ApiError:
    """What went wrong is in the log, under the tracking id."""
    return ApiError(500, ErrorCode.INTERNAL, "Internal Server Error.")


def unavailable() -> ApiError:
    return ApiError(503, ErrorCode.UNAVAILABLE, "The service is not ready. Try again later.", {"Retry-After": "5"})


_OF_STATUS = {
    400: ErrorCode.BAD_PARAMETER,
    404: ErrorCode.NO_SUCH_PATH,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.NOT_JSON,
    422: ErrorCode.BAD_PARAMETER,
}


def of_status(status: int, description: str, headers: dict[str, str] | None = None) -> ApiError:
    """An error that the framework raised, by its status."""
    code = _OF_STATUS.get(status, ErrorCode.INTERNAL if status >= 500 else ErrorCode.BAD_PARAMETER)
    return ApiError(400 if status == 422 else status, code, description, headers)


def answer(error: ApiError, tracking_id: str) -> JSONResponse:
    """The answer to an error."""
    body = {
        "message": error.description,
        "errors": [{"errorCode": int(error.code), "description": error.description}],
        "trackingId": tracking_id,
    }
    response = JSONResponse(body, error.status)
    headers = MutableHeaders(raw=response.raw_headers)
    for name, value in error.headers.items():
        headers[name] = value
    return response


def tracking_id_of(request: Request) -> str:
    """The id of the request, given by `guard.Guard`."""
    return str(request.scope["rtmeter.tracking_id"])
