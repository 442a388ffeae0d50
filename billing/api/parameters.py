"""Parameters of the contract, from text to values; ApiError 400 says which one is wrong, and how."""

import base64
import binascii
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeVar

import msgspec
from starlette.requests import Request

from billing.api.errors import ErrorCode, bad_request
from billing.report import ReportType
from schemas.instants import day_number, day_of_ms, parse_time_ms

MAX_PER_PAGE = 100
_YEARS = 5
_Word = TypeVar("_Word", bound=StrEnum)


def day(text: str, name: str) -> int:
    """The day of a date YYYY-MM-DD, in days since the epoch."""
    try:
        return day_number(text)
    except ValueError:
        raise bad_request(ErrorCode.BAD_DATE, f"{name} is not a date YYYY-MM-DD.") from None


def day_filter(text: str | None, name: str) -> int | None:
    """The day of a date, or of a timestamp on that day (UTC); None if there is no filter, or an empty one."""
    if not text:
        return None
    try:
        return day_of_ms(parse_time_ms(text)) if len(text) > 10 else day_number(text)
    except ValueError:
        raise bad_request(ErrorCode.BAD_DATE, f"{name} is neither a date YYYY-MM-DD nor a timestamp.") from None


def period(first: str, last: str, now_ms: int) -> tuple[int, int]:
    """The days of a report: in order, over, and of the last five years (rule 27)."""
    first_day, last_day = day(first, "billingStartDate"), day(last, "billingEndDate")
    if first_day > last_day:
        raise bad_request(ErrorCode.DATES_REVERSED, "billingStartDate is after billingEndDate.")
    today = day_of_ms(now_ms)
    if last_day >= today:
        raise bad_request(ErrorCode.DATE_NOT_OVER, "billingEndDate must be before today (UTC).")
    if first_day < _oldest_day(datetime.fromtimestamp(now_ms // 1000, UTC).date()):
        raise bad_request(ErrorCode.DATE_TOO_OLD, f"billingStartDate is more than {_YEARS} years back.")
    return first_day, last_day


def report_type(text: str) -> ReportType:
    try:
        return ReportType(text)
    except ValueError:
        raise bad_request(ErrorCode.UNKNOWN_TYPE, f"type is none of {', '.join(ReportType)}.") from None


def word(text: str | None, name: str, words: type[_Word]) -> _Word | None:
    """One of a few words; None if the parameter is not there."""
    if text is None:
        return None
    try:
        return words(text)
    except ValueError:
        raise bad_request(ErrorCode.BAD_PARAMETER, f"{name} is none of {', '.join(words)}.") from None


def number(text: str | None, name: str, least: int, most: int, default: int) -> int:
    """A number of digits alone."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise bad_request(ErrorCode.BAD_PARAMETER, f"{name} is not a number from {least} to {most}.")
    return int(text)


def once(request: Request, name: str) -> str | None:
    """A query parameter that may come once."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise bad_request(ErrorCode.BAD_PARAMETER, f"{name} is given {len(values)} times.")
    return values[0] if values else None


def cursor_text(after: tuple[int | str, str]) -> str:
    """Where a page ends, as a text for the next request."""
    return base64.urlsafe_b64encode(msgspec.json.encode(after)).rstrip(b"=").decode()


def cursor(text: str | None, sorted_by_text: bool) -> tuple[int | str, str] | None:
    """Where the last page ended; ApiError 400 for what we did not write."""
    if not text:
        return None
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if sorted_by_text:
            return msgspec.json.decode(decoded, type=tuple[str, str])
        first, report_id = msgspec.json.decode(decoded, type=tuple[int, str])
        if abs(first) < 1 << 31:
            return first, report_id
    except (binascii.Error, ValueError):
        pass
    raise bad_request(ErrorCode.BAD_PARAMETER, "after is not the end of a page.")


def _oldest_day(today: date) -> int:
    try:
        return day_number(today.replace(year=today.year - _YEARS).isoformat())
    except ValueError:  # 29 February
        return day_number(today.replace(year=today.year - _YEARS, day=28).isoformat())
