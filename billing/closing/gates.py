"""What must hold before a month is closed. Each gate says what it saw; it is stored with the invoice.

1. Every day of the period is closed in every partition.
2. The sinks are caught up with the state that the cut is of: raw events and dead letters are stored up to it, and days
   and intervals at the cut give the same usage. (Daily rows come by another topic than intervals.)
3. The last reconcile run over the period and the partner's orgs is clean, and no run since found a difference.
4. None of the partner's dead letters is open; a person may accept that some are.
5. Everything used has a price; a person may accept that some has none. This one is judged on the draft.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Engine, select

from billing.audit.reconcile.check import Scope
from billing.closing.draft import Draft
from billing.closing.invoices import Cut, GateSeen
from billing.closing.lines import Quantities
from billing.closing.period import Period
from billing.closing.usage import cut_parameters
from billing.dead_letters import OpenLetters
from billing.queries import PROGRESS
from billing.relational.schema import reconcile_runs
from billing.report import signed_quantity_text
from schemas.instants import day_text, time_text
from schemas.topics import TopicNames
from sinks.store import ReadableStore

DAYS_CLOSED, SINKS, RECONCILED, LETTERS, PRICED = "days-closed", "sinks-caught-up", "reconciled", "no-open-letters", "priced"  # fmt: skip

_RAW_ENDS = "SELECT topic, partition, max(offset) + 1 FROM raw_events GROUP BY topic, partition"
_LETTERS_STORED = """
SELECT partition, uniqExact(offset) FROM dead_letters
WHERE topic = {topic:String}
  AND offset < transform(partition, {partitions:Array(UInt32)}, {cuts:Array(Int64)}, toInt64(0))
