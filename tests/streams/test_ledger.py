"""The ledger on a log in memory: the order of effects, and what each crash leaves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from schemas.entitlements import WATERMARK_KEY, decode_watermark, encode_record
from schemas.topics import TopicNames
from streams.core.long_subscriber import PAGING, LogIncomplete, Paging
from streams.core.partition import OutputRecord
from streams.input_bounds import InputLost
from streams.ledger import RECORDS_PER_RUN, Ledger
from streams.log import Acknowledged, LogFailed
from streams.metrics import WorkerMetrics
from tests.streams.laws import TINY, picture

NAMES = TopicNames.with_prefix("")
NOW = 1_794_700_800_000


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW


def assigned(offset: int, subscriber: str, package: str = "WEBEX_CALLING", day: int = 1) -> Record:
    value = (
        f'{{"specversion":"1.0","id":"{offset}","source":"/t","type":"wholesale.package.assigned.v1",'
        f'"time":"2026-10-{day:02d}T00:00:00Z","data":{{"partnerOrgId":"p","customerOrgId":"c",'
        f'"subscriberId":"{subscriber}","package":"{package}","userId":"u"}}}}'
    )
    return Record(offset, b"c", value.encode())


def closed(offset: int, day: str) -> Record:
    value = (
        f'{{"specversion":"1.0","id":"{offset}","source":"/t","type":"rtmeter.day.closed.v1",'
        f'"time":"2026-11-01T00:00:00Z","data":{{"day":"{day}"}}}}'
    )
    return Record(offset, None, value.encode())


@dataclass
class MemoryLog:
    """What was written, in order; acknowledged at `poll` and `wait`. `fail_at`: the write that crashes."""

    topics: dict[tuple[str, int], list[tuple[bytes, bytes]]] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    fail_at: int | None = None
    # What the broker holds of the input.
    input_begin: int = 0
    input_end: int = 1_000
    _unheard: list[tuple[Acknowledged, int, int]] = field(default_factory=list)

    def _effect(self, name: str) -> None:
        if self.fail_at is not None and len(self.effects) >= self.fail_at:
            raise LogFailed("crashed here")
        self.effects.append(name)

    def append(self, topic: str, partition: int, key: bytes, value: bytes) -> int:
        log = self.topics.setdefault((topic, partition), [])
        log.append((key, value))
        return len(log) - 1

    def write(self, topic: str, partition: int, records: Sequence[OutputRecord]) -> None:
        self._effect(topic)
        for record in records:
            self.append(topic, partition, record["key"], record["value"])

    def write_with_headers(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self._effect(topic)
        self.append(topic, partition, key or b"", value or b"")

    def write_watermark(self, topic: str, partition: int, record: OutputRecord, then: Acknowledged) -> None:
        self._effect("watermark")
        offset = self.append(topic, partition, record["key"], record["value"])
        self._unheard.append((then, partition, offset))

    def wait(self) -> None:
        self._effect("wait")
        self.poll()

    def poll(self) -> None:
        heard, self._unheard = self._unheard, []
        for then, partition, offset in heard:
            then(partition, offset)

    def read(self, topic: str, partition: int, first: int | None = None) -> Iterator[tuple[int, bytes, bytes]]:
        for offset, (key, value) in enumerate(list(self.topics.get((topic, partition), []))):
            if offset >= (first or 0):
                yield offset, key, value

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self.input_begin if topic == NAMES.package_assignments else 0, self.end(topic, partition)

    def end(self, topic: str, partition: int) -> int:
        if topic == NAMES.package_assignments:
            return self.input_end
        return len(self.topics.get((topic, partition), []))


def ledger(log: MemoryLog, generation: int = 1, paging: Paging = PAGING) -> Ledger:
    owner = Ledger(log, NAMES, WorkerMetrics(), paging)
    owner.own({0}, generation)
    return owner


def last_values(log: MemoryLog) -> dict[bytes, bytes]:
    return dict(log.topics[(NAMES.entitlements, 0)])


def last_contents(log: MemoryLog) -> dict[bytes, object]:
    """The last values without their revisions, and without the claim of the watermark."""
    found: dict[bytes, object] = {key: value[8:] for key, value in last_values(log).items()}
    watermark = decode_watermark(last_values(log)[WATERMARK_KEY])
    found[WATERMARK_KEY] = msgspec.structs.replace(watermark, claim=0)
    return found


def test_the_watermark_comes_last_and_after_waiting_for_rows_and_dead_letters() -> None:
    log = MemoryLog()
    owner = ledger(log)
    owner.apply(0, 0, [assigned(0, "s"), Record(1, b"c", b"{}")])
    owner.apply(0, 2, [closed(2, "2026-10-03")])
    assert log.effects == [
        NAMES.entitlements,
        NAMES.dead_letters,
        "wait",
        "watermark",
        NAMES.daily_usage,
        "wait",
        "watermark",
    ]


def test_the_log_says_of_a_refused_record_which_it_was(caplog: pytest.LogCaptureFixture) -> None:
    ledger(MemoryLog()).apply(0, 0, [Record(0, b"c", b'{"id": "e-9"}'), assigned(1, "s"), Record(2, b"c", b"no")])
    told = [record for record in caplog.records if record.getMessage().startswith("refused")]
    assert [(line.partition, line.offset, line.event_id, line.reason) for line in told] == [  # type: ignore[attr-defined]
        (0, 0, "e-9", "not-cloudevent"),
        (0, 2, "", "not-json"),
    ]


def test_of_many_refused_records_the_log_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    ledger(MemoryLog()).apply(0, 0, [Record(offset, b"c", b"no") for offset in range(100)])
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused")]
    assert len(told) < 10
    assert told[-1] == "refused: 95 more of the same run"


def test_without_rows_or_dead_letters_nothing_is_waited_for() -> None:
    log = MemoryLog()
    ledger(log).apply(0, 0, [assigned(0, "s")])
    assert log.effects == [NAMES.entitlements, "watermark"]


@pytest.mark.parametrize("paging", [PAGING, TINY], ids=["plain", "long"])
def test_a_crash_at_any_step_is_made_good_by_the_next_owner(paging: Paging) -> None:
    batches = [
        [assigned(0, "s1"), assigned(1, "s2"), Record(2, b"c", b"nonsense")],
        [closed(3, "2026-10-05"), assigned(4, "s1", "WEBEX_SUITE", day=2)],
        [assigned(5, "s3", day=4), assigned(6, "s2", "WEBEX_SUITE", day=3)],
        [assigned(7, "s1", "WEBEX_MEETINGS", day=6), assigned(8, "s1", day=4), assigned(9, "s2", day=9)],
    ]
    records = [record for batch in batches for record in batch]

    whole = MemoryLog()
    owner = ledger(whole, paging=paging)
    for batch in batches:
        owner.apply(0, batch[0].offset, batch)
    wanted_rows = dict(whole.topics[(NAMES.daily_usage, 0)])
    wanted = last_contents(whole)

    for fail_at in range(len(whole.effects)):
        log = MemoryLog(fail_at=fail_at)
        crashing = ledger(log, paging=paging)
        with pytest.raises(LogFailed, match="crashed here"):
            for batch in batches:
                crashing.apply(0, batch[0].offset, batch)
        log.fail_at = None
        log._unheard.clear()
        successor = Ledger(log, NAMES, WorkerMetrics(), paging)
        position = successor.own({0}, 5)[0]
        successor.apply(0, position, records[position:])
        assert last_contents(log) == wanted, fail_at
        assert picture(successor.states()[0], facts=True) == picture(owner.states()[0], facts=True)
        # Of each row the highest revision counts; it stands last in the value.
        rows: dict[bytes, tuple[int, bytes]] = {}
        for key, value in log.topics[(NAMES.daily_usage, 0)]:
            content, _, revision = value.rstrip(b"]").rpartition(b",")
            rows[key] = max(rows.get(key, (-1, b"")), (int(revision), content))
        assert {key: content for key, (_, content) in rows.items()} == {
            key: value.rstrip(b"]").rpartition(b",")[0] for key, value in wanted_rows.items()
        }, fail_at


def test_a_restored_watermark_is_told_to_the_group_without_new_input() -> None:
    log = MemoryLog()
    ledger(log).apply(0, 0, [assigned(0, "s")])
    assert ledger(log, generation=9).durable_offsets() == {0: 1}


def test_a_batch_that_does_not_follow_on_stops_the_process() -> None:
    owner = ledger(MemoryLog())
    with pytest.raises(LogFailed, match="records between would be lost"):
        owner.apply(0, 7, [assigned(7, "s")])


def test_a_batch_of_a_partition_that_is_not_owned_is_left_to_its_owner() -> None:
    log = MemoryLog()
    ledger(log).apply(3, 0, [assigned(0, "s")])
    assert log.effects == []


def test_a_state_is_kept_over_consecutive_generations_and_restored_otherwise() -> None:
    log = MemoryLog()
    owner = ledger(log, generation=4)
    owner.apply(0, 0, [assigned(0, "s")])
    kept = owner.states()[0]
    owner.own({0}, 5)
    assert owner.states()[0] is kept
    owner.own({0}, 7)
    assert owner.states()[0] is not kept
    assert owner.states()[0].next_offset == 1


def test_pages_are_in_the_log_before_the_head_that_lacks_their_facts() -> None:
    log = MemoryLog()
    owner = ledger(log, paging=TINY)
    owner.apply(0, 0, [assigned(0, "s"), assigned(1, "s", "WEBEX_SUITE", day=2), assigned(2, "s", day=3)])
    keys = [key for key, _ in log.topics[(NAMES.entitlements, 0)]]
    assert keys.index(b'["p","c","s","page","0"]') < keys.index(b'["p","c","s"]')


def test_a_log_that_lost_a_page_is_refused() -> None:
    log = MemoryLog()
    ledger(log, paging=TINY).apply(0, 0, [assigned(day, "s", day=day + 1) for day in range(5)])
    kept = log.topics[(NAMES.entitlements, 0)]
    kept[:] = [entry for entry in kept if entry[0] != b'["p","c","s","page","0"]']
    with pytest.raises(LogIncomplete, match="lacks a page"):
        ledger(log, generation=9, paging=TINY)


def test_parts_that_a_frozen_owner_overwrites_are_written_again() -> None:
    log = MemoryLog()
    frozen = ledger(log, paging=TINY)
    frozen.apply(0, 0, [assigned(day, "s", f"WEBEX_{day}", day=day + 1) for day in range(9)])
    stale = list(log.topics[(NAMES.entitlements, 0)])[:-1]
    successor = ledger(log, generation=9, paging=TINY)
    late = [assigned(9 + day, "s", f"LATE_{day}", day=day + 1) for day in range(9)]
    successor.apply(0, 9, late)
    right = last_values(log)
    for key, value in stale:
        log.append(NAMES.entitlements, 0, key, value)
    assert {key for key, value in last_values(log).items() if value != right[key]} > {b'["p","c","s"]'}
    successor.apply(0, 18, [assigned(18, "other")])  # its watermark's offset shows the stranger
    successor.apply(0, 19, [assigned(19, "another")])
    healed = last_values(log)
    assert {key: healed[key] for key in right if key != WATERMARK_KEY} == {
        key: value for key, value in right.items() if key != WATERMARK_KEY
    }


def test_what_a_frozen_owner_overwrites_is_written_again() -> None:
    log = MemoryLog()
    frozen = ledger(log)
    frozen.apply(0, 0, [assigned(0, "s")])
    successor = ledger(log, generation=9)
    successor.apply(0, 1, [assigned(1, "s", "WEBEX_SUITE", day=2)])
    right = last_values(log)
    # The frozen one wakes up and finishes a batch of its own: a stale value at the end of the log.
    stale_key, stale_value = log.topics[(NAMES.entitlements, 0)][0]
    log.append(NAMES.entitlements, 0, stale_key, stale_value)
    assert last_values(log)[stale_key] == stale_value
    successor.apply(0, 2, [assigned(2, "other")])  # its watermark's offset shows the stranger
    successor.apply(0, 3, [assigned(3, "another")])
    assert last_values(log)[stale_key] == right[stale_key]


def test_what_was_overwritten_before_a_restore_is_written_again_by_it() -> None:
    log = MemoryLog()
    first = ledger(log)
    first.apply(0, 0, [assigned(0, "s")])
    key, stale_value = log.topics[(NAMES.entitlements, 0)][0]
    first.apply(0, 1, [assigned(1, "s", "WEBEX_SUITE", day=2)])
    right = last_values(log)[key]
    log.append(NAMES.entitlements, 0, key, stale_value)
    ledger(log, generation=9)
    assert last_values(log)[key] == right


def test_an_older_watermark_at_the_end_of_the_log_does_not_turn_the_state_back() -> None:
    log = MemoryLog()
    owner = ledger(log)
    owner.apply(0, 0, [assigned(0, "s")])
    old = log.topics[(NAMES.entitlements, 0)][-1]
    assert old[0] == WATERMARK_KEY
    owner.apply(0, 1, [assigned(1, "t")])
    log.append(NAMES.entitlements, 0, *old)
    assert ledger(log, generation=9).states()[0].next_offset == 2
    assert encode_record(1, decode_watermark(old[1])) == old[1]


def test_without_a_state_an_input_that_has_lost_its_beginning_stops_the_process() -> None:
    with pytest.raises(InputLost, match=r"begins at offset 5: the 5 records from 0 on .*rtmeter rebuild entitlements"):
        ledger(MemoryLog(input_begin=5))


def test_a_state_that_ends_where_the_input_begins_goes_on() -> None:
    log = MemoryLog()
    ledger(log).apply(0, 0, [assigned(0, "s")])
    log.input_begin = 1
    ledger(log, generation=9).apply(0, 1, [assigned(1, "s")])
    log.input_begin = 3
    with pytest.raises(InputLost, match="begins at offset 3: the 1 records from 2 on"):
        ledger(log, generation=19)


def test_an_input_that_ends_before_its_state_stops_the_process() -> None:
    log = MemoryLog()
    ledger(log).apply(0, 0, [assigned(0, "s")])
    log.input_end = 0
    with pytest.raises(InputLost, match="ends at offset 0, but the state holds its records up to 1"):
        ledger(log, generation=9)


def test_records_that_retention_deletes_before_they_are_read_stop_the_process() -> None:
    log = MemoryLog()
    owner = ledger(log)
    log.input_begin = 7
    with pytest.raises(InputLost, match="the 7 records from 0 on"):
        owner.apply(0, 0, [assigned(7, "s")])
    assert log.effects == []


def test_an_offset_that_a_transaction_took_is_no_hole() -> None:
    log = MemoryLog()
    owner = ledger(log)
    owner.apply(0, 0, [assigned(1, "s")])
    assert owner.states()[0].next_offset == 2


def test_offsets_without_records_at_the_end_of_a_fetch_are_no_hole() -> None:
    log = MemoryLog()
    owner = ledger(log)
    owner.apply(0, 0, [assigned(0, "s")], 3)
    owner.apply(0, 3, [], 4)
    owner.apply(0, 4, [assigned(4, "t")], 5)
    assert owner.states()[0].next_offset == 5
    with pytest.raises(LogFailed, match="the state ends at 5, but the batch starts at 6"):
        owner.apply(0, 6, [assigned(6, "u")], 7)


def test_a_fetch_that_retention_left_nothing_of_stops_the_process() -> None:
    log = MemoryLog()
    owner = ledger(log)
    log.input_begin = 7
    with pytest.raises(InputLost, match="the 7 records from 0 on"):
        owner.apply(0, 0, [], 7)


def test_records_are_unpacked_when_their_turn_comes() -> None:
    """So that they are in the processor's cache, and a fetch need not be in memory twice."""
    log = MemoryLog()
    written: list[int] = []

    def records() -> Iterator[Record]:
        for offset in range(2 * RECORDS_PER_RUN + 1):
            written.append(len(log.effects))
            yield assigned(offset, f"s{offset}")

    ledger(log).apply(0, 0, records())
    assert written[0] == written[RECORDS_PER_RUN - 1] == 0
    assert written[RECORDS_PER_RUN] > 0


