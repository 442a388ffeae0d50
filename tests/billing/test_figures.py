"""What the stores hold open, as an operator sees it."""

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from billing.audit.reconcile.check import CheckResult, Scope, Slice, Weight
from billing.audit.reconcile.record import ReconcileRuns, RunOf, covers, unsettled
from billing.audit.reconcile.run import Reconciled
from billing.dead_letters import OpenOfReason, counts_by_reason, open_by_reason
from billing.dismissals import none_dismissed
from billing.figures import Figures, services_without_price
from billing.jobs.register import ReportRegister
from billing.metrics import FigureMetrics
from billing.relational.connect import open_engine, upgrade
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number
from schemas.metrics.metric import Process
from sinks.store import ReadableStore, StoreUnavailable
from streams.instruments import Instruments
from tests.billing.letters_store import ARRIVED_MS, DISMISSED

OCTOBER = Scope(day_number("2026-10-01"), day_number("2026-10-31"), None, None, {})
NOVEMBER = Scope(day_number("2026-11-01"), day_number("2026-11-30"), None, None, {})
NOW_MS = ARRIVED_MS + 3_600_000


def of(scope: Scope, **changes: Any) -> Scope:
    return Scope(**{**{name: getattr(scope, name) for name in scope.__struct_fields__}, **changes})


SLICE, OTHER_SLICE = of(OCTOBER, customers=Slice(3, 28)), of(OCTOBER, customers=Slice(4, 28))
ACME = of(OCTOBER, org_ids=("acme", "acme-west"))


@pytest.mark.parametrize(
    ("scope", "other", "covered"),
    [
        (OCTOBER, OCTOBER, True),
        (OCTOBER, SLICE, True),
        (OCTOBER, ACME, True),
        (OCTOBER, NOVEMBER, False),
        (SLICE, OCTOBER, False),
        (SLICE, SLICE, True),
        (OTHER_SLICE, SLICE, False),
        (ACME, of(OCTOBER, org_ids=("acme",)), True),
        (of(OCTOBER, org_ids=("acme",)), ACME, False),
        (ACME, OCTOBER, False),
        (of(OCTOBER, last_day=NOVEMBER.last_day), OCTOBER, True),
    ],
)
def test_a_run_covers_what_it_looked_at(scope: Scope, other: Scope, covered: bool) -> None:
    assert covers(scope, other) is covered


def test_a_difference_stands_until_a_clean_run_over_as_much() -> None:
    differs = RunOf(clean=False, scope=SLICE)
    elsewhere = RunOf(clean=True, scope=OTHER_SLICE)
    assert unsettled([RunOf(clean=True, scope=OCTOBER), differs, elsewhere]) == [differs]
    assert unsettled([differs, elsewhere, RunOf(clean=True, scope=OCTOBER)]) == []
    assert unsettled([differs, RunOf(clean=False, scope=OCTOBER)])[0] == differs


