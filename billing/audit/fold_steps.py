"""What each fact of a subscriber did, found by folding with the core: the intervals before it, and after it.

No rule is written down here a second time. Facts are taken in the order of rule 10, and the core folds each prefix
of them; what differs between two folds is what the fact between them did. Folding every prefix whole would take a
day for a hundred thousand facts, so it goes block by block: before a block stands what runs then, as facts of our
own (`_standing`). At the end all steps together must be what the core makes of all facts at once, or `StepsDiffer`.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from schemas.entitlements import ADDON, Interval, SubscriberRecord
from schemas.facts import CustomerFact, Kind, SubscriberFact
from streams.core.fold import fold_subscriber, subscriber_in_force

Fact = SubscriberFact | CustomerFact

#: Facts per block: a prefix of it costs a microsecond for each.
_BLOCK = 16
#: Ours, so that it is no event's: a source has a character at least.
_STANDING = ""


class StepsDiffer(Exception):
    """The steps do not add up to what the core says of all facts: a bug here, and nothing may be explained."""


class Step(Struct, frozen=True):
    """What one fact did. An ended interval has its end, if only the instant of its start; a started one has none.

    `resumed`: intervals that had ended at this very instant and go on, because ones that touch and are equal are one
    (rule 11). `location_before` is the subscriber's until this fact. `anomaly`: as the core counts it.
    """

    fact: Fact
    ended: tuple[Interval, ...]
    started: tuple[Interval, ...]
    resumed: tuple[Interval, ...]
    location_before: str | None
    holder_before: SubscriberFact | None
    anomaly: bool

    @property
    def changed_intervals(self) -> bool:
        return bool(self.ended or self.started or self.resumed)


class Steps(Struct, frozen=True):
    """All steps of a subscriber, in the order of rule 10, and the record that the core makes of it."""

    steps: list[Step]
    record: SubscriberRecord


def steps_of(facts: Sequence[SubscriberFact], deprovisions: Sequence[CustomerFact]) -> Steps:
    """The steps of a subscriber's facts, in any order, and its customer's deprovisionings in force."""
    record = fold_subscriber(list(facts), deprovisions)
    steps: list[Step] = []
    ended: list[Interval] = []
    standing: list[SubscriberFact] = []
    location_id: str | None = None
    holder: SubscriberFact | None = None
    running: list[Interval] = []
    for block in _blocks(subscriber_in_force(facts, deprovisions)):
        before = running
        anomalies = 0
        own_facts, own_deprovisions = list(standing), []
        for fact in block:
            if isinstance(fact, SubscriberFact):
                own_facts.append(fact)
            else:
                own_deprovisions.append(fact)
            folded = fold_subscriber(list(own_facts), own_deprovisions)
            steps.append(_step(fact, before, folded, location_id, holder, folded.anomalies - anomalies))
            before, anomalies = folded.intervals, folded.anomalies
            if isinstance(fact, SubscriberFact):
                if fact.location_id != "":
                    location_id = fact.location_id
                if folded.holder >= 0 and own_facts[folded.holder] is fact:
                    holder = fact
        ended += [interval for interval in before if interval.end_ms is not None]
        running = [interval for interval in before if interval.end_ms is None]
        standing = _standing(running, location_id, block[-1].time_ms)
    _check(record, [*ended, *running], sum(step.anomaly for step in steps))
    return Steps(steps, record)


def _blocks(facts: Sequence[Fact]) -> Iterator[list[Fact]]:
    """The facts in blocks that share no instant: only then can nothing of a block touch what an earlier one ended."""
    block: list[Fact] = []
    for fact in facts:
        if len(block) >= _BLOCK and fact.time_ms > block[-1].time_ms:
            yield block
            block = []
        block.append(fact)
    if block:
        yield block


def _standing(running: Sequence[Interval], location_id: str | None, time_ms: int) -> list[SubscriberFact]:
    """Facts that lead to what runs now at the location where the subscriber is, and to nothing else.

    Whatever runs, runs at the subscriber's location, so it was there before all of it started.
    """
    moved_ms = min((interval.start_ms for interval in running), default=time_ms)
    facts = [SubscriberFact(moved_ms, None, Kind.MOVED, _STANDING, "", -1, location_id=location_id)]
    for interval in running:
        kind = Kind.ADDON_ASSIGNED if interval.slot == ADDON else Kind.PACKAGE_ASSIGNED
        facts.append(SubscriberFact(interval.start_ms, None, kind, _STANDING, interval.item, -1, interval.item))
    return facts


def _step(
    fact: Fact,
    before: Sequence[Interval],
    folded: SubscriberRecord,
    location_id: str | None,
    holder: SubscriberFact | None,
    anomalies: int,
) -> Step:
    ran, runs = _running(before), _running(folded.intervals)
    ended: list[Interval] = []
    started: list[Interval] = []
    resumed: list[Interval] = []
    for slot, was in ran.items():
        if runs.get(slot) != was:
            ended.append(Interval(was.slot, was.item, was.location_id, was.start_ms, fact.time_ms))
    for slot, interval in runs.items():
        if ran.get(slot) != interval:
            (started if interval.start_ms == fact.time_ms else resumed).append(interval)
    return Step(fact, tuple(ended), tuple(started), tuple(resumed), location_id, holder, anomalies > 0)


def _running(intervals: Sequence[Interval]) -> dict[tuple[int, str], Interval]:
    return {(interval.slot, interval.item): interval for interval in intervals if interval.end_ms is None}


def _check(record: SubscriberRecord, intervals: Sequence[Interval], anomalies: int) -> None:
    def order(interval: Interval) -> tuple[int, int, str]:
        return (interval.start_ms, interval.slot, interval.item)

    if sorted(intervals, key=order) != record.intervals or anomalies != record.anomalies:
        raise StepsDiffer("the facts, one by one, do not give the intervals that they give together")
