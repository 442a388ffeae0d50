"""When days are closed, and in which order: what a crash in the middle leaves is closed by the next look."""

from datetime import UTC, datetime

import pytest

from schemas.instants import day_number
from streams.close_day import close_in_order, day_to_close

NOW = datetime(2026, 10, 3, 0, 15, tzinfo=UTC)
YESTERDAY = day_number("2026-10-02")


def test_yesterday_is_closed_a_quarter_of_an_hour_after_midnight_once() -> None:
    assert day_to_close(None, NOW) == YESTERDAY
    assert day_to_close(YESTERDAY - 1, NOW) == YESTERDAY
    assert day_to_close(YESTERDAY, NOW) is None
    assert day_to_close(YESTERDAY - 1, NOW.replace(minute=14)) is None


def test_partition_0_is_closed_when_all_others_are_acknowledged() -> None:
    effects: list[object] = []
    close_in_order(3, b"close", lambda partition, _: effects.append(partition), lambda: effects.append("acknowledged"))
    assert effects == [1, 2, "acknowledged", 0, "acknowledged"]


@pytest.mark.parametrize("crash_at", range(5))
def test_a_crash_never_leaves_partition_0_closed_and_another_one_open(crash_at: int) -> None:
    closed: set[int] = set()
    under_way: list[int] = []
    steps = 0

    def step() -> None:
        nonlocal steps
        if steps == crash_at:
            # What was not acknowledged may have arrived in any part: here all, or of each partition nothing.
            raise ConnectionError
        steps += 1

    def write(partition: int, _: bytes) -> None:
        step()
        under_way.append(partition)

    def wait() -> None:
        step()
        closed.update(under_way)

    with pytest.raises(ConnectionError):
        close_in_order(3, b"close", write, wait)
    for arrived in ([], under_way, under_way[-1:]):
        now_closed = closed | set(arrived)
        assert 0 not in now_closed or now_closed == {0, 1, 2}
