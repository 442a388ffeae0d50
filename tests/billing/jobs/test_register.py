"""The register of reports: rule 28, the queue and its leases, on SQLite and on PostgreSQL."""

import multiprocessing
import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from billing.jobs.register import ReportRegister, sort_key
from billing.jobs.reports import (
    AlreadyCompleted,
    ReportFailure,
    ReportFile,
    ReportFilter,
    ReportStatus,
    SortBy,
    TooManyRunning,
)
from billing.relational.connect import open_engine, upgrade
from billing.relational.schema import metadata, reports
from tests.billing.jobs.requests import Clock, request

_FILE = ReportFile("a.csv", "0" * 64, 3)
_LEASE_MS = 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(url: str, clock: Clock) -> Iterator[ReportRegister]:
    engine = open_engine(url)
    yield ReportRegister(engine, clock)
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    with open_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_many_processes_may_upgrade_at_once(url: str) -> None:
    with open_engine(url).begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_upgrade, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def _upgrade(url: str) -> None:
    upgrade(open_engine(url))


def test_a_running_twin_is_the_report(register: ReportRegister) -> None:
    first = register.create(request(), "one")
    assert register.create(request(), "other") == first
    assert first.status is ReportStatus.IN_PROGRESS
    assert register.create(request(sub_partner="sub"), "one").id != first.id


def test_a_completed_twin_must_be_deleted_first(register: ReportRegister) -> None:
    first = register.create(request(), "one")
    job = register.lease("worker", _LEASE_MS)
    assert job is not None and register.complete(job, "worker", _FILE, ["a note"])
    with pytest.raises(AlreadyCompleted) as refused:
        register.create(request(), "one")
    assert (refused.value.report.file, refused.value.report.notes) == (_FILE, ("a note",))
    assert register.delete(first.id, ["someone-else"]) is None
    deleted = register.delete(first.id, ["partner-nord"])
    assert deleted is not None and deleted.file == _FILE
    assert register.create(request(), "one").id != first.id


def test_a_failed_twin_does_not_block(register: ReportRegister) -> None:
    first = register.create(request(), "one")
    job = register.lease("worker", _LEASE_MS)
    assert job is not None and register.fail(job, "worker", ReportFailure(7, "why"))
    failed = register.get(first.id)
    assert failed is not None and failed.failure == ReportFailure(7, "why")
    assert register.create(request(), "one").id != first.id


def test_threads_that_ask_at_once_get_one_report(register: ReportRegister) -> None:
    ids: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        ids.append(register.create(request(), "one").id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8 and len(set(ids)) == 1


def test_a_partner_has_so_many_running_reports_and_no_more(register: ReportRegister) -> None:
    for day in ("2026-10-01", "2026-10-02"):
        register.create(request(day=day), "one", max_running=2)
    with pytest.raises(TooManyRunning):
        register.create(request(day="2026-10-03"), "one", max_running=2)
    register.create(request("another", day="2026-10-03"), "one", max_running=2)
    assert register.create(request(day="2026-10-02"), "one", max_running=2).request.last_day


def test_the_tables_refuse_what_the_code_must_never_write(url: str, register: ReportRegister) -> None:
    report = register.create(request(), "one")
    engine = open_engine(url)
    with engine.connect() as connection:
        row = connection.execute(select(reports)).one()._asdict()
    wrong = [{"status": "DONE"}, {"status": "COMPLETED"}, {"status": "FAILED"}, {"type": "x"}, {"first_day": 99_999}]
    for values in wrong:
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(update(reports).where(reports.c.id == report.id).values(values))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(reports).values({**row, "id": "a-twin"}))


# ---- the queue


