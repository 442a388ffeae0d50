"""The story of one subscriber: what each of its records did, and which started and ended each interval."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from billing.audit.citing import Citations, held
from billing.audit.explanation import Anomaly, Effect, ExplainedRecord
from billing.audit.fold_steps import Step, steps_of
from billing.audit.judged import Fact, JudgedRecord
from billing.audit.told import told, told_unmetered, told_voids
from schemas.entitlements import Interval, SubscriberRecord
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact

_ASSIGNMENTS = (Kind.PACKAGE_ASSIGNED, Kind.PACKAGE_CHANGED, Kind.ADDON_ASSIGNED)
_REMOVALS = (Kind.PACKAGE_REMOVED, Kind.ADDON_REMOVED, Kind.SUBSCRIBER_REMOVED)
#: What an interval is known by while it runs.
_Key = tuple[int, str, str | None, int]


class TracedInterval(Struct, frozen=True):
    """An interval with the facts that started and ended it.

    `assigned_by`: what had assigned the item, which a move then carried on. `located_by`: what had put the subscriber
    where the interval is. Both None if it is `started_by`.
    """

    interval: Interval
    started_by: Fact
    ended_by: Fact | None
    assigned_by: Fact | None
    located_by: Fact | None


class SubscriberStory(Struct, frozen=True):
    """Every record of a subscriber, and its customer's deprovisionings, with what it did; every interval, traced.

    `ended_by_deprovision`: how many intervals each deprovisioning ended, by its offset.
    """

    records: list[tuple[JudgedRecord, ExplainedRecord]]
    intervals: list[TracedInterval]
    record: SubscriberRecord
    ended_by_deprovision: dict[int, int]


def subscriber_story(
    records: Sequence[JudgedRecord], deprovisions: Sequence[JudgedRecord], citations: Citations
) -> SubscriberStory:
    """`records`: all of the subscriber, `deprovisions`: its customer's that are in force."""
    metered = {record.fact: record for record in records if record.fact is not None and record.same_as is None}
    facts = [fact for fact in metered if isinstance(fact, SubscriberFact)]
    by_fact: dict[Fact, JudgedRecord] = {**metered, **{record.fact: record for record in deprovisions if record.fact}}
    steps = steps_of(facts, [record.fact for record in deprovisions if isinstance(record.fact, CustomerFact)])
    tracer = _Tracer(citations)
    explained: list[tuple[JudgedRecord, ExplainedRecord]] = []
    ended_by_deprovision: dict[int, int] = {}
    for step in steps.steps:
        record = by_fact[step.fact]
        explained.append((record, tracer.take(step, record)))
        if step.fact.kind == Kind.CUSTOMER_DEPROVISIONED:
            ended_by_deprovision[record.offset] = len(step.ended)
    explained += told_voids(records, citations)
    explained += told_unmetered(records, citations)
    intervals = tracer.traced(steps.record.intervals)
    return SubscriberStory(explained, intervals, steps.record, ended_by_deprovision)


