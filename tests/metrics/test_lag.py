"""How far a reader is behind, by looks at positions and ends."""

from streams.lag import Lag, LagWatch

SECOND = 1_000
NOTHING = Lag(0, 0, 0)


def look(
    watch: LagWatch[int], second: int, position: int, end: int | None, taken_second: int | None = None
) -> Lag | None:
    """The lag of partition 0."""
    taken = {} if taken_second is None else {0: taken_second * SECOND}
    return watch.look(second * SECOND, {0: position}, None if end is None else {0: end}, taken).get(0)


def test_what_is_caught_up_has_no_lag_however_long_nothing_comes() -> None:
    watch = LagWatch[int]()
    assert look(watch, 0, 10, 10) == NOTHING
    assert look(watch, 100_000, 10, 10, taken_second=0) == NOTHING


def test_a_record_after_a_long_silence_is_as_old_as_the_last_look_at_which_there_was_none() -> None:
    watch = LagWatch[int]()
    look(watch, 100, 10, 10, taken_second=3)
    assert look(watch, 105, 10, 11, taken_second=3) == Lag(1, 5 * SECOND, 5 * SECOND)


def test_a_backlog_is_as_old_as_the_last_record_that_was_taken_of_it() -> None:
    watch = LagWatch[int]()
    look(watch, 10_000, 10, 1_000)
    assert look(watch, 10_005, 500, 1_000, taken_second=2_000) == Lag(500, 8_005 * SECOND, 0)


def test_before_anything_is_taken_the_first_look_counts() -> None:
    watch = LagWatch[int]()
    assert look(watch, 10_000, 10, 1_000) == Lag(990, 0, 0)
    assert look(watch, 10_060, 10, 1_000) == Lag(990, 60 * SECOND, 60 * SECOND)


def test_a_partition_that_moves_does_not_stand_still_though_its_lag_grows() -> None:
    watch = LagWatch[int]()
    look(watch, 0, 0, 0)
    for second in range(5, 1_000, 5):
        lag = look(watch, second, position=second, end=second * 10, taken_second=0)
        assert lag is not None
        assert lag.still_ms == 0
        assert lag.age_ms == second * SECOND


def test_a_partition_that_has_input_and_does_not_move_stands_still_since_it_last_moved() -> None:
    watch = LagWatch[int]()
    look(watch, 0, 0, 100)
    look(watch, 5, 50, 100)
    assert look(watch, 300, 50, 200, taken_second=4) == Lag(150, 296 * SECOND, 295 * SECOND)


def test_while_nobody_says_where_the_input_ends_the_last_answer_counts() -> None:
    watch = LagWatch[int]()
    look(watch, 0, 0, 100)
    assert look(watch, 60, 0, None) == Lag(100, 60 * SECOND, 60 * SECOND)
    assert look(watch, 65, 100, None) == NOTHING


def test_a_partition_that_went_to_another_process_is_forgotten() -> None:
    watch = LagWatch[int]()
    look(watch, 0, 0, 100)
    assert watch.look(10 * SECOND, {}, {}, {}) == {}
    assert look(watch, 1_000, 0, 100) == Lag(100, 0, 0)


def test_clocks_that_disagree_make_no_lag_below_zero() -> None:
    watch = LagWatch[int]()
    look(watch, 100, 0, 100)
    assert look(watch, 105, 1, 100, taken_second=110) == Lag(99, 0, 0)
