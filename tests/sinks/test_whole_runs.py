"""What is stored of long subscribers is at each moment the state at a watermark, wherever workers and sink were cut."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas.entitlements import (
    WATERMARK_KEY,
    CustomerRecord,
    LongHead,
    Page,
    Segment,
    SubscriberRecord,
    encode_record,
    is_of_long,
    revision_of,
)
from sinks.rows import SinkRecord
from sinks.whole_runs import WholeRuns
from tests.streams import cases, laws
from tests.streams.strategies import cuts


def record(offset: int, entry: laws.Entry) -> SinkRecord:
    return SinkRecord("", 0, offset, 0, *entry)


def check_stored(
    new_runs: Callable[[], WholeRuns], arrived: Any, owners: Any, chunks: Sequence[int], restarts: Sequence[bool]
) -> None:
    """`chunks`: lengths of what the sink reads at once; `restarts`: after which it begins anew."""
    records = laws.as_records(arrived)
    log = [record(offset, entry) for offset, entry in enumerate(laws.log_of_owners(laws.TINY_CORE, records, owners))]
    runs = new_runs()
    stored: dict[bytes, bytes] = {}
    position = turn = watermark = 0
    while position < len(log):
        chunk = log[position : position + chunks[turn % len(chunks)]]
        position += len(chunk)
        watermark = max([watermark, *(revision_of(r.value or b"") for r in chunk if r.key == WATERMARK_KEY)])
        for ready in runs.take(chunk):
            assert ready.key is not None
            assert ready.value is not None
            if ready.key != WATERMARK_KEY and revision_of(ready.value) >= revision_of(stored.get(ready.key, bytes(8))):
                stored[ready.key] = ready.value
        if turn < len(restarts) and restarts[turn]:
            position = runs.position(position)
            runs = new_runs()
        turn += 1
        state = laws.TINY_CORE.new_state()
        laws.run(state, records[:watermark])
        found = laws.subscribers_in({key: laws.decode_record(key, value) for key, value in stored.items()})
        for who, wanted in laws.subscribers_of(state, long_only=True).items():
            assert found[who] == wanted
    assert runs.position(len(log)) == len(log)


CASES = st.tuples(cases.CLOSES, cuts, st.lists(st.booleans(), min_size=1, max_size=4))


@given(case=CASES)
def test_what_is_stored_of_a_long_subscriber_is_its_state_at_the_watermark(case: Any) -> None:
    (arrived, owners), chunks, restarts = case
    check_stored(WholeRuns, arrived, owners, chunks, restarts)


class WaitsForNothing(WholeRuns):
    def take(self, records: Sequence[SinkRecord]) -> list[SinkRecord]:
        return list(records)


class LetsTheNextWatermarkPassAll(WholeRuns):
    """Takes what stands before a watermark for what it covers, also what a crashed owner left."""

    def take(self, records: Sequence[SinkRecord]) -> list[SinkRecord]:
        every = [*self._waiting, *records]
        last = max((n for n, r in enumerate(every) if r.key == WATERMARK_KEY), default=-1)
        self._waiting = every[last + 1 :]
        return every[: last + 1]


@pytest.mark.parametrize("twin", [WaitsForNothing, LetsTheNextWatermarkPassAll])
def test_a_sink_that_does_not_wait_is_caught(twin: type[WholeRuns]) -> None:
    @settings(max_examples=6_000, derandomize=True, database=None, phases=[Phase.generate])
    @given(case=CASES)
    def check(case: Any) -> None:
        (arrived, owners), chunks, restarts = case
        check_stored(twin, arrived, owners, chunks, restarts)

    with pytest.raises(AssertionError):
        check()


def test_only_parts_of_long_subscribers_wait() -> None:
    others = [SubscriberRecord([], [], -1, 0), CustomerRecord([], None, None, None, False, [])]
    assert [is_of_long(encode_record(1, other)) for other in others] == [False] * 2
    parts = [LongHead([], [], -1, 0), Page([]), Segment([])]
    assert [is_of_long(encode_record(1, part)) for part in parts] == [True] * 3