GROUP BY partition
"""


class Progress(msgspec.Struct, frozen=True):
    """How far everything is: by partition what is metered, closed and refused, and what is stored of it."""

    metered: dict[int, int]
    closed_through: dict[int, int | None]
    refused: dict[int, int]
    raw_stored: dict[int, int]
    letters_stored: dict[int, int]
    catalog: int

    @property
    def cut(self) -> Cut:
        """The cut that a close at this moment has."""
        return Cut(dict(sorted(self.metered.items())), self.catalog)


class ReconcileSeen(msgspec.Struct, frozen=True):
    """A run of reconcile: when it ended (ms since the epoch), whether it found nothing, what it looked at."""

    finished_ms: int
    clean: bool
    scope: Scope


def read_progress(store: ReadableStore, names: TopicNames) -> Progress:
    """The state of now."""
    rows = store.query(PROGRESS)
    metered = {row[0]: row[1] for row in rows}
    ends = {(topic, partition): end for topic, partition, end in store.query(_RAW_ENDS)}
    parameters = {"topic": names.package_assignments, **cut_parameters(metered)}
    return Progress(
        metered,
        {row[0]: row[2] for row in rows},
        {row[0]: row[5] for row in rows},
        {partition: end for (topic, partition), end in ends.items() if topic == names.package_assignments},
        dict(store.query(_LETTERS_STORED, parameters)),  # type: ignore[arg-type]
        ends.get((names.catalog, 0), 0),
    )


def days_closed(progress: Progress, period: Period) -> GateSeen:
    """Gate 1. A partition that no progress is known of, below one that has some, is open too."""
    wanted = range(max(progress.metered, default=-1) + 1)
    closed = [progress.closed_through.get(partition) for partition in wanted]
    behind = [partition for partition, day in zip(wanted, closed) if day is None or day < period.last_day]
    if not wanted:
        return GateSeen(DAYS_CLOSED, False, "nothing was metered yet")
    if behind:
        shown = ", ".join(map(str, behind[:5])) + (" ..." if len(behind) > 5 else "")
        saw = f"{len(behind)} of {len(wanted)} partitions are not closed through {day_text(period.last_day)}: {shown}"
        return GateSeen(DAYS_CLOSED, False, saw)
    return GateSeen(DAYS_CLOSED, True, f"{len(wanted)} partitions are closed through {day_text(period.last_day)}")


def sinks_caught_up(
    progress: Progress, by_days: Mapping[Period, Quantities], by_intervals: Mapping[Period, Quantities]
) -> GateSeen:
    """Gate 2, of the period and of every earlier one that may be corrected."""
    for partition, length in sorted(progress.metered.items()):
        stored = progress.raw_stored.get(partition, 0)
        if stored < length:
            return GateSeen(SINKS, False, f"partition {partition}: raw events up to {stored} of {length}")
        letters, refused = progress.letters_stored.get(partition, 0), progress.refused[partition]
        if letters != refused:
            return GateSeen(SINKS, False, f"partition {partition}: {letters} of {refused} dead letters")
    for period, days in sorted(by_days.items()):
        intervals = by_intervals[period]
        for key in sorted({*days, *intervals}):
            one, other = days.get(key, 0), intervals.get(key, 0)
            if one != other:
                whose = f"{key.owner_id}/{key.service}, {period}"
                saw = f"{whose}: {signed_quantity_text(one)} by days, {signed_quantity_text(other)} by intervals"
                return GateSeen(SINKS, False, saw)
    compared = sum(map(len, by_days.values()))
    return GateSeen(SINKS, True, f"{sum(progress.metered.values())} records are stored; {compared} sums agree")


def reconcile_runs_over(engine: Engine, first_day: int, last_day: int) -> list[ReconcileSeen]:
    """The runs that looked at one of these days, the newest first."""
    overlapping = (
        select(reconcile_runs)
        .where(reconcile_runs.c.first_day <= last_day, reconcile_runs.c.last_day >= first_day)
        .order_by(reconcile_runs.c.id.desc())
    )
    with engine.connect() as connection:
        return [
            ReconcileSeen(row.finished_ms, row.clean, msgspec.json.decode(row.scope, type=Scope))
            for row in connection.execute(overlapping)
        ]


def reconciled(runs: Iterable[ReconcileSeen], period: Period, org_ids: Sequence[str]) -> GateSeen:
    """Gate 3. `runs`: the newest first. Several clean ones may cover the period together: a period need not be a month."""
    ours = set(org_ids)
    open_days = set(range(period.first_day, period.last_day + 1))
    for run in runs:
        scope = run.scope
        if scope.first_day > period.last_day or scope.last_day < period.first_day:
            continue
        if scope.org_ids is not None and not ours & set(scope.org_ids):
            continue
        when = time_text(run.finished_ms)
        if not run.clean:
            return GateSeen(RECONCILED, False, f"the run of {when} found differences")
        if scope.customers is None and (scope.org_ids is None or ours <= set(scope.org_ids)):
            open_days -= set(range(scope.first_day, scope.last_day + 1))
            if not open_days:
                return GateSeen(RECONCILED, True, f"the run of {when} is clean")
    return GateSeen(RECONCILED, False, f"no run over {period} and all of the partner's orgs")


def no_open_letters(letters: OpenLetters, accepted: str) -> GateSeen:
    """Gate 4."""
    if not letters.of_period and not letters.before:
        return GateSeen(LETTERS, True, "none is open")
    saw = f"{letters.of_period} of the period and {letters.before} of before are open"
    return GateSeen(LETTERS, False, saw, accepted)


def priced(draft: Draft, accepted: str) -> GateSeen:
    """Gate 5."""
    unpriced = draft.unpriced
    if not unpriced:
        return GateSeen(PRICED, True, f"{len(draft.lines)} lines have a price")
    first = unpriced[0]
    saw = f"{len(unpriced)} lines have none, such as {first.key.owner_id}/{first.key.service}: {first.unpriced}"
    return GateSeen(PRICED, False, saw, accepted)


def blocking(gates: Sequence[GateSeen]) -> list[GateSeen]:
    """Those that a close must not pass: what does not hold and was not accepted."""
    return [gate for gate in gates if not gate.holds and not gate.accepted]