def test_an_input_that_begins_anew_under_a_running_worker_stops_the_process() -> None:
    owner = ledger(MemoryLog())
    owner.apply(0, 0, [assigned(0, "s"), assigned(1, "t")])
    with pytest.raises(InputLost, match="read from 2 on, and begins anew at 0"):
        owner.apply(0, 2, [assigned(0, "u")])


class SilentLog(MemoryLog):
    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        raise LogFailed("nobody answers")


def test_a_broker_that_does_not_say_what_it_holds_stops_nobody_who_reads_on(caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryLog()
    owner = ledger(log)
    owner.check_input({0: 0})
    owner._log = SilentLog()
    owner.check_input({0: 0})
    assert [record.message for record in caplog.records] == ["nobody answers"]
    owner._log = MemoryLog(input_begin=7)
    with pytest.raises(InputLost, match="the 7 records from 0 on"):
        owner.check_input({0: 0})


def keep_last(log: MemoryLog) -> None:
    """What compaction will leave one day: of each key the last value. Offsets are renumbered, which nobody minds here."""
    log.topics[(NAMES.entitlements, 0)] = list(last_values(log).items())


def test_what_a_frozen_owner_overwrites_is_written_again_without_any_input() -> None:
    log = MemoryLog()
    frozen = ledger(log)
    frozen.apply(0, 0, [assigned(0, "s")])
    stale = log.topics[(NAMES.entitlements, 0)][0]
    owner = ledger(log, generation=9)
    owner.apply(0, 1, [assigned(1, "s", "WEBEX_SUITE", day=2)])
    right = last_values(log)
    log.append(NAMES.entitlements, 0, *stale)
    owner.look_for_others()
    owner.look_for_others()
    assert last_values(log)[stale[0]] == right[stale[0]]
    written = len(log.effects)
    owner.look_for_others()
    assert len(log.effects) == written, "and once is enough"


def test_a_stale_watermark_at_the_end_of_the_log_is_followed_by_one_of_the_owner() -> None:
    for heal in ("look", "restore"):
        log = MemoryLog()
        owner = ledger(log)
        owner.apply(0, 0, [assigned(0, "s")])
        stale = log.topics[(NAMES.entitlements, 0)][-1]
        owner.apply(0, 1, [assigned(1, "t")])
        log.append(NAMES.entitlements, 0, *stale)
        if heal == "look":
            owner.look_for_others()
        else:
            ledger(log, generation=9)
        keep_last(log)
        assert ledger(log, generation=11).states()[0].next_offset == 2, heal


@dataclass
class VisitedLog(MemoryLog):
    """Somebody else writes these, one before each watermark."""

    visits: list[tuple[bytes, bytes]] = field(default_factory=list)

    def write_watermark(self, topic: str, partition: int, record: OutputRecord, then: Acknowledged) -> None:
        if self.visits:
            self.append(topic, partition, *self.visits.pop(0))
        super().write_watermark(topic, partition, record, then)


def test_a_stranger_in_the_very_first_run_is_not_forgotten_over_one_in_the_next() -> None:
    written = MemoryLog()
    ledger(written).apply(0, 0, [assigned(0, "s")])
    key, stale = written.topics[(NAMES.entitlements, 0)][0]
    log = VisitedLog(visits=[(key, stale), (b'["p","c","another"]', stale)])
    owner = ledger(log)
    # Two runs, because a close begins one; both watermarks are acknowledged before the next batch.
    owner.apply(0, 0, [assigned(0, "s"), assigned(1, "s", "WEBEX_SUITE", day=2), closed(2, "2026-10-03")])
    assert last_values(log)[key] == stale
    owner.apply(0, 3, [assigned(3, "t")])
    assert (
        last_values(log)[key]
        == whole_log([assigned(0, "s"), assigned(1, "s", "WEBEX_SUITE", day=2)]).topics[(NAMES.entitlements, 0)][0][1]
    )


def test_a_frozen_owner_that_was_further_does_not_set_the_position_of_a_restore() -> None:
    """Its values are in the log until the present owner has written those keys again, and then they are not."""
    first = [assigned(0, "s")]
    more = [assigned(1, "s", "WEBEX_SUITE", day=2), assigned(2, "t")]
    log = MemoryLog()
    frozen = ledger(log)
    owner = ledger(log, generation=9)
    frozen.apply(0, 0, first + more)  # arrives late, when the other one has restored
    owner.apply(0, 0, first)
    owner.look_for_others()
    further = log.topics[(NAMES.entitlements, 0)][2]
    assert decode_watermark(further[1]).next_offset == 3
    # Compaction has come as far as the owner's value of "s"; the watermark of the one that was further stays.
    keep_last(log)
    log.topics[(NAMES.entitlements, 0)].insert(0, further)
    successor = ledger(log, generation=11)
    assert successor.states()[0].next_offset == 1
    successor.apply(0, 1, more)
    assert last_contents(log) == last_contents(whole_log(first + more))


def test_an_owner_claims_anew_when_one_that_was_expelled_before_it_restores_after_it() -> None:
    log = MemoryLog()
    ledger(log).apply(0, 0, [assigned(0, "s")])
    owner = ledger(log, generation=9)
    expelled = ledger(log, generation=8)  # frozen while it took the partition over, and now it has the higher claim
    expelled.apply(0, 1, [assigned(1, "s", "WEBEX_SUITE", day=2), assigned(2, "t")])
    owner.apply(0, 1, [assigned(1, "s", "WEBEX_SUITE", day=2)])
    owner.look_for_others()
    assert ledger(log, generation=11).states()[0].next_offset == 2


def whole_log(records: list[Record]) -> MemoryLog:
    """What one owner writes that takes all at once."""
    log = MemoryLog()
    ledger(log).apply(0, 0, records)
    return log
