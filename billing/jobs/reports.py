"""What is known of a report, from its creation to its deletion."""

from enum import StrEnum

from msgspec import Struct

from billing.report import ReportRequest, ReportType


class ReportStatus(StrEnum):
    """Rule 31."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class ReportCategory(StrEnum):
    """Rule 33: the public API makes the first one, the second is our own."""

    RECONCILIATION = "RECONCILIATION"
    POINT_IN_TIME = "POINT_IN_TIME"


class SortBy(StrEnum):
    """By what a list is sorted, ascending; reports that are equal in it, by id."""

    ID = "id"
    FIRST_DAY = "billingStartDate"
    LAST_DAY = "billingEndDate"
    STATUS = "status"


class ReportFile(Struct, frozen=True):
    """A finished file: its name in `ReportFiles`, and what identifies its bytes (`sha256` in hexadecimal)."""

    name: str
    sha256: str
    size_bytes: int


class ReportFailure(Struct, frozen=True):
    """Why a report could not be made, for its reader."""

    code: int
    description: str


class StoredReport(Struct, frozen=True):
    """One report. `id` is the public one; `notes` is what its reader must know, such as days not closed yet.

    `file` is there when COMPLETED, `failure` when FAILED, `finished_ms` with either.
    """

    id: str
    request: ReportRequest
    category: ReportCategory
    status: ReportStatus
    created_ms: int
    created_by: str
    attempts: int
    finished_ms: int | None
    file: ReportFile | None
    notes: tuple[str, ...]
    failure: ReportFailure | None


class ReportFilter(Struct, frozen=True):
    """Equalities (rule 30); None lets all through. `sub_partner_id` also finds what the sub-partner made itself."""

    first_day: int | None = None
    last_day: int | None = None
    report_type: ReportType | None = None
    status: ReportStatus | None = None
    sub_partner_id: str | None = None
    category: ReportCategory = ReportCategory.RECONCILIATION


class AlreadyCompleted(Exception):
    """A completed report of the same partner, sub-partner, type and dates must be deleted first (rule 28)."""

    def __init__(self, report: StoredReport) -> None:
        super().__init__("There is a report of the same type and dates already; delete it to have it made anew")
        self.report = report


class TooManyRunning(Exception):
    """The partner has as many reports under way as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} reports are being made: wait for one to complete")
        self.limit = limit