class _Tracer:
    """Goes through the steps in order and remembers who started and ended what."""

    def __init__(self, citations: Citations) -> None:
        self._citations = citations
        self._explained: dict[int, ExplainedRecord] = {}
        self._started_by: dict[_Key, Fact] = {}
        self._ended_by: dict[_Key, Fact] = {}
        self._running: dict[tuple[int, str], _Key] = {}
        #: What ended an item last, for removals that come too late.
        self._last_ended_by: dict[tuple[int, str], Fact] = {}
        self._last_package_fact: Fact | None = None
        self._location_fact: Fact | None = None
        self._located_by: dict[_Key, Fact] = {}
        self._assigned_by: dict[_Key, Fact] = {}

    def take(self, step: Step, record: JudgedRecord) -> ExplainedRecord:
        """What a fact did, given all before it."""
        fact = step.fact
        effect = _effect(step)
        explained = told(record, fact, effect)
        explained.ended = [held(interval) for interval in step.ended]
        explained.started = [held(interval) for interval in step.started]
        explained.resumed = [held(interval) for interval in step.resumed]
        if isinstance(fact, SubscriberFact) and (fact.user_id or fact.workspace_id):
            before = step.holder_before
            explained.holder_changed = before is not None and (before.user_id, before.workspace_id) != (
                fact.user_id,
                fact.workspace_id,
            )
        if step.anomaly:
            tie = fact.kind in _ASSIGNMENTS
            explained.anomaly = Anomaly.ORDERED_BY_ID_ONLY if tie else Anomaly.FOUND_NOTHING
        because = self._because(step, effect, explained.anomaly)
        if because is not None:
            explained.because = self._citations.of(because)
        if isinstance(fact, SubscriberFact) and fact.location_id not in (UNCHANGED, step.location_before):
            self._location_fact = fact
        self._follow(step)
        if fact.kind in (Kind.PACKAGE_ASSIGNED, Kind.PACKAGE_CHANGED):
            self._last_package_fact = fact
        self._explained[fact.offset] = explained
        return explained

    def traced(self, intervals: Iterable[Interval]) -> list[TracedInterval]:
        """The final intervals with the facts that they come from."""
        found = []
        for interval in intervals:
            key = _key(interval)
            started_by = self._started_by[key]
            assigned_by, located_by = self._assigned_by[key], self._located_by.get(key)
            found.append(
                TracedInterval(
                    interval,
                    started_by,
                    self._ended_by.get(key),
                    None if assigned_by is started_by else assigned_by,
                    None if located_by is started_by else located_by,
                )
            )
        return found

    def _because(self, step: Step, effect: Effect, anomaly: Anomaly | None) -> Fact | None:
        fact = step.fact
        if anomaly is Anomaly.ORDERED_BY_ID_ONLY:
            return self._last_package_fact
        assert isinstance(fact, SubscriberFact) or effect in (Effect.ENDED, Effect.FOUND_NOTHING, Effect.NOTHING)
        if effect is Effect.NOTHING and isinstance(fact, SubscriberFact):
            if fact.kind == Kind.MOVED:
                return self._location_fact
            running = self._running.get(_slot(fact))
            return None if running is None else self._started_by.get(running)
        if effect is Effect.FOUND_NOTHING and isinstance(fact, SubscriberFact):
            if fact.item is not None:
                return self._last_ended_by.get(_slot(fact))
            packages = [
                ended
                for (slot, _), ended in self._last_ended_by.items()
                if slot == 0 or fact.kind == Kind.SUBSCRIBER_REMOVED
            ]
            return max(packages, key=lambda ended: ended.time_ms, default=None)
        return None

    def _follow(self, step: Step) -> None:
        fact = step.fact
        assigned_by: dict[tuple[int, str], Fact] = {}
        for interval in step.ended:
            key = _key(interval)
            self._running.pop((interval.slot, interval.item), None)
            self._last_ended_by[interval.slot, interval.item] = fact
            assigned_by[interval.slot, interval.item] = self._assigned_by[key]
            if interval.start_ms == interval.end_ms:
                # Nothing is left of it: what started it was overridden at its own instant.
                self._overridden(self._started_by.pop(key), fact)
            else:
                self._ended_by[key] = fact
        for interval in step.resumed:
            self._running[interval.slot, interval.item] = _key(interval)
            self._overridden(self._ended_by.pop(_key(interval)), fact)
        for interval in step.started:
            key = _key(interval)
            self._running[interval.slot, interval.item] = key
            self._started_by[key] = fact
            self._assigned_by[key] = assigned_by.get((interval.slot, interval.item), fact)
            if self._location_fact is not None:
                self._located_by[key] = self._location_fact

    def _overridden(self, fact: Fact, by: Fact) -> None:
        explained = self._explained[fact.offset]
        if fact is not by:
            explained.overridden_by = self._citations.of(by)


def _effect(step: Step) -> Effect:
    fact = step.fact
    if step.resumed:
        return Effect.RESUMED
    ended, started = ({(i.slot, i.item) for i in intervals} for intervals in (step.ended, step.started))
    if ended - started:
        return Effect.CHANGED if started - ended else Effect.ENDED
    if started:
        return Effect.STARTED if started - ended else Effect.MOVED
    if fact.kind in _REMOVALS:
        return Effect.FOUND_NOTHING
    moves = isinstance(fact, SubscriberFact) and fact.location_id not in (UNCHANGED, step.location_before)
    return Effect.LOCATED if moves else Effect.NOTHING


def _slot(fact: SubscriberFact) -> tuple[int, str]:
    assert fact.item is not None
    return (int(fact.kind in (Kind.ADDON_ASSIGNED, Kind.ADDON_REMOVED)), fact.item)


def _key(interval: Interval) -> _Key:
    return (interval.slot, interval.item, interval.location_id, interval.start_ms)
