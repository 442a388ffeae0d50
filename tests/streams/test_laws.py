"""The laws of the core, each on thousands of small worlds."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.core.day_map import DayMap
from streams.core.grid import MICRODAYS_PER_DAY, microday
from tests.streams import cases, laws
from tests.streams.strategies import APPENDED_MS, DAY_MS

#: Mostly with ordinary subscribers; with nearly all of them long in a third of the examples.
CORES = st.sampled_from((laws.Core(), laws.Core(), laws.TINY_CORE))
MIDNIGHT_MS = APPENDED_MS


def quantity(start_ms: int, end_ms: int) -> int:
    """Microdays of [start, end) by the grid of rule 14."""
    return microday(end_ms) - microday(start_ms)


@given(CORES, cases.ARRIVAL)
def test_neither_order_nor_repetition_nor_batches_change_what_is_metered(core: laws.Core, case: cases.Case) -> None:
    laws.check_arrival(core, *case)


@given(CORES, cases.SUMS)
def test_days_add_up_to_intervals_subscribers_to_customers_and_customers_to_partners(
    core: laws.Core, case: cases.Case
) -> None:
    laws.check_sums(core, *case)


@given(CORES, cases.DAYS)
def test_the_incremental_days_are_those_worked_out_from_the_intervals(core: laws.Core, case: cases.Case) -> None:
    laws.check_days(core, *case)


@given(CORES, cases.RESTORE)
def test_a_restore_gives_the_state_of_the_prefix_up_to_the_watermark(core: laws.Core, case: cases.Case) -> None:
    laws.check_restore(core, *case)


@given(CORES, cases.CLOSES)
def test_the_newest_row_of_each_closed_day_is_the_day_as_it_now_is(core: laws.Core, case: cases.Case) -> None:
    laws.check_closes(core, *case)


@given(CORES, cases.CLOSES)
def test_the_newest_records_of_a_subscriber_together_are_its_state(core: laws.Core, case: cases.Case) -> None:
    laws.check_records(core, *case)


@given(CORES, cases.CONFLICTS)
def test_of_an_identity_the_content_at_the_lowest_offset_counts(core: laws.Core, case: cases.Case) -> None:
    laws.check_conflicts(core, *case)


@given(CORES, cases.ORACLE)
def test_the_core_and_the_oracle_agree_in_small_worlds(core: laws.Core, case: cases.Case) -> None:
    laws.check_oracle(core, *case)


@given(cases.ADDITIVE)
@example((MIDNIGHT_MS, MIDNIGHT_MS + 43, MIDNIGHT_MS + 86))
def test_quantity_is_additive(case: cases.Case) -> None:
    laws.check_additive(quantity, *case)


@given(cases.INSTANT_MS, st.integers(0, 10 * DAY_MS))
def test_the_grid_is_monotone_and_never_more_than_half_a_microday_off(instant_ms: int, length_ms: int) -> None:
    assert microday(instant_ms + length_ms) >= microday(instant_ms)
    assert abs(864 * microday(instant_ms) - 10 * instant_ms) <= 432


@given(st.integers(0, 50_000))
def test_every_midnight_lies_on_the_grid(day: int) -> None:
    assert microday(day * DAY_MS) == day * MICRODAYS_PER_DAY


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "microdays"),
    [
        (0, DAY_MS, 1_000_000),
        (0, DAY_MS // 2, 500_000),
        (0, 1_000, 12),
        (1_000, 2_000, 11),
        (0, 43, 0),
        (0, 44, 1),
        (-44, 0, 1),
        (-43, 0, 0),
    ],
)
def test_the_worked_examples_of_the_grid(start_ms: int, end_ms: int, microdays: int) -> None:
    assert quantity(MIDNIGHT_MS + start_ms, MIDNIGHT_MS + end_ms) == microdays


_POINT = st.tuples(st.just("point"), st.integers(0, 6 * MICRODAYS_PER_DAY), st.sampled_from((-2, -1, 1, 1, 2)))
_MIDNIGHT = st.tuples(
    st.just("point"), st.integers(0, 6).map(lambda day: day * MICRODAYS_PER_DAY), st.sampled_from((-1, 1))
)
_QUANTITY = st.tuples(st.just("quantity"), st.integers(0, 6), st.integers(-3, 3).map(lambda n: n * MICRODAYS_PER_DAY))


@given(st.lists(st.one_of(_POINT, _MIDNIGHT, _QUANTITY), max_size=12), st.integers(0, 6), st.integers(0, 6))
def test_a_day_map_adds_up_its_points_in_any_order(changes: list[Any], one_day: int, other_day: int) -> None:
    day_map, reverse = DayMap(), DayMap()
    for changed, order in ((day_map, changes), (reverse, changes[::-1])):
        for what, at, count in order:
            add: Callable[[int, int], None] = changed.add_point if what == "point" else changed.add_quantity
            add(at, count)

    wanted = []
    for day in range(min(one_day, other_day), max(one_day, other_day) + 1):
        midnight, close = day * MICRODAYS_PER_DAY, (day + 1) * MICRODAYS_PER_DAY
        points = [(at, count) for what, at, count in changes if what == "point" and at < close]
        one_time = sum(count for what, at, count in changes if what == "quantity" and at == day)
        held = sum(count * (close - max(at, midnight)) for at, count in points)
        wanted.append((day, held + one_time, sum(count for _, count in points)))
    for made in (day_map, reverse):
        assert list(made.usage(min(one_day, other_day), max(one_day, other_day))) == wanted
        first = made.first_day()
        assert all((quantity, active) == (0, 0) for day, quantity, active in wanted if first is None or day < first)


@given(st.lists(st.tuples(st.integers(0, 3 * MICRODAYS_PER_DAY), st.sampled_from((-1, 1))), max_size=8))
def test_a_day_map_whose_points_are_all_taken_back_has_no_first_day(points: list[tuple[int, int]]) -> None:
    day_map = DayMap()
    for at, count in points:
        day_map.add_point(at, count)
    for at, count in points:
        day_map.add_point(at, -count)
    assert day_map.first_day() is None
