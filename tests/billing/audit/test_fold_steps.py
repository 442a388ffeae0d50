"""The steps of a subscriber are the core's own folds, whatever the blocks are; a wrong step is noticed."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.audit import fold_steps
from billing.audit.fold_steps import StepsDiffer, steps_of
from billing.audit.judged import facts_of, judge
from billing.audit.raw_events import RawEvent
from schemas.entitlements import Interval
from schemas.facts import CustomerFact, Kind, SubscriberFact
from streams.core.customer import deprovisions_of
from streams.core.fold import fold_subscriber, subscriber_in_force
from tests.streams.strategies import Event, arrivals, as_records, worlds

WORLDS = arrivals(worlds(conflicts=True))
Subscriber = tuple[list[SubscriberFact], tuple[CustomerFact, ...]]


def subscribers_of(events: list[Event]) -> Iterable[Subscriber]:
    """The facts of every subscriber of a world, with its customer's deprovisionings."""
    records = [RawEvent(0, r.offset, r.timestamp, r.key, r.value) for r in as_records(events)]
    for key in {record.key for record in records}:
        judged = judge([record for record in records if record.key == key])
        for partner_id in {record.partner_id for record in judged if record.partner_id}:
            facts = facts_of(judged, partner_id)
            deprovisions = deprovisions_of(facts.customer)
            yield from ((own, deprovisions) for own in facts.subscribers.values())


def by_whole_prefixes(facts: list[SubscriberFact], deprovisions: Iterable[CustomerFact]) -> list[tuple[Any, ...]]:
    """What each fact changes, by folding every prefix whole: the slow way that needs no blocks."""
    changes = []
    own: list[SubscriberFact] = []
    left: list[CustomerFact] = []
    before: list[Interval] = []
    anomalies = 0
    for fact in subscriber_in_force(facts, tuple(deprovisions)):
        (own if isinstance(fact, SubscriberFact) else left).append(fact)  # type: ignore[arg-type]
        folded = fold_subscriber(list(own), left)
        ran = {interval for interval in before if interval.end_ms is None}
        runs = {interval for interval in folded.intervals if interval.end_ms is None}
        changes.append((fact, ran - runs, runs - ran, folded.anomalies - anomalies))
        before, anomalies = folded.intervals, folded.anomalies
    return changes


@pytest.mark.parametrize("block", [1, 2, 16])
@settings(max_examples=settings.default.max_examples // 5)
@given(world=WORLDS)
def test_steps_in_blocks_are_the_differences_of_whole_prefixes(block: int, world: list[Event]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_steps, "_BLOCK", block)
        for facts, deprovisions in subscribers_of(world):
            steps = steps_of(facts, deprovisions)
            assert steps.record == fold_subscriber(list(facts), deprovisions)
            wanted = by_whole_prefixes(facts, deprovisions)
            assert [step.fact for step in steps.steps] == [fact for fact, *_ in wanted]
            for step, (_, ended, begun, anomalies) in zip(steps.steps, wanted, strict=True):
                was = {(i.slot, i.item, i.location_id, i.start_ms) for i in ended}
                assert {(i.slot, i.item, i.location_id, i.start_ms) for i in step.ended} == was
                assert {*step.started, *step.resumed} == begun
                assert step.anomaly == bool(anomalies)


def without_location(running: Any, location_id: Any, time_ms: int) -> list[SubscriberFact]:
    return STANDING(running, None, time_ms)


def without_addons(running: Any, location_id: Any, time_ms: int) -> list[SubscriberFact]:
    return [fact for fact in STANDING(running, location_id, time_ms) if fact.kind != Kind.ADDON_ASSIGNED]


def with_other_starts(running: Any, location_id: Any, time_ms: int) -> list[SubscriberFact]:
    later = [Interval(i.slot, i.item, i.location_id, i.start_ms + 1, i.end_ms) for i in running]
    return STANDING(later, location_id, time_ms)


STANDING = fold_steps._standing


@pytest.mark.parametrize("wrong", [without_location, without_addons, with_other_starts])
def test_steps_that_do_not_add_up_are_not_told(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fact(day: int, kind: Kind, item: str | None = None, location_id: str | None = "") -> SubscriberFact:
        return SubscriberFact(day * 86_400_000, None, kind, "/s", str(day), day, item, "u", None, location_id)

    facts = [
        fact(1, Kind.PACKAGE_ASSIGNED, "A", "L"),
        fact(2, Kind.ADDON_ASSIGNED, "X"),
        fact(3, Kind.PACKAGE_CHANGED, "B"),
        fact(4, Kind.ADDON_REMOVED, "X"),
    ]
    monkeypatch.setattr(fold_steps, "_BLOCK", 2)
    assert [len(step.ended) for step in steps_of(facts, ()).steps] == [0, 0, 1, 1]
    monkeypatch.setattr(fold_steps, "_standing", wrong)
    with pytest.raises(StepsDiffer):
        steps_of(facts, ())


@settings(max_examples=settings.default.max_examples // 10)
@given(world=WORLDS, seed=st.integers(0, 5))
def test_the_order_of_arrival_does_not_matter_to_the_steps(world: list[Event], seed: int) -> None:
    for facts, deprovisions in subscribers_of(world):
        turned = facts[seed % len(facts) :] + facts[: seed % len(facts)]
        assert steps_of(turned, deprovisions).steps == steps_of(facts, deprovisions).steps
