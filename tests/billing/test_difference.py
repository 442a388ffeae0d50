"""The difference between two states of an account adds up, against the days that the core keeps by another method."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import billing.difference
from billing.difference import (
    Change,
    Held,
    Place,
    changes_between,
    held_of,
    months_of,
    stretches,
    total_microdays,
    totals_by_item,
)
from schemas.entitlements import Interval
from schemas.instants import day_number, parse_time_ms
from streams.core.partition import PartitionState
from tests.streams.laws import TOPIC, days_of
from tests.streams.strategies import LAST_DAY, Event, as_records, worlds

OWNER = tuple[str, str]
cuts = st.integers(0, 12)


def state_of(events: list[Event]) -> PartitionState:
    state = PartitionState(TOPIC, 0)
    records = as_records(events)
    while state.next_offset < len(records):
        state.apply(records[state.next_offset :])
    return state


def differences(old: PartitionState, new: PartitionState, last_day: int = LAST_DAY) -> dict[OWNER, list[Change]]:
    return {
        owner: changes_between(held_of(old.accounts.get(owner)), held_of(new.accounts.get(owner)), last_day)
        for owner in old.accounts.keys() | new.accounts.keys()
    }


def days_differ(old: PartitionState, new: PartitionState) -> Counter[tuple[object, ...]]:
    """The same by (owner, location, item, day), from the day maps of both states."""
    found: Counter[tuple[object, ...]] = Counter()
    for sign, state in ((-1, old), (1, new)):
        for (partner, customer, location, item, day), (quantity, _) in days_of(state).items():
            found[(partner, customer, location or "", item, day)] += sign * quantity
    return Counter({key: quantity for key, quantity in found.items() if quantity})


def summed(found: dict[OWNER, list[Change]]) -> Counter[tuple[object, ...]]:
    by_day: Counter[tuple[object, ...]] = Counter()
    for (partner, customer), changes in found.items():
        for change in changes:
            key = (partner, customer, change.place.location_id, change.place.item, change.day)
            by_day[key] += change.difference_microdays
    return Counter({key: quantity for key, quantity in by_day.items() if quantity})


def check(events: list[Event], cut: int) -> None:
    old, new = state_of(events[:cut]), state_of(events)
    found = differences(old, new)
    assert summed(found) == days_differ(old, new)
    for changes in found.values():
        assert sum(totals_by_item(changes).values()) == total_microdays(changes)
        assert sum(stretch.difference_microdays for stretch in stretches(changes)) == total_microdays(changes)


@given(events=worlds(), cut=cuts)
def test_the_sum_of_the_differences_is_the_difference_of_the_sums(events: list[Event], cut: int) -> None:
    check(events, cut)


@given(events=worlds(), cuts=st.tuples(cuts, cuts))
def test_differences_add_up_over_a_state_between_and_turn_round(events: list[Event], cuts: tuple[int, int]) -> None:
    first, second = sorted(cuts)
    a, b, c = state_of(events[:first]), state_of(events[:second]), state_of(events)
    both = summed(differences(a, b))
    both.update(summed(differences(b, c)))
    assert Counter({key: quantity for key, quantity in both.items() if quantity}) == summed(differences(a, c))
    assert summed(differences(c, a)) == Counter({key: -q for key, q in summed(differences(a, c)).items()})
    assert all(changes == [] for changes in differences(b, b).values())


def test_the_law_catches_a_difference_that_forgets_the_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = billing.difference._days_of
    monkeypatch.setattr(billing.difference, "_days_of", lambda interval, last_day: list(whole(interval, last_day))[:-1])
    with pytest.raises(AssertionError):
        test_the_sum_of_the_differences_is_the_difference_of_the_sums()


def interval(start: str, end: str | None, item: str = "WEBEX_CALLING") -> Interval:
    return Interval(0, item, "oven-street", parse_time_ms(start), None if end is None else parse_time_ms(end))


def test_days_that_change_alike_are_one_stretch() -> None:
    before = Held({"s": (interval("2026-10-30T12:00:00Z", None),)})
    after = Held({"s": (interval("2026-10-30T12:00:00Z", "2026-11-02T00:00:00Z"),)})
    changes = changes_between(before, after, day_number("2026-11-04"))
    place = Place("WEBEX_CALLING", "s", "oven-street")
    assert changes == [Change(place, day_number(f"2026-11-0{day}"), 1_000_000, 0) for day in (2, 3, 4)]
    (stretch,) = stretches(changes)
    assert (stretch.first_day, stretch.last_day) == (day_number("2026-11-02"), day_number("2026-11-04"))
    assert stretch.difference_microdays == total_microdays(changes) == -3_000_000
    assert months_of(changes) == ["2026-11"]


def test_a_gap_or_another_amount_begins_a_new_stretch() -> None:
    after = Held(
        {"s": (interval("2026-10-01T12:00:00Z", "2026-10-03T00:00:00Z"), interval("2026-10-05T00:00:00Z", None))}
    )
    found = list(stretches(changes_between(Held(), after, day_number("2026-10-06"))))
    assert [(s.last_day - s.first_day + 1, s.after_microdays) for s in found] == [
        (1, 500_000),
        (1, 1_000_000),
        (2, 1_000_000),
    ]
