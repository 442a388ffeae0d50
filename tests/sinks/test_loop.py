"""The steps of a sink: their order, what it takes up where, and what it does when the store does not answer."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from schemas.entitlements import WATERMARK_KEY, Watermark, encode_record
from schemas.topics import TopicNames
from sinks import rows
from sinks.loop import Position, SinkLoop
from sinks.rows import SinkRecord, entitlement_blocks
from sinks.store import StoreFailed
from tests.simulation.store import MemoryStore

NAMES = TopicNames.with_prefix("")
CATALOG = (NAMES.catalog, 0)


class Memory:
    """Store, log, group and waiting, in memory; `effects` in order. `failing`: how many statements fail first."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.effects: list[str] = []
        self.letters: list[bytes | None] = []
        self.failing = 0
        self.meanwhile: Callable[[], None] | None = None

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> None:
        self._fail()
        self.effects.append(table)
        self.store.tables[table].insert(self.store.rows_of(table, names, columns))

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        self._fail()
        answer = self.store.query(sql)
        if self.meanwhile is not None:
            self.meanwhile()
        return answer

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self.effects.append("dead letter")
        self.letters.append(value)

    def wait(self) -> None:
        self.effects.append("wait")

    def commit(self, positions: Sequence[Position]) -> None:
        self.effects.append(f"commit {[position.offset for position in positions]}")

    def persist(self, statement: Callable[[], Any], block: rows.Block | None) -> Any:
        while True:
            try:
                return statement()
            except StoreFailed:
                self.effects.append("again")

    def _fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise StoreFailed("not now")


def loop(memory: Memory) -> SinkLoop:
    return SinkLoop(NAMES, memory, memory, memory, memory.persist)


def partner(offset: int, name: str, own_id: str = "1") -> SinkRecord:
    value = (
        f'{{"specversion":"1.0","id":"{own_id}","source":"/c","type":"wholesale.partner.upserted.v1",'
        f'"time":"2026-09-01T00:00:00Z","data":{{"partnerOrgId":"P","name":"{name}","provisioningState":"active"}}}}'
    )
    return SinkRecord(NAMES.catalog, 0, offset, 1_794_700_800_000, b"partner/P", value.encode())


def event(offset: int) -> SinkRecord:
    return SinkRecord(NAMES.package_assignments, 1, offset, 1_794_700_800_000, b"c", b"{}")


def mark(offset: int, next_offset: int) -> SinkRecord:
    value = encode_record(next_offset, Watermark(next_offset, None))
    return SinkRecord(NAMES.entitlements, 0, offset, 0, WATERMARK_KEY, value)


def test_rows_come_before_the_position_and_the_position_before_the_commit() -> None:
    memory = Memory()
    loop(memory).store([event(4), event(7)])
    assert memory.effects == ["raw_events", "sink_positions", "commit [8]"]


def test_a_dead_letter_is_acknowledged_before_a_row_says_that_its_record_was_read() -> None:
    memory = Memory()
    loop(memory).store([partner(0, "One"), partner(1, "Two")])
    assert memory.effects == [
        "dead letter",
        "wait",
        "dead_letters",
        "raw_events",
        "catalog_versions",
        "sink_positions",
        "commit [2]",
    ]


def test_an_insert_that_fails_is_tried_until_it_works() -> None:
    memory = Memory()
    memory.failing = 3
    loop(memory).store([event(0)])
    assert memory.effects == ["again", "again", "again", "raw_events", "sink_positions", "commit [1]"]


def test_a_store_that_does_not_answer_at_the_assignment_is_asked_until_it_does() -> None:
    memory = Memory()
    loop(memory).store([event(4)])
    memory.failing = 2
    where = (NAMES.package_assignments, 1)
    assert loop(memory).begin([where, CATALOG]) == {where: 5}


def test_a_partition_that_comes_back_is_judged_by_what_another_sink_stored_meanwhile() -> None:
    memory = Memory()
    first, other = loop(memory), loop(memory)
    assert first.begin([CATALOG]) == {}
    other.begin([CATALOG])
    other.store([partner(0, "One")])
    assert first.begin([CATALOG]) == {CATALOG: 1}
    first.store([partner(1, "Two")])
    assert memory.letters == [partner(1, "Two").value]
    assert len(memory.store.tables["catalog_versions"].final()) == 1


@pytest.mark.parametrize("question", [1, 2])
def test_what_another_sink_stores_while_this_one_begins_is_not_missed(question: int) -> None:
    memory = Memory()
    other = loop(memory)
    other.begin([CATALOG])
    asked = 0

    def meanwhile() -> None:
        nonlocal asked
        asked += 1
        if asked == question:
            other.store([partner(0, "One")])

    memory.meanwhile = meanwhile
    beginning = loop(memory)
    position = beginning.begin([CATALOG]).get(CATALOG, 0)
    memory.meanwhile = None
    beginning.store([partner(0, "One"), partner(1, "Two")][position:])
    assert memory.letters == [partner(1, "Two").value]


def test_a_stale_watermark_that_comes_last_does_not_turn_the_progress_back() -> None:
    (block,) = entitlement_blocks([mark(0, 4), mark(1, 9), mark(2, 6)])
    assert block.table == "partition_progress"
    assert block.columns[1] == [9]