def test_a_job_is_held_until_its_lease_runs_out(register: ReportRegister, clock: Clock) -> None:
    report = register.create(request(), "one")
    mine = register.lease("one", _LEASE_MS)
    assert mine is not None and mine.id == report.id
    assert register.lease("two", _LEASE_MS) is None
    clock.ms += 600
    assert register.renew(mine, "one", _LEASE_MS)
    clock.ms += 600
    assert register.lease("two", _LEASE_MS) is None
    clock.ms += 600
    theirs = register.lease("two", _LEASE_MS)
    assert theirs is not None and (theirs.id, theirs.attempts) == (report.id, 2)
    # Who was frozen meanwhile hears that the job is not his any more, whatever he does.
    assert not register.renew(mine, "one", _LEASE_MS)
    assert not register.complete(mine, "one", _FILE, [])
    assert not register.fail(mine, "one", ReportFailure(1, ""))
    assert register.complete(theirs, "two", _FILE, [])
    assert register.oldest_job_age_ms() == 0


def test_an_attempt_of_before_does_not_end_one_of_now_of_the_same_worker(
    register: ReportRegister, clock: Clock
) -> None:
    register.create(request(), "one")
    before = register.lease("one", _LEASE_MS)
    clock.ms += _LEASE_MS
    now = register.lease("one", _LEASE_MS)
    assert before is not None and now is not None
    assert not register.complete(before, "one", _FILE, [])
    assert register.complete(now, "one", _FILE, [])


def test_a_deleted_job_is_nobodys(register: ReportRegister) -> None:
    report = register.create(request(), "one")
    job = register.lease("one", _LEASE_MS)
    assert job is not None and register.delete(report.id, ["partner-nord"]) is not None
    assert not register.complete(job, "one", _FILE, [])
    assert register.file_names() == set()


def test_jobs_come_in_the_order_in_which_they_were_asked_for(register: ReportRegister, clock: Clock) -> None:
    asked = []
    for day in ("2026-10-03", "2026-10-01", "2026-10-02"):
        clock.ms += 10
        asked.append(register.create(request(day=day), "one").id)
    assert register.oldest_job_age_ms() == 20
    assert [job.id for _ in asked if (job := register.lease("one", _LEASE_MS))] == asked


def test_processes_share_the_jobs_and_do_each_once(url: str, register: ReportRegister) -> None:
    partners = [f"partner-{number}" for number in range(60)]
    asked = {register.create(request(partner), "one").id for partner in partners}
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_work, args=(url, f"worker-{n}", done)) for n in range(3)]
    for worker in workers:
        worker.start()
    finished = [done.get(timeout=60) for _ in asked]
    for worker in workers:
        worker.join(60)
    assert sorted(finished) == sorted(asked) and done.empty()


def _work(url: str, worker: str, done: "multiprocessing.Queue[str]") -> None:
    register = ReportRegister(open_engine(url), Clock())
    while (job := register.lease(worker, _LEASE_MS)) is not None:
        if register.complete(job, worker, _FILE, []):
            done.put(job.id)


# ---- lists


@pytest.mark.parametrize("sort_by", list(SortBy))
def test_pages_hold_every_report_once_in_order(register: ReportRegister, sort_by: SortBy) -> None:
    for number in range(1, 8):
        register.create(request(day=f"2026-10-{1 + number % 3:02d}", sub_partner=f"sub-{number}"), "one")
    register.create(request("another"), "one")
    seen = []
    after = None
    while page := register.page(["partner-nord"], ReportFilter(), sort_by, 3, after):
        seen += page
        after = sort_key(page[-1], sort_by)
    assert len({report.id for report in seen}) == len(seen) == 7
    keys = [sort_key(report, sort_by) for report in seen]
    assert keys == sorted(keys)


def test_filters_are_equalities(register: ReportRegister) -> None:
    one = register.create(request(day="2026-10-30"), "one")
    other = register.create(request(sub_partner="sub"), "one")
    own = register.create(request("sub"), "one")

    def found(wanted: ReportFilter) -> set[str]:
        return {report.id for report in register.page(["partner-nord", "sub"], wanted, SortBy.ID, 9)}

    assert found(ReportFilter()) == {one.id, other.id, own.id}
    assert found(ReportFilter(last_day=one.request.last_day)) == {one.id}
    assert found(ReportFilter(last_day=one.request.last_day + 5)) == set()
    assert found(ReportFilter(sub_partner_id="sub")) == {other.id, own.id}
    assert found(ReportFilter(status=ReportStatus.FAILED)) == set()
