"""What a worker makes of its fetches, and what it tells the group."""

from streams.group_offsets import GroupOffsets
from streams.positions import Batch, Positions
from tests.streams.strategies import Record


def records(*offsets: int) -> list[Record]:
    return [Record(offset, 0, b"c", b"{}") for offset in offsets]


def test_batches_follow_on_over_the_holes_in_the_offsets() -> None:
    positions = Positions()
    positions.begin({3: 4})
    assert positions.take(3, records(5, 9), 4, 10, current=True) == Batch(3, 4, 10, records(5, 9))
    assert positions.take(3, records(12), 10, 13, current=True) == Batch(3, 10, 13, records(12))


def test_what_is_fetched_after_a_fetch_that_was_thrown_away_is_thrown_away_until_it_was_sought() -> None:
    positions = Positions()
    positions.begin({3: 4})
    assert positions.take(3, records(4), 4, 5, current=False) is None
    assert positions.take(3, records(5), 5, 6, current=True) is None
    assert positions.take_astray() == {3: 4}
    assert positions.take_astray() == {}
    assert positions.take(3, records(4, 5), 4, 6, current=True) == Batch(3, 4, 6, records(4, 5))


def test_what_is_fetched_of_a_partition_that_is_not_owned_is_thrown_away_and_not_sought() -> None:
    positions = Positions()
    positions.begin({3: 4})
    assert positions.take(7, records(0), 0, 1, current=True) is None
    assert positions.take_astray() == {}


def test_a_new_assignment_forgets_the_old_positions() -> None:
    positions = Positions()
    positions.begin({3: 4, 5: 6})
    positions.take(3, records(4), 4, 5, current=False)
    positions.begin({5: 2})
    assert positions.take_astray() == {}
    assert positions.take(3, records(4), 4, 5, current=True) is None
    assert positions.take(5, records(2), 2, 3, current=True) == Batch(5, 2, 3, records(2))


def test_what_was_fetched_from_before_a_seek_is_thrown_away_whenever_it_arrives() -> None:
    positions = Positions()
    positions.begin({3: 4})
    assert positions.take(3, records(9), 9, 10, current=True) is None
    assert positions.take_astray() == {3: 4}


def test_what_was_fetched_between_a_take_over_and_its_seek_is_sought_again() -> None:
    positions = Positions()
    positions.begin({3: 4})
    assert positions.take(3, records(4), 4, 5, current=False) is None
    positions.sought({3: 4})
    assert positions.take_astray() == {3: 4}


def test_a_seek_that_another_assignment_overtook_is_done_again() -> None:
    positions = Positions()
    positions.begin({3: 9, 5: 6})
    positions.begin({3: 4})
    positions.sought({3: 9, 5: 6})
    assert positions.take_astray() == {3: 4}


def test_the_group_hears_only_news_and_only_of_assigned_partitions() -> None:
    offsets = GroupOffsets()
    assert offsets.news({0: 5, 1: 6}, [0], 1) == {0: 5}
    assert offsets.news({0: 5}, [0], 1) == {0: 5}, "what was not heard is said again"
    offsets.heard({0: 5}, 1)
    assert offsets.news({0: 5, 1: 6}, [0, 1], 1) == {1: 6}
    assert offsets.news({0: 3}, [0], 1) == {0: 3}


def test_the_group_hears_everything_again_after_a_rebalance() -> None:
    offsets = GroupOffsets()
    assert offsets.news({0: 5}, [0], 1) == {0: 5}
    offsets.heard({0: 5}, 1)
    assert offsets.news({0: 5}, [0], 2) == {0: 5}
    offsets.heard({0: 5}, 3)
    assert offsets.news({0: 5}, [0], 2) == {0: 5}, "a rebalance came meanwhile: nobody knows what was taken"
