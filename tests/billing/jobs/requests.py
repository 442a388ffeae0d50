"""Requests, and a clock, for the tests of reports."""

from billing.report import ReportRequest, ReportType
from schemas.instants import day_number


def request(partner: str = "partner-nord", sub_partner: str | None = None, day: str = "2026-10-31") -> ReportRequest:
    """A CUSTOMER report from the first of October to a day."""
    return ReportRequest(ReportType.CUSTOMER, partner, sub_partner, day_number("2026-10-01"), day_number(day))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms
