"""The models of Kafka and of the store do what the real ones do."""

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.entitlements import WATERMARK_KEY
from streams.core.account import OutputRecord
from streams.log import Acknowledged
from tests.simulation.dice import Dice
from tests.simulation.kafka import NAMES, Broker, Group, Member, Session
from tests.simulation.store import MemoryStore, Violation

LOG = (NAMES.entitlements, 0)
WATERMARK: OutputRecord = {"key": WATERMARK_KEY, "value": bytes(8)}


def _hears(heard: list[tuple[int, int]]) -> Acknowledged:
    return lambda partition, offset: heard.append((partition, offset))


def test_the_tables_answer_as_the_engine_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.engine", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout) == 120


def test_one_key_and_revision_with_two_contents_is_seen_at_once() -> None:
    table = MemoryStore().tables["daily_usage_history"]
    row = ("p", "c", "", "A", 20_700, 5, 1, 3)
    table.insert([row])
    table.insert([row])
    with pytest.raises(Violation, match="two contents"):
        table.insert([(*row[:5], 6, 1, 3)])


def test_compaction_keeps_the_last_value_of_what_is_older_than_the_lag_and_the_newest_record() -> None:
    broker = Broker(1_000, 1)
    for key, value in ((b"k", b"1"), (b"m", b"2"), (b"k", b"3"), (b"k", b"4")):
        broker.append(LOG, key, value)
    broker.compact(0, upto_ms=1_002)
    assert [record.offset for record in broker.logs[LOG]] == [0, 1, 2, 3], "a later one replaces it, but is too young"
    broker.compact(0, upto_ms=1_003)
    assert [record.offset for record in broker.logs[LOG]] == [1, 2, 3]
    broker.compact(0, upto_ms=9_999)
    assert [record.offset for record in broker.logs[LOG]] == [1, 2, 3], "the newest is in the active segment"
    assert [record.offset for record in broker.fetch(LOG, 0, 10)] == [1, 2, 3]
    assert [record.offset for record in broker.fetch(LOG, 2, 1)] == [2]


def test_a_crashed_producer_leaves_a_prefix_of_each_partition_and_tells_nobody() -> None:
    lengths = set()
    for seed in range(40):
        broker = Broker(0, 1)
        heard: list[tuple[int, int]] = []
        session = Session(broker, Dice(seed), lambda _: None)
        session.write(NAMES.entitlements, 0, [{"key": b"k", "value": bytes([number])} for number in range(4)])
        session.write_watermark(NAMES.entitlements, 0, WATERMARK, _hears(heard))
        session.crash()
        while session.under_way:
            session.deliver()
        assert [record.value for record in broker.logs[LOG]] == [b"\0", b"\1", b"\2", b"\3", bytes(8)][
            : broker.ends[LOG]
        ]
        assert heard == []
        lengths.add(broker.ends[LOG])
    assert lengths == {0, 1, 2, 3, 4, 5}


def test_waiting_hears_every_acknowledgement() -> None:
    broker = Broker(0, 1)
    heard: list[tuple[int, int]] = []
    session = Session(broker, Dice(1), lambda _: None)
    session.write(NAMES.entitlements, 0, [{"key": b"k", "value": b"v"}])
    session.write_watermark(NAMES.entitlements, 0, WATERMARK, _hears(heard))
    session.poll()
    assert heard == []
    session.wait()
    assert heard == [(0, 1)]


def test_a_member_of_an_earlier_generation_cannot_commit() -> None:
    group, one, other = Group([("t", 0)]), Member("one"), Member("other")
    group.join(one)
    group.rebalance([one], Dice(1))
    one.generation = group.generation
    assert group.commit(one, {("t", 0): 5})
    group.join(other)
    group.rebalance([other], Dice(1))
    assert not group.commit(one, {("t", 0): 3})
    assert group.committed == {("t", 0): 5}