class World:
    """Figures on a register of its own, and the store of the letters."""

    def __init__(self, folder: Path, open_store: Callable[[], ReadableStore]) -> None:
        engine = open_engine(f"sqlite:///{folder / 'billing.db'}")
        upgrade(engine)
        self.now_ms = NOW_MS
        self.register = ReportRegister(engine, lambda: self.now_ms)
        self.runs = ReconcileRuns(engine, lambda: self.now_ms)
        self.instruments = Instruments(Process.JOBS)
        metrics = FigureMetrics(self.instruments)
        self.figures = Figures(
            self.register, self.runs, lambda: list(DISMISSED), open_store, metrics, lambda: self.now_ms
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.instruments.registry.get_sample_value(name, labels)

    def ran(self, scope: Scope, findings: int) -> None:
        results = (CheckResult("days", Weight.DIFFERENCE, 10, findings, ()),)
        self.runs.add(self.now_ms, Reconciled(scope, results))


class KeptOpen:
    """The store, which another test goes on using."""

    def __init__(self, store: ReadableStore) -> None:
        self.query, self.stream = store.query, store.stream

    def close(self) -> None:
        """Not ours to close."""


@pytest.fixture
def world(tmp_path: Path, letters_store: ReadableStore) -> World:
    return World(tmp_path, lambda: KeptOpen(letters_store))  # type: ignore[arg-type,return-value]


def test_open_letters_are_those_of_the_list(letters_store: ReadableStore) -> None:
    found = {one.reason: one.open for one in open_by_reason(letters_store, DISMISSED)}
    assert found == {one.reason: one.open for one in counts_by_reason(letters_store, DISMISSED) if one.open}
    assert found
    assert open_by_reason(letters_store, none_dismissed()) != open_by_reason(letters_store, DISMISSED)


def test_the_figures_are_those_of_the_stores(world: World, letters_store: ReadableStore) -> None:
    world.register.create(ReportRequest(ReportType.USER, "acme", None, 20_000, 20_001, False), "me")
    world.ran(OCTOBER, findings=0)
    world.now_ms += 90_000
    assert world.figures.look()
    assert world.value("rtmeter_report_queue_age_seconds") == 90
    assert world.value("rtmeter_reports_registered", report_status="IN_PROGRESS") == 1
    assert world.value("rtmeter_reports_registered", report_status="FAILED") == 0
    letters = open_by_reason(letters_store, DISMISSED)
    for one in letters:
        assert world.value("rtmeter_dead_letters_open", reason=one.reason) == one.open
    assert world.value("rtmeter_dead_letters_open", reason="before-horizon") == 0
    oldest_ms = min(one.oldest_ms for one in letters)
    assert world.value("rtmeter_dead_letters_oldest_age_seconds") == (world.now_ms - oldest_ms) / 1000
    assert world.value("rtmeter_reconcile_clean") == 1
    assert world.value("rtmeter_reconcile_findings", check="days", weight="difference") == 0
    assert world.value("rtmeter_reconcile_finished_timestamp_seconds") == NOW_MS / 1000
    assert world.value("rtmeter_services_without_price") is not None
    assert world.value("rtmeter_figures_looked_timestamp_seconds") == world.now_ms / 1000
    assert world.value("rtmeter_figures_failures_total") == 0


def test_a_clean_slice_does_not_hide_what_another_one_found(world: World) -> None:
    world.ran(SLICE, findings=2)
    world.ran(OTHER_SLICE, findings=0)
    world.figures.look()
    assert world.value("rtmeter_reconcile_clean") == 0
    world.ran(OCTOBER, findings=0)
    world.figures.look()
    assert world.value("rtmeter_reconcile_clean") == 1


def test_what_was_never_said_is_no_number(world: World) -> None:
    assert math.isnan(world.value("rtmeter_reconcile_clean") or 0)
    world.figures.look()
    assert math.isnan(world.value("rtmeter_reconcile_clean") or 0), "nothing was reconciled yet"
    assert world.value("rtmeter_report_queue_age_seconds") == 0


def test_one_store_that_is_silent_does_not_hide_the_other(tmp_path: Path) -> None:
    def gone() -> ReadableStore:
        raise StoreUnavailable("down")

    world = World(tmp_path, gone)
    assert not world.figures.look()
    assert world.value("rtmeter_report_queue_age_seconds") == 0
    assert world.value("rtmeter_figures_failures_total") == 1
    assert world.value("rtmeter_figures_looked_timestamp_seconds") == 0
    stop = threading.Event()
    stop.set()
    world.figures.run(stop)


def test_services_of_the_month_without_a_price_are_counted(month_store: ReadableStore) -> None:
    assert services_without_price(month_store, day_number("2026-11-01")) > 0
    assert services_without_price(month_store, day_number("2020-01-01")) == 0


def test_letters_that_were_closed_are_said_to_be_none() -> None:
    instruments = Instruments(Process.JOBS)
    metrics = FigureMetrics(instruments)
    metrics.letters([OpenOfReason("bad-field", 3, NOW_MS - 5_000)], NOW_MS)
    metrics.letters([], NOW_MS)
    assert instruments.registry.get_sample_value("rtmeter_dead_letters_open", {"reason": "bad-field"}) == 0
    assert instruments.registry.get_sample_value("rtmeter_dead_letters_oldest_age_seconds") == 0
