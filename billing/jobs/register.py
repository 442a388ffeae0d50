"""The register of reports, and at the same time the queue of jobs that make them.

A job is a report IN_PROGRESS. Who works on it holds a lease: until that runs out nobody else takes it, and once it has,
whoever comes may. So a killed job is taken up again, and of two that finish the same report the second one hears that
it is not his any more.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from billing.ids import new_report_id
from billing.jobs.reports import (
    AlreadyCompleted,
    ReportCategory,
    ReportFailure,
    ReportFile,
    ReportFilter,
    ReportStatus,
    SortBy,
    StoredReport,
    TooManyRunning,
)
from billing.relational.connect import writing
from billing.relational.schema import reports
from billing.report import ReportRequest, ReportType

MAX_RUNNING = 20
_SORT_COLUMNS = {
    SortBy.ID: reports.c.id,
    SortBy.FIRST_DAY: reports.c.first_day,
    SortBy.LAST_DAY: reports.c.last_day,
    SortBy.STATUS: reports.c.status,
}


class ReportRegister:
    """Reports in the relational store. Safe for any number of threads and processes."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._now_ms = now_ms

    def create(
        self,
        request: ReportRequest,
        created_by: str,
        category: ReportCategory = ReportCategory.RECONCILIATION,
        max_running: int = MAX_RUNNING,
    ) -> StoredReport:
        """A new report IN_PROGRESS, or the one that is being made already (rule 28). AlreadyCompleted, TooManyRunning."""
        while True:
            try:
                with writing(self._engine) as connection:
                    return self._create(connection, request, created_by, category, max_running)
            except IntegrityError:
                # Another process made the twin since we looked (PostgreSQL): now we see it.
                continue

    def get(self, report_id: str, partner_ids: Collection[str] | None = None) -> StoredReport | None:
        """The report of an id; only if it was made for one of these partners, where any are given."""
        condition: ColumnElement[bool] = reports.c.id == report_id
        if partner_ids is not None:
            condition = and_(condition, reports.c.partner_id.in_(partner_ids))
        with self._engine.connect() as connection:
            row = connection.execute(select(reports).where(condition)).one_or_none()
        return None if row is None else _report(row)

    def page(
        self,
        partner_ids: Collection[str],
        wanted: ReportFilter,
        sort_by: SortBy,
        limit: int,
        after: tuple[int | str, str] | None = None,
    ) -> list[StoredReport]:
        """The next reports made for these partners, ascending; `after` is `sort_key` of the last one seen."""
        column = _SORT_COLUMNS[sort_by]
        conditions = [reports.c.partner_id.in_(partner_ids), *_conditions(wanted)]
        if after is not None:
            conditions.append(tuple_(column, reports.c.id) > tuple_(*after))
        query = select(reports).where(*conditions).order_by(column, reports.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [_report(row) for row in connection.execute(query)]

    def newest(
        self, partner_ids: Collection[str], limit: int, before: tuple[int, str] | None = None
    ) -> list[StoredReport]:
        """Reports of any category made for these partners, the one asked for last first.

        `before`: `created_ms` and id of the last one seen.
        """
        place = tuple_(reports.c.created_ms, reports.c.id)
        conditions: list[ColumnElement[bool]] = [reports.c.partner_id.in_(partner_ids)]
        if before is not None:
            conditions.append(place < tuple_(*before))
        order = (reports.c.created_ms.desc(), reports.c.id.desc())
        query = select(reports).where(*conditions).order_by(*order).limit(limit)
        with self._engine.connect() as connection:
            return [_report(row) for row in connection.execute(query)]

    def delete(self, report_id: str, partner_ids: Collection[str]) -> StoredReport | None:
        """Forget a report that was made for one of these partners, and return what it was; its file is the caller's."""
        condition = and_(reports.c.id == report_id, reports.c.partner_id.in_(partner_ids))
        with writing(self._engine) as connection:
            row = connection.execute(delete(reports).where(condition).returning(reports)).one_or_none()
        return None if row is None else _report(row)

    # ---- the queue

    def lease(self, worker: str, lease_ms: int) -> StoredReport | None:
        """Take the oldest job that nobody holds, for so long; None if there is none."""
        now = self._now_ms()
        free = (
            select(reports.c.id)
            .where(reports.c.status == ReportStatus.IN_PROGRESS, reports.c.lease_until_ms <= now)
            .order_by(reports.c.created_ms, reports.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with writing(self._engine) as connection:
            report_id = connection.execute(free).scalar_one_or_none()
            if report_id is None:
                return None
            taken = (
                update(reports)
                .where(reports.c.id == report_id)
                .values(lease_worker=worker, lease_until_ms=now + lease_ms, attempts=reports.c.attempts + 1)
                .returning(reports)
            )
            return _report(connection.execute(taken).one())

    def renew(self, report: StoredReport, worker: str, lease_ms: int) -> bool:
        """Hold a job for so long from now; False if it is not this worker's any more, or was deleted."""
        return self._change(report, worker, {"lease_until_ms": self._now_ms() + lease_ms})

    def give_back(self, report: StoredReport, worker: str) -> bool:
        """Let others take the job at once: it could not be done now, through no fault of its own."""
        return self._change(
            report, worker, {"lease_until_ms": 0, "lease_worker": None, "attempts": reports.c.attempts - 1}
        )

    def complete(self, report: StoredReport, worker: str, file: ReportFile, notes: Collection[str]) -> bool:
        """The file is there; False if the job is not this worker's any more: then the file is nobody's."""
        return self._change(
            report,
            worker,
            {
                "status": ReportStatus.COMPLETED,
                "finished_ms": self._now_ms(),
                "file_name": file.name,
                "sha256": file.sha256,
                "size_bytes": file.size_bytes,
                "notes": json.dumps(list(notes)),
            },
        )

    def fail(self, report: StoredReport, worker: str, failure: ReportFailure) -> bool:
        """The report cannot be made; False if the job is not this worker's any more."""
        return self._change(
            report,
            worker,
            {
                "status": ReportStatus.FAILED,
                "finished_ms": self._now_ms(),
                "error_code": failure.code,
                "error_description": failure.description,
            },
        )

    def file_names(self) -> set[str]:
        """The names of all files that belong to a report."""
        with self._engine.connect() as connection:
            names = connection.execute(select(reports.c.file_name).where(reports.c.file_name.is_not(None)))
            return set(names.scalars())

    def ping(self) -> None:
        """Nothing, if the store answers; SQLAlchemyError otherwise."""
        with self._engine.connect() as connection:
            connection.execute(select(1))

    def oldest_job_age_ms(self) -> int:
        """For how long the oldest report IN_PROGRESS has been waited for; 0 if there is none."""
        oldest = select(func.min(reports.c.created_ms)).where(reports.c.status == ReportStatus.IN_PROGRESS)
        with self._engine.connect() as connection:
            created_ms = connection.execute(oldest).scalar_one()
        return 0 if created_ms is None else max(0, self._now_ms() - created_ms)

    def count_by_status(self) -> dict[ReportStatus, int]:
        """How many reports have each status; a status that none has is left out."""
        counted = select(reports.c.status, func.count()).group_by(reports.c.status)
        with self._engine.connect() as connection:
            return {ReportStatus(status): count for status, count in connection.execute(counted)}

    # ---- inside

    def _create(
        self,
        connection: Connection,
        request: ReportRequest,
        created_by: str,
        category: ReportCategory,
        max_running: int,
    ) -> StoredReport:
        twin = connection.execute(
            select(reports).where(
                reports.c.partner_id == request.partner_id,
                reports.c.sub_partner_id == (request.sub_partner_id or ""),
                reports.c.type == request.report_type,
                reports.c.category == category,
                reports.c.first_day == request.first_day,
                reports.c.last_day == request.last_day,
                reports.c.status != ReportStatus.FAILED,
            )
        ).one_or_none()
        if twin is not None:
            report = _report(twin)
            if report.status is ReportStatus.COMPLETED:
                raise AlreadyCompleted(report)
            return report
        running = connection.execute(
            select(func.count()).where(
                reports.c.partner_id == request.partner_id, reports.c.status == ReportStatus.IN_PROGRESS
            )
        ).scalar_one()
        if running >= max_running:
            raise TooManyRunning(max_running)
        created = insert(reports).values(
            id=new_report_id(),
            partner_id=request.partner_id,
            sub_partner_id=request.sub_partner_id or "",
            type=request.report_type,
            category=category,
            first_day=request.first_day,
            last_day=request.last_day,
            internal=request.internal,
            status=ReportStatus.IN_PROGRESS,
            created_ms=self._now_ms(),
            created_by=created_by,
            notes="[]",
            attempts=0,
            lease_until_ms=0,
        )
        return _report(connection.execute(created.returning(reports)).one())

    def _change(self, report: StoredReport, worker: str, values: dict[str, Any]) -> bool:
        # A worker may hold the same job twice over, from before and after a lease that ran out: the attempt tells.
        mine = and_(
            reports.c.id == report.id,
            reports.c.status == ReportStatus.IN_PROGRESS,
            reports.c.lease_worker == worker,
            reports.c.attempts == report.attempts,
        )
        with writing(self._engine) as connection:
            return connection.execute(update(reports).where(mine).values(values)).rowcount == 1


def sort_key(report: StoredReport, sort_by: SortBy) -> tuple[int | str, str]:
    """Where a report stands in a list that is sorted so."""
    first: int | str = report.id
    if sort_by is SortBy.FIRST_DAY:
        first = report.request.first_day
    elif sort_by is SortBy.LAST_DAY:
        first = report.request.last_day
    elif sort_by is SortBy.STATUS:
        first = report.status.value
    return first, report.id


def _conditions(wanted: ReportFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [reports.c.category == wanted.category]
    if wanted.first_day is not None:
        conditions.append(reports.c.first_day == wanted.first_day)
    if wanted.last_day is not None:
        conditions.append(reports.c.last_day == wanted.last_day)
    if wanted.report_type is not None:
        conditions.append(reports.c.type == wanted.report_type)
    if wanted.status is not None:
        conditions.append(reports.c.status == wanted.status)
    if wanted.sub_partner_id is not None:
        sub_partner = wanted.sub_partner_id
        conditions.append(or_(reports.c.sub_partner_id == sub_partner, reports.c.partner_id == sub_partner))
    return conditions


def _report(row: Row[Any]) -> StoredReport:
    file = None if row.file_name is None else ReportFile(row.file_name, row.sha256, row.size_bytes)
    return StoredReport(
        row.id,
        ReportRequest(
            ReportType(row.type),
            row.partner_id,
            row.sub_partner_id or None,
            row.first_day,
            row.last_day,
            row.internal,
        ),
        ReportCategory(row.category),
        ReportStatus(row.status),
        row.created_ms,
        row.created_by,
        row.attempts,
        row.finished_ms,
        file,
        tuple(json.loads(row.notes)),
        None if row.error_code is None else ReportFailure(row.error_code, row.error_description),
    )
