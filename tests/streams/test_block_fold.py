"""Folding in blocks gives what folding anew gives: after each late fact, void and deprovisioning, wherever the cuts are."""

from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas.entitlements import Interval
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact, order_of
from streams.core.block_fold import BlockFold, Changes
from streams.core.fold import fold_subscriber

# Few instants, so that many facts share one, and blocks begin in the middle of it.
_TIMES = st.integers(0, 6)
_SEQUENCES = st.sampled_from((None, None, "1", "2"))
_LOCATIONS = st.sampled_from((UNCHANGED, UNCHANGED, UNCHANGED, "L1", "L2", None))
_HOLDERS = st.sampled_from((("u1", None), ("u2", None), (None, "w1")))
_PACKAGE_KINDS = (Kind.PACKAGE_ASSIGNED, Kind.PACKAGE_ASSIGNED, Kind.PACKAGE_CHANGED)


@st.composite
def _facts(draw: Any) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(
            (
                *_PACKAGE_KINDS * 2,
                Kind.ADDON_ASSIGNED,
                Kind.ADDON_ASSIGNED,
                Kind.PACKAGE_REMOVED,
                Kind.PACKAGE_REMOVED,
                Kind.ADDON_REMOVED,
                Kind.SUBSCRIBER_REMOVED,
                Kind.MOVED,
            )
        )
    )
    fact: dict[str, Any] = {"time_ms": draw(_TIMES), "sequence": draw(_SEQUENCES), "kind": int(kind)}
    if kind in (*_PACKAGE_KINDS, Kind.ADDON_ASSIGNED):
        fact["user_id"], fact["workspace_id"] = draw(_HOLDERS)
        fact["location_id"] = draw(_LOCATIONS)
    if kind == Kind.MOVED:
        fact["location_id"] = draw(st.sampled_from(("L1", "L2", None)))
    if kind in (*_PACKAGE_KINDS, Kind.PACKAGE_REMOVED):
        fact["item"] = draw(st.sampled_from(("A", "B")))
        if kind == Kind.PACKAGE_REMOVED and draw(st.booleans()):
            fact["item"] = None
    if kind in (Kind.ADDON_ASSIGNED, Kind.ADDON_REMOVED):
        fact["item"] = draw(st.sampled_from(("X", "Y")))
    return fact


_INSERT = st.tuples(st.just("insert"), _facts())
_REMOVE = st.tuples(st.just("remove"), st.integers(0, 50))
_DEPROVISION = st.tuples(st.just("deprovision"), st.tuples(_TIMES, _SEQUENCES))
_REPROVISION = st.tuples(st.just("reprovision"), st.integers(0, 50))
STEPS = st.lists(st.one_of(_INSERT, _INSERT, _INSERT, _INSERT, _REMOVE, _DEPROVISION, _REPROVISION), max_size=16)
STARTS = st.lists(_facts(), max_size=10)
CASE = st.tuples(st.integers(1, 4), STARTS, STEPS)


class Followed:
    """A fold in blocks beside the plain sets of facts; its intervals are carried along by its changes alone."""

    def __init__(self, fold: type[BlockFold], block_facts: int, starts: list[dict[str, Any]]) -> None:
        self._made = 0
        self.facts = [self._fact(start) for start in starts]
        self.deprovisions: list[CustomerFact] = []
        self.fold = fold(sorted(self.facts, key=order_of), (), block_facts)
        self.intervals = set(self.fold.intervals())

    def step(self, what: str, argument: Any) -> None:
        changes = Changes([], [])
        if what == "insert":
            self.facts.append(self._fact(argument))
            changes = self.fold.insert(self.facts[-1])
        elif what == "remove" and self.facts:
            changes = self.fold.remove(self.facts.pop(argument % len(self.facts)))
        elif what == "deprovision":
            self._made += 1
            self.deprovisions.append(
                CustomerFact(*argument, int(Kind.CUSTOMER_DEPROVISIONED), "/c", f"{self._made * 7 % 10}", self._made)
            )
            changes = self.fold.set_deprovisions(sorted(self.deprovisions, key=order_of))
        elif what == "reprovision" and self.deprovisions:
            self.deprovisions.pop(argument % len(self.deprovisions))
            changes = self.fold.set_deprovisions(sorted(self.deprovisions, key=order_of))
        assert self.intervals >= set(changes.gone)
        assert self.intervals.isdisjoint(changes.come)
        self.intervals.difference_update(changes.gone)
        self.intervals.update(changes.come)

    def check(self) -> None:
        """All of it is as folded anew."""
        plain = fold_subscriber(list(self.facts), sorted(self.deprovisions, key=order_of))
        assert self.intervals == set(plain.intervals)
        again = self.fold.intervals()
        assert sorted(again, key=_order) == sorted(plain.intervals, key=_order)
        assert self.fold.anomalies == plain.anomalies
        holding = self.fold.holding()
        pair = (None, None) if holding is None else (holding.user_id, holding.workspace_id)
        assert pair == (plain.user_id, plain.workspace_id)

    def _fact(self, members: dict[str, Any]) -> SubscriberFact:
        self._made += 1
        # The ids are not in the order in which the facts come.
        return SubscriberFact(source="/s", id=f"{self._made * 7 % 10}-{self._made}", offset=self._made, **members)


def _order(interval: Interval) -> tuple[Any, ...]:
    return (interval.start_ms, interval.slot, interval.item)


def check_blocks(fold: type[BlockFold], case: tuple[int, list[dict[str, Any]], list[tuple[str, Any]]]) -> None:
    block_facts, starts, steps = case
    followed = Followed(fold, block_facts, starts)
    followed.check()
    for what, argument in steps:
        followed.step(what, argument)
        followed.check()


@given(CASE)
def test_a_fold_in_blocks_is_the_fold_anew(case: Any) -> None:
    check_blocks(BlockFold, case)


class ForgetsWhatJustEnded(BlockFold):
    """A block starts without what ended at its first instant."""

    def _folded(self, number: int) -> Any:
        block = self._blocks[number]
        block.start = msgspec.structs.replace(block.start, just_ended=frozenset())
        return super()._folded(number)


class ForgetsTheAssignmentBefore(BlockFold):
    """A block starts without the last assignment of its first instant."""

    def _folded(self, number: int) -> Any:
        block = self._blocks[number]
        block.start = msgspec.structs.replace(block.start, previous=None)
        return super()._folded(number)


class StopsAfterItsBlock(BlockFold):
    """A changed block is the only one that is folded anew."""

    def _refold(self, dirty: Any, before: Any) -> Changes:
        starts = [block.start for block in self._blocks]
        changes = super()._refold(dirty, before)
        for number, start in enumerate(starts):
            if number not in dirty:
                self._blocks[number].start = start
        return changes


class OverlooksLateDeprovisions(BlockFold):
    """Takes a fact for the last one if it follows on the facts."""

    def set_deprovisions(self, deprovisions: Any) -> Changes:
        last = self._last
        changes = super().set_deprovisions(deprovisions)
        self._last = last
        return changes


@pytest.mark.parametrize(
    "twin", [ForgetsWhatJustEnded, ForgetsTheAssignmentBefore, StopsAfterItsBlock, OverlooksLateDeprovisions]
)
def test_a_fold_that_loses_something_between_blocks_is_caught(twin: type[BlockFold]) -> None:
    @settings(max_examples=6_000, derandomize=True, database=None, phases=[Phase.generate])
    @given(CASE)
    def check(case: Any) -> None:
        check_blocks(twin, case)

    with pytest.raises(AssertionError):
        check()
