"""Errors and states in the words of a clerk."""

from msgspec import Struct

from billing.api.errors import ApiError, ErrorCode
from billing.jobs.reports import ReportStatus, StoredReport
from schemas.instants import day_text


class Told(Struct, frozen=True):
    """What went wrong, and what to do about it. `field`: the field of the form that it is about, if it is about one."""

    title: str
    sentence: str
    field: str = ""


_ERRORS = {
    ErrorCode.BAD_BODY: Told(
        "That form did not arrive as it should", "Go back, load the page again and send it once more."
    ),
    ErrorCode.BAD_DATE: Told("That is no date", "Give both days as YYYY-MM-DD, such as 2026-10-31.", "start"),
    ErrorCode.DATES_REVERSED: Told("The days are the wrong way round", "The first day is after the last one.", "start"),
    ErrorCode.DATE_NOT_OVER: Told(
        "The last day is not over yet", "A report holds whole days: the last one must be before today, in UTC.", "end"
    ),
    ErrorCode.DATE_TOO_OLD: Told("That is too long ago", "Reports go back five years.", "start"),
    ErrorCode.UNKNOWN_TYPE: Told("Choose a type", "It is one of PARTNER, CUSTOMER and USER.", "type"),
    ErrorCode.UNKNOWN_SUB_PARTNER: Told("No such sub-partner", "That is not a sub-partner of yours.", "subPartner"),
    ErrorCode.TOO_MANY_RUNNING: Told(
        "Too many reports at a time", "Wait until some of those that are being made are done, then ask again."
    ),
    ErrorCode.TOO_MANY_REQUESTS: Told("Too many requests", "Your organisation asks too often. Wait a minute."),
    ErrorCode.REPORT_NOT_FOUND: Told("No such report", "It does not exist, was deleted, or is not yours to see."),
    ErrorCode.NO_SUCH_PATH: Told("No such page", "The address leads nowhere."),
    ErrorCode.METHOD_NOT_ALLOWED: Told("No such page", "The address takes no such request."),
    ErrorCode.BODY_TOO_LARGE: Told("That is too much", "The form is larger than it can be."),
    ErrorCode.BODY_TOO_SLOW: Told("That took too long", "The form did not arrive in time. Send it once more."),
    ErrorCode.REPORT_NOT_COMPLETED: Told(
        "Not there yet", "The report is not complete, so there is nothing to download."
    ),
    ErrorCode.INTERNAL: Told("That is our fault", "Something broke. Tell your provider the tracking id below."),
    ErrorCode.UNAVAILABLE: Told(
        "Not now", "The service is not ready, or the answer took too long. Try again in a moment."
    ),
}


def explained(error: ApiError) -> Told:
    """An error in plain words."""
    if error.code is ErrorCode.NOT_ALLOWED and "scope" in error.description:
        return Told(
            "Your token does not allow this", f"{error.description} Ask whoever gave it to you for another one."
        )
    if error.code is ErrorCode.NOT_ALLOWED:
        return Told(
            "That form is out of date", "It was not made for this session. Load its page again and send it anew."
        )
    return _ERRORS.get(error.code, Told("That did not work", error.description))


def state_of(report: StoredReport) -> str:
    """How far a report has come."""
    if report.status is ReportStatus.IN_PROGRESS:
        return "Being made" if report.attempts else "Waiting"
    return {ReportStatus.COMPLETED: "Completed", ReportStatus.FAILED: "Failed"}[report.status]


def days_of(report: StoredReport) -> str:
    """Its billing period."""
    first, last = day_text(report.request.first_day), day_text(report.request.last_day)
    return first if first == last else f"{first} to {last}"
