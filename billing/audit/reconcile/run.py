"""All checks, over one scope, while the pipeline may go on."""

import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from billing.audit.reconcile import history, input_offsets, notices, recomputed, sums
from billing.audit.reconcile.check import Check, CheckResult, Scope, Slice, Subject, Weight
from billing.queries import PROGRESS
from schemas.topics import TopicNames
from sinks.catalog import load_catalog
from sinks.positions import stored_positions
from sinks.store import ReadableStore

CHECKS = (
    Check("input-holes", "every offset of the input has its raw row", Weight.DIFFERENCE, input_offsets.holes),
    Check("input-accounted", "metered + duplicates + refused + day closes = input", Weight.DIFFERENCE, input_offsets.accounted),
    Check("state", "timelines, customers and dead letters are those of the raw events", Weight.DIFFERENCE, recomputed.state_against_tables),
    Check("days", "each closed day is the sum of its intervals and orders", Weight.DIFFERENCE, sums.days_against_intervals),
    Check("totals", "PARTNER, CUSTOMER and USER reports give the same totals", Weight.DIFFERENCE, sums.report_totals),
    Check("newest", "current rows are the newest of their history", Weight.DIFFERENCE, history.current_is_newest),
    Check("one-content", "a key has one content at a revision", Weight.DIFFERENCE, history.one_content_per_revision),
    Check("days-closed", "every partition has closed the days", Weight.DIFFERENCE, notices.days_not_closed),
    Check("held-twice", "no subscriber is held by two customers at once", Weight.NOTICE, notices.held_twice),
    Check("identities", "no identity stands for two owners' events", Weight.NOTICE, notices.reused_identities),
    Check("priced", "what is used is on a purchase order", Weight.NOTICE, notices.without_price),
)  # fmt: skip

#: What is read while rows of a batch arrive in one table and not yet in another is no difference: a check that finds
#: one while the store moves on is done again, so often, after so long. Only what each look finds is a difference.
_SETTLE_TRIES = 5
_SETTLE_SECONDS = 2.0


_RAW_ENDS = "SELECT partition, max(offset) + 1 FROM raw_events WHERE topic = {topic:String} GROUP BY partition"


class Reconciled(Struct, frozen=True):
    """What a run found."""

    scope: Scope
    results: tuple[CheckResult, ...]

    @property
    def clean(self) -> bool:
        """Whether no check found a difference."""
        return not any(result.differs for result in self.results)


def scope_of(
    store: ReadableStore,
    names: TopicNames,
    first_day: int,
    last_day: int,
    org_ids: tuple[str, ...] | None,
    customers: Slice | None,
) -> Scope:
    """The scope of a run that begins now: what is metered and stored is judged, what is newer is left alone.

    Orgs are given with their sub-partners.
    """
    cuts = {row[0]: row[1] for row in store.query(PROGRESS)}
    raw = dict(store.query(_RAW_ENDS, {"topic": names.package_assignments}))  # type: ignore[arg-type]
    return Scope(
        first_day, last_day, org_ids, customers, {partition: min(cut, raw.get(partition, 0)) for partition, cut in cuts.items()}
    )  # fmt: skip


def reconcile(
    store: ReadableStore,
    names: TopicNames,
    scope: Scope,
    *,
    sleep: Callable[[float], object] = time.sleep,
    begin: Callable[[Check], object] = lambda _: None,
) -> Reconciled:
    """Every check. `begin` hears of each before it is done; StoreFailed when the store does not answer."""
    subject = Subject(store, names, load_catalog(store), scope)
    return Reconciled(scope, tuple(_results(subject, sleep, begin)))


def _results(
    subject: Subject, sleep: Callable[[float], object], begin: Callable[[Check], object]
) -> Iterator[CheckResult]:
    for check in CHECKS:
        begin(check)
        found_before: frozenset[str] | None = None
        for attempt in range(_SETTLE_TRIES):
            before = stored_positions(subject.store)
            findings = check.look(msgspec.structs.replace(subject, found_before=found_before))
            result = findings.result(check.name, check.weight)
            if not result.differs or attempt + 1 == _SETTLE_TRIES:
                break
            sleep(_SETTLE_SECONDS)
            if stored_positions(subject.store) == before:
                break
            found_before = findings.found
        yield result
