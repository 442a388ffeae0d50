"""The state written again from raw events: what a worker restores from it is what it had, wherever the writing stopped."""

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.entitlements import Watermark
from schemas.routing import route_of
from schemas.topics import PACKAGE_ASSIGNMENTS, TopicNames
from sinks.rebuild.raw_events import Extent
from sinks.rebuild.state_log import StateUnclear, recompute_log, without_state, write_log
from streams.core.partition import PartitionState
from streams.input_bounds import InputLost
from streams.ledger import Ledger
from streams.log import LogFailed
from streams.metrics import WorkerMetrics
from tests.month import MONTH
from tests.store_process import RECEIVED_AT_MS
from tests.streams.laws import days_of, picture
from tests.streams.strategies import Record
from tests.streams.test_ledger import MemoryLog

NAMES = TopicNames.with_prefix("")
#: A subscriber with more facts than a record holds, so that it has pages.
LONG = [
    f'{{"specversion":"1.0","id":"{n}","source":"/long","type":"wholesale.package.changed.v1",'
    f'"time":"2026-10-{1 + n // 20:02d}T{n % 20:02d}:00:00Z","data":{{"partnerOrgId":"P-long","customerOrgId":"c-long",'
    f'"subscriberId":"s","package":"P{n % 3}","userId":"u"}}}}'.encode()
    for n in range(300)
]
LINES = [*LONG, *(MONTH / "events.jsonl").read_bytes().splitlines()]
RECORDS = [Record(offset, RECEIVED_AT_MS, route_of(line).key, line) for offset, line in enumerate(LINES)]
CUT = 700


def state_at(cut: int) -> PartitionState:
    state = PartitionState(PACKAGE_ASSIGNMENTS, 0)
    while state.next_offset < cut:
        state.apply(RECORDS[state.next_offset : cut])
    return state


class StoredEvents:
    """A store that has the month's raw events, and one watermark."""

    def __init__(self, watermark: Watermark) -> None:
        self._watermark = watermark

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        assert "partition_progress" in sql
        mark = self._watermark
        return [
            (0, mark.next_offset, mark.closed_through_day, mark.metered, mark.duplicates, mark.refused, mark.day_closes)
        ]

    def stream_binary(self, sql: str, parameters: dict[str, Any] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        assert parameters is not None
        page = RECORDS[parameters["first"] : parameters["end"]]
        yield [(0, record.offset, record.timestamp, record.key, record.value) for record in page]

    stream = stream_text = query  # type: ignore[assignment]

    def close(self) -> None: ...


STORE = StoredEvents(state_at(CUT).watermark)
EXTENT = Extent(0, 0, len(RECORDS), CUT)


def write_again(log: MemoryLog) -> None:
    for extent in without_state(STORE, log, NAMES, [EXTENT]):
        write_log(log, NAMES.entitlements, 0, recompute_log(STORE, NAMES, extent, lambda _: None))


def test_the_worker_goes_on_from_it_as_if_nothing_had_been_lost() -> None:
    log = MemoryLog(input_begin=CUT)
    write_again(log)
    assert log.effects == [NAMES.entitlements, "wait", "watermark", "wait"]
    worker = Ledger(log, NAMES, WorkerMetrics())
    assert worker.own({0}, 1) == {0: CUT}
    assert picture(worker.states()[0], facts=True) == picture(state_at(CUT), facts=True)
    worker.apply(0, CUT, RECORDS[CUT:])
    whole = state_at(len(RECORDS))
    assert picture(worker.states()[0], facts=True) == picture(whole, facts=True)
    assert days_of(worker.states()[0]) == days_of(whole)
    assert worker.states()[0].watermark == whole.watermark


@pytest.mark.parametrize("fail_at", range(4))
def test_a_crash_in_between_leaves_nothing_that_a_worker_takes_for_a_state(fail_at: int) -> None:
    log = MemoryLog(input_begin=CUT, fail_at=fail_at)
    with pytest.raises(LogFailed, match="crashed here"):
        write_again(log)
    log.fail_at = None
    if fail_at < 3:
        with pytest.raises(InputLost):
            Ledger(log, NAMES, WorkerMetrics()).own({0}, 1)
    write_again(log)
    worker = Ledger(log, NAMES, WorkerMetrics())
    assert worker.own({0}, 1) == {0: CUT}
    assert picture(worker.states()[0], facts=True) == picture(state_at(CUT), facts=True)


def test_a_state_that_is_there_already_is_left_as_it_is() -> None:
    log = MemoryLog()
    write_again(log)
    before = list(log.effects)
    write_again(log)
    assert log.effects == before


def test_a_worker_that_claimed_what_was_written_does_not_keep_the_rest_from_being_written() -> None:
    log = MemoryLog()
    write_again(log)
    Ledger(log, NAMES, WorkerMetrics()).own({0}, 1)  # a claim: the same watermark by another owner
    partition = (NAMES.entitlements, 0)
    log.topics[partition] = list(dict(log.topics[partition]).items())  # compaction leaves the last one
    before = list(log.effects)
    write_again(log)
    assert log.effects == before


def test_a_state_beyond_the_stored_one_is_not_written_over() -> None:
    log = MemoryLog()
    worker = Ledger(log, NAMES, WorkerMetrics())
    worker.own({0}, 1)
    worker.apply(0, 0, RECORDS)
    with pytest.raises(StateUnclear, match="--replace"):
        write_again(log)


def test_raw_events_that_give_another_state_than_the_stored_one_are_not_written() -> None:
    wrong = StoredEvents(state_at(CUT - 1).watermark)
    with pytest.raises(StateUnclear, match="the raw events give"):
        recompute_log(wrong, NAMES, EXTENT, lambda _: None)
