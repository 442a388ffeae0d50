"""The record of each run: when, over what, what each check found. Rows are only ever added."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, func, insert, select

from billing.audit.reconcile.check import CheckResult, Scope
from billing.audit.reconcile.run import Reconciled
from billing.relational.connect import writing
from billing.relational.schema import reconcile_runs


class ReconcileRun(Struct, frozen=True):
    """One run. Times in ms since the epoch."""

    started_ms: int
    finished_ms: int
    clean: bool
    scope: Scope
    results: tuple[CheckResult, ...]


class RunOf(Struct, frozen=True):
    """A run without its results: what it went over, and whether it was clean."""

    clean: bool
    scope: Scope


def covers(scope: Scope, other: Scope) -> bool:
    """Whether a run over `scope` looked at all that one over `other` did: days, orgs and customers."""
    orgs = scope.org_ids is None or (other.org_ids is not None and set(other.org_ids) <= set(scope.org_ids))
    customers = scope.customers is None or scope.customers == other.customers
    return scope.first_day <= other.first_day and other.last_day <= scope.last_day and orgs and customers


def unsettled(runs: Sequence[RunOf]) -> list[RunOf]:
    """Of runs in order, those that found a difference and that no later, clean run over as much has settled."""
    return [
        run
        for position, run in enumerate(runs)
        if not run.clean and not any(later.clean and covers(later.scope, run.scope) for later in runs[position + 1 :])
    ]


class ReconcileRuns:
    """The runs, in the relational store."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._now_ms = now_ms

    def add(self, started_ms: int, found: Reconciled) -> ReconcileRun:
        """Keep a run that has just finished."""
        run = ReconcileRun(started_ms, self._now_ms(), found.clean, found.scope, found.results)
        values = {
            "started_ms": run.started_ms,
            "finished_ms": run.finished_ms,
            "clean": run.clean,
            "first_day": run.scope.first_day,
            "last_day": run.scope.last_day,
            "whole": run.scope.org_ids is None and run.scope.customers is None,
            "scope": msgspec.json.encode(run.scope).decode(),
            "results": msgspec.json.encode(run.results).decode(),
        }
        with writing(self._engine) as connection:
            connection.execute(insert(reconcile_runs).values(values))
        return run

    def last(self, *, whole: bool = False) -> ReconcileRun | None:
        """The run that finished last; with `whole`, of those over all orgs and customers. None if there is none."""
        wanted = select(reconcile_runs).order_by(reconcile_runs.c.id.desc()).limit(1)
        if whole:
            wanted = wanted.where(reconcile_runs.c.whole)
        with self._engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        return ReconcileRun(
            row.started_ms,
            row.finished_ms,
            row.clean,
            msgspec.json.decode(row.scope, type=Scope),
            msgspec.json.decode(row.results, type=tuple[CheckResult, ...]),
        )

    def unsettled(self) -> list[RunOf]:
        """The runs whose differences still stand: a clean run over one slice says nothing about another."""
        first = select(func.min(reconcile_runs.c.id)).where(reconcile_runs.c.clean.is_(False)).scalar_subquery()
        since = (
            select(reconcile_runs.c.clean, reconcile_runs.c.scope)
            .where(reconcile_runs.c.id >= first)
            .order_by(reconcile_runs.c.id)
        )
        with self._engine.connect() as connection:
            return unsettled(
                [RunOf(row.clean, msgspec.json.decode(row.scope, type=Scope)) for row in connection.execute(since)]
            )
