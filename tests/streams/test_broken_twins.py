"""Each law catches a twin of the core that has one fault: a check that cannot fail guards nothing.

Most twins tamper with what goes into the core or comes out of it; some stand in for one of its functions.
"""

import json
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import billing.offline
import streams.core.account
from schemas.entitlements import REVISION_BYTES, WATERMARK_KEY, decode_page, decode_segment, revision_of
from schemas.facts import CustomerFact, Kind, SubscriberFact
from schemas.instants import parse_time_ms
from streams.core.account import Account
from streams.core.block_fold import BlockFold, Changes
from streams.core.fold import fold_subscriber
from streams.core.long_subscriber import LoggedParts, LogIncomplete, LongSubscriber, Paging
from streams.core.partition import Applied, PartitionState
from streams.core.restore import Restore
from streams.core.segments import Segments
from tests.streams import cases, laws
from tests.streams.laws import TOPIC, Core
from tests.streams.strategies import DAY_MS, FIRST_DAY, Event, Record

#: A fault must show within so many cases. The rarest of them shows in one of some 300.
WITHIN = 6_000


def assert_caught(
    law: Callable[..., None],
    case: st.SearchStrategy[cases.Case],
    twin: Any,
    caught: type[Exception] = AssertionError,
) -> None:
    """The law's check fails on the twin in one of the first cases."""

    @settings(max_examples=WITHIN, derandomize=True, database=None, phases=[Phase.generate])
    @given(case)
    def check(drawn: cases.Case) -> None:
        law(twin, *drawn)

    with pytest.raises(caught):
        check()


class Tampering(PartitionState):
    """A twin that sees other records, or writes other output, than it should. Offsets stay as they are."""

    def __init__(self) -> None:
        super().__init__(TOPIC, 0)

    def apply(self, records: Sequence[Any]) -> Applied:
        before = self.watermark.closed_through_day
        return self.written(super().apply([self._record(record) for record in records]), before)

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        return applied

    def read(self, document: dict[str, Any], offset: int) -> None:
        """Change the event in place."""

    def _record(self, record: Record) -> Record:
        document = json.loads(record.value or b"")
        before = deepcopy(document)
        self.read(document, record.offset)
        # The bytes of what is not tampered with are kept, as dead letters must.
        return record if document == before else replace(record, value=json.dumps(document).encode())


# ---- arrival


class CountsFromArrival(Tampering):
    """What arrives late is metered as if it held from the latest instant seen of its subscriber."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: dict[Any, tuple[int, str]] = {}

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        who = (data.get("customerOrgId"), data.get("subscriberId"))
        latest = max(self._latest.get(who, (-1, "")), (parse_time_ms(document["time"]), document["time"]))
        self._latest[who] = latest
        document["time"] = latest[1]


class CountsRepetitions(Tampering):
    """A repeated event is another event."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        if "voids" not in document["data"]:
            document["id"] = f"{document['id']}#{offset}"


class VoidsOnlyWhatItHasSeen(Tampering):
    """A void that arrives before its target finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[Any] = set()

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        scope = (data["partnerOrgId"], data["customerOrgId"], data.get("subscriberId"))
        self._seen.add((*scope, document["source"], document["id"]))
        voids = data.get("voids")
        if voids and (*scope, voids["source"], voids["id"]) not in self._seen:
            voids["id"] = "nothing"


@pytest.mark.parametrize("twin", [CountsFromArrival, CountsRepetitions, VoidsOnlyWhatItHasSeen])
def test_a_core_that_depends_on_arrival_is_caught(twin: type[Tampering]) -> None:
    assert_caught(laws.check_arrival, cases.ARRIVAL, Core(new_state=twin))


# ---- sums and days


def test_reports_that_round_down_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billing.offline, "microday", lambda time_ms: time_ms * 10 // 864)
    assert_caught(laws.check_sums, cases.SUMS, Core())


class Seen:
    """An account whose days are those of another one."""

    def __init__(self, account: Account, days_of: Account) -> None:
        self.partner_id = account.partner_id
        self.customer_id = account.customer_id
        self.customer_record = account.customer_record
        self.subscriber_records = account.subscriber_records
        self.groups = days_of.groups


class MissesInDays:
    """A state whose days miss each event of some types, as if a change of that sort did not reach the day maps."""

    def __init__(self, *types: str) -> None:
        self._state = PartitionState(TOPIC, 0)
        self._days = PartitionState(TOPIC, 0)
        self._types = types

    @property
    def next_offset(self) -> int:
        return self._state.next_offset

    @property
    def accounts(self) -> dict[tuple[str, str], Seen]:
        return {owner: Seen(account, self._days.accounts[owner]) for owner, account in self._state.accounts.items()}

    def apply(self, records: Sequence[Record]) -> Applied:
        self._days.apply([self._missed(record) for record in records])
        return self._state.apply(records)

    def _missed(self, record: Record) -> Record:
        document = json.loads(record.value or b"")
        if document["type"] in self._types:
            document |= {"type": "wholesale.customer.updated.v1", "id": f"{document['id']}~{record.offset}"}
        return replace(record, value=json.dumps(document).encode())


@pytest.mark.parametrize(
    "missed",
    [
        ("wholesale.package.removed.v1",),
        ("wholesale.setup-assist.ordered.v1",),
        ("wholesale.customer.deprovisioned.v1",),
        ("wholesale.event.voided.v1",),
        ("wholesale.subscriber.moved.v1",),
    ],
    ids="".join,
)
@pytest.mark.parametrize(("law", "case"), [(laws.check_sums, cases.SUMS), (laws.check_days, cases.DAYS)])
def test_days_that_miss_a_change_are_caught(
    law: Callable[..., None], case: st.SearchStrategy[cases.Case], missed: tuple[str, ...]
) -> None:
    assert_caught(law, case, Core(new_state=lambda: MissesInDays(*missed)))


def rounds_each_length(start_ms: int, end_ms: int) -> int:
    """The length of each piece rounded, in place of its two ends."""
    return (10 * (end_ms - start_ms) + 432) // 864


def test_a_quantity_that_rounds_lengths_is_caught() -> None:
    assert_caught(laws.check_additive, cases.ADDITIVE, rounds_each_length)


# ---- restore


class KeepsWhatLiesBeyond(Restore):
    """Takes what a crash left beyond the watermark for part of the state."""

    def __init__(self) -> None:
        super().__init__(TOPIC, 0)
        self._entries: list[laws.Entry] = []

    def feed(self, key: bytes, value: bytes) -> None:
        self._entries.append((key, value))

    def finish(self) -> PartitionState:
        length = max((revision_of(value) for key, value in self._entries if key == WATERMARK_KEY), default=0)
        for key, value in self._entries:
            revision = min(revision_of(value), length)
            super().feed(key, struct.pack(">Q", revision) + value[REVISION_BYTES:])
        return super().finish()


class TakesTheLastValue(Restore):
    """Lets a stale value that was written late replace a newer one."""

    def __init__(self) -> None:
        super().__init__(TOPIC, 0)
        self._last: dict[bytes, bytes] = {}

    def feed(self, key: bytes, value: bytes) -> None:
        self._last[key] = value

    def finish(self) -> PartitionState:
        for key, value in self._last.items():
            super().feed(key, value)
        return super().finish()


class ForgetsTheCounters(Restore):
    """Goes on at the right place, but counts anew."""

    def __init__(self) -> None:
        super().__init__(TOPIC, 0)

    def finish(self) -> PartitionState:
        state = super().finish()
        state.watermark = msgspec.structs.replace(state.watermark, metered=0)
        return state


@pytest.mark.parametrize("twin", [KeepsWhatLiesBeyond, TakesTheLastValue, ForgetsTheCounters])
def test_a_restore_to_another_state_is_caught(twin: type[Restore]) -> None:
    assert_caught(laws.check_restore, cases.RESTORE, Core(new_restore=twin))


# ---- closed days


class LeavesOutRestatedRows(Tampering):
    """Late facts do not restate the days that are closed already."""

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        kept = [row for row in applied.daily_rows if closed_before is None or row.day > closed_before]
        return msgspec.structs.replace(applied, daily_rows=kept)


class LeavesOutZeroRows(Tampering):
    """A day that came out at nothing keeps its old row."""

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        kept = [row for row in applied.daily_rows if row.quantity_microdays or row.active_licences]
        return msgspec.structs.replace(applied, daily_rows=kept)


class LeavesOutZeroRowsWhenItCloses(LeavesOutZeroRows):
    """Takes for granted that a run which closes days is the first to write about them, as if none had crashed."""

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        if applied.watermark.closed_through_day == closed_before:
            return applied
        return super().written(applied, closed_before)


class RestatesTheLastDayOnly(Tampering):
    """A late fact restates the last closed day, not those before it."""

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        kept = [row for row in applied.daily_rows if closed_before is None or row.day >= closed_before]
        return msgspec.structs.replace(applied, daily_rows=kept)


class ClosesInsideARun(Tampering):
    """Does not stop before a close: the run that closes days begins wherever the last one ended."""

    def apply(self, records: Sequence[Any]) -> Applied:
        whole = super().apply(records)
        while whole.taken < len(records):
            more = super().apply(records[whole.taken :])
            whole = msgspec.structs.replace(
                more,
                taken=whole.taken + more.taken,
                entitlements=whole.entitlements + more.entitlements,
                daily_rows=whole.daily_rows + more.daily_rows,
                dead_letters=whole.dead_letters + more.dead_letters,
            )
        rows = [msgspec.structs.replace(row, revision=whole.watermark.next_offset) for row in whole.daily_rows]
        return msgspec.structs.replace(whole, daily_rows=rows)


class WritesTheRevisionOfItsOwnCount(Tampering):
    """Numbers its rows by what it has written, which another owner counts differently."""

    def __init__(self) -> None:
        super().__init__()
        self._runs = 0

    def written(self, applied: Applied, closed_before: int | None) -> Applied:
        self._runs += 1
        rows = [msgspec.structs.replace(row, revision=self._runs) for row in applied.daily_rows]
        return msgspec.structs.replace(applied, daily_rows=rows)


@pytest.mark.parametrize(
    "twin",
    [
        LeavesOutRestatedRows,
        LeavesOutZeroRows,
        LeavesOutZeroRowsWhenItCloses,
        RestatesTheLastDayOnly,
        ClosesInsideARun,
        WritesTheRevisionOfItsOwnCount,
    ],
)
def test_rows_that_do_not_end_at_the_truth_are_caught(twin: type[Tampering]) -> None:
    assert_caught(laws.check_closes, cases.CLOSES, Core(new_state=twin))


# ---- conflicts


class LetsAVoidedIdentityBeUsedAgain(Tampering):
    """After a void the identity is free, and another content takes it."""

    def __init__(self) -> None:
        super().__init__()
        self._voided: set[Any] = set()

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        scope = (data["partnerOrgId"], data["customerOrgId"], data.get("subscriberId"))
        if (*scope, document["source"], document["id"]) in self._voided:
            document["id"] += "#2"
        if "voids" in data:
            self._voided.add((*scope, data["voids"]["source"], data["voids"]["id"]))


class JudgesIdentityByCustomer(Tampering):
    """Takes (source, id) for one identity of the customer, whichever subscriber it is about."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[Any, Any] = {}

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        identity = (data["partnerOrgId"], data["customerOrgId"], document["source"], document["id"])
        subscriber_id = self._first.setdefault(identity, data.get("subscriberId"))
        if subscriber_id != data.get("subscriberId"):
            document["specversion"] = "conflict"


@pytest.mark.parametrize("twin", [LetsAVoidedIdentityBeUsedAgain, JudgesIdentityByCustomer])
def test_another_judgement_of_conflicts_is_caught(twin: type[Tampering]) -> None:
    assert_caught(laws.check_conflicts, cases.CONFLICTS, Core(new_state=twin))


# ---- the rules themselves


class LetsALateRemovalStopTheNewPackage(Tampering):
    """A removal ends whichever package runs, also if it names another."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        if document["type"] == "wholesale.package.removed.v1":
            document["data"].pop("package", None)


class OverlooksSequence(Tampering):
    """Orders the facts of one instant by kind alone."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        document.pop("sequence", None)


class EndsAddonsWithThePackage(Tampering):
    """Without a package there are no add-ons."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        if document["type"] == "wholesale.package.removed.v1":
            document["type"] = "wholesale.subscriber.removed.v1"


class BooksSubPartnersOnTheirParents(Tampering):
    """The usage of a sub-partner goes to its parent."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        if data["partnerOrgId"] == "S":
            data["partnerOrgId"] = "P"
            document["id"] += "~"


class TakesNullForAbsent(Tampering):
    """A location that is null leaves the subscriber where it is."""

    def read(self, document: dict[str, Any], offset: int) -> None:
        data = document["data"]
        if "locationId" in data and data["locationId"] is None and document["type"] != "wholesale.subscriber.moved.v1":
            del data["locationId"]


@pytest.mark.parametrize(
    "twin",
    [
        LetsALateRemovalStopTheNewPackage,
        OverlooksSequence,
        EndsAddonsWithThePackage,
        BooksSubPartnersOnTheirParents,
        TakesNullForAbsent,
    ],
)
def test_a_core_with_another_rule_is_caught(twin: type[Tampering]) -> None:
    assert_caught(laws.check_oracle, cases.ORACLE, Core(new_state=twin))


Facts = Sequence[SubscriberFact]


def forgets_the_location_at_removal(facts: Facts) -> Facts:
    gone = [
        msgspec.structs.replace(fact, kind=int(Kind.MOVED), id=fact.id + "~", item=None, location_id=None)
        for fact in facts
        if fact.kind in (Kind.PACKAGE_REMOVED, Kind.SUBSCRIBER_REMOVED)
    ]
    return [*facts, *gone]


def voids_voids(facts: Facts) -> Facts:
    voided = {(fact.voids_source, fact.voids_id) for fact in facts if fact.kind == Kind.VOIDED}
    return [fact for fact in facts if fact.kind != Kind.VOIDED or (fact.source, fact.id) not in voided]


def overlooks_voids(facts: Facts) -> Facts:
    return [fact for fact in facts if fact.kind != Kind.VOIDED] or facts


@pytest.mark.parametrize("tamper", [forgets_the_location_at_removal, voids_voids, overlooks_voids])
def test_a_fold_by_another_rule_is_caught(tamper: Callable[[Facts], Facts], monkeypatch: pytest.MonkeyPatch) -> None:
    def twin(facts: Facts, deprovisions: Sequence[CustomerFact]) -> Any:
        folded = fold_subscriber([*tamper(facts)], deprovisions)
        # The facts themselves are those that came.
        folded.facts = [*facts]
        return folded

    monkeypatch.setattr(streams.core.account, "fold_subscriber", twin)
    assert_caught(laws.check_oracle, cases.ORACLE, Core())


# ---- long subscribers


def finds_only_what_the_head_has(long: LongSubscriber, source: str, id_: str) -> SubscriberFact | None:
    facts = long._touch().facts
    return next((fact for fact in facts if (fact.source, fact.id) == (source, id_)), None)


def remembers_the_holder_of_the_last_block(fold: BlockFold) -> SubscriberFact | None:
    return fold._blocks[-1].holding


def stays_as_provisioned(long: LongSubscriber, deprovisions: Sequence[CustomerFact]) -> Changes:
    return Changes([], [])


def never_voids(fold: BlockFold, fact: SubscriberFact) -> Changes:
    return Changes([], [])


@pytest.mark.parametrize(
    ("owner", "name", "twin", "law", "case"),
    [
        (LongSubscriber, "find", finds_only_what_the_head_has, laws.check_conflicts, cases.CONFLICTS),
        (BlockFold, "holding", remembers_the_holder_of_the_last_block, laws.check_oracle, cases.ORACLE),
        (LongSubscriber, "set_deprovisions", stays_as_provisioned, laws.check_oracle, cases.ORACLE),
        (BlockFold, "remove", never_voids, laws.check_arrival, cases.ARRIVAL),
    ],
    ids=lambda argument: getattr(argument, "__name__", ""),
)
def test_a_long_subscriber_by_another_rule_is_caught(
    owner: type,
    name: str,
    twin: Callable[..., Any],
    law: Callable[..., None],
    case: st.SearchStrategy[cases.Case],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, twin)
    assert_caught(law, case, laws.TINY_CORE)


def leaves_out_what_came_back(segments: Segments, revision: int) -> dict[str, bytes]:
    """Writes what the run as a whole changed, as if no other owner had written what was in between."""
    before = dict(segments._at_rest)
    values = put_segments_to_rest(segments, revision)
    return {
        name: value
        for name, value in values.items()
        if name not in before or before[name][REVISION_BYTES:] != value[REVISION_BYTES:]
    }


def leaves_out_empty_ones(segments: Segments, revision: int) -> dict[str, bytes]:
    values = put_segments_to_rest(segments, revision)
    return {name: value for name, value in values.items() if decode_segment(value).intervals}


put_segments_to_rest = Segments.put_to_rest


def test_segments_that_keep_what_is_gone_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "put_to_rest", leaves_out_empty_ones)
    assert_caught(laws.check_records, cases.CLOSES, laws.TINY_CORE)


def changed(number: int, day: int, package: str) -> Event:
    data = {"partnerOrgId": "P", "customerOrgId": "c1", "subscriberId": "s1", "package": package, "userId": "u1"}
    return Event("wholesale.package.changed.v1", "/a", str(number), (FIRST_DAY + day) * DAY_MS, None, data)


def test_segments_that_keep_what_a_crashed_owner_saw_in_between_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    late = changed(3, 1, "C")
    target = {"partnerOrgId": "P", "customerOrgId": "c1", "subscriberId": "s1", "voids": {"source": "/a", "id": "3"}}
    void = Event("wholesale.event.voided.v1", "/a", "4", late.time_ms, None, target)
    arrived = [changed(0, 0, "A"), changed(1, 2, "B"), changed(2, 3, "A"), late, void]
    # The first owner writes what the late fact does, and crashes; the next one takes the fact and its void at once.
    owners = [([3, 1], 1, 100), ([2], 1, 0)]
    paging = Paging(page_facts=2, segment_intervals=1, block_facts=1)
    core = Core(new_state=lambda: PartitionState(TOPIC, 0, paging=paging))
    laws.check_records(core, arrived, owners)
    monkeypatch.setattr(Segments, "put_to_rest", leaves_out_what_came_back)
    with pytest.raises(AssertionError):
        laws.check_records(core, arrived, owners)


def writes_the_head_first(applied: Applied) -> list[laws.Entry]:
    """A crash between the two leaves a head without the facts of a page, and no page."""
    *changed, watermark = entries_of(applied)
    return [*sorted(changed, key=lambda entry: b'","page","' in entry[0]), watermark]


entries_of = laws.entries


def test_a_head_before_its_page_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laws, "entries", writes_the_head_first)
    assert_caught(laws.check_restore, cases.RESTORE, laws.TINY_CORE, LogIncomplete)


def keeps_whole_pages(parts: LoggedParts, length: int, page_facts: int) -> list[SubscriberFact]:
    """Takes a page for part of the state though a crash left it beyond the watermark."""
    paged = {fact.offset: fact for value in parts.pages.values() for fact in decode_page(value).facts}
    paged |= {fact.offset: fact for fact in facts_of_parts(parts, length, page_facts)}
    return [paged[offset] for offset in sorted(paged)]


facts_of_parts = LoggedParts.facts


def test_a_restore_that_keeps_what_lies_beyond_in_a_page_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoggedParts, "facts", keeps_whole_pages)
    assert_caught(laws.check_restore, cases.RESTORE, laws.TINY_CORE)


# ---- and nothing else


@pytest.mark.parametrize(
    ("law", "case"),
    [
        (laws.check_arrival, cases.ARRIVAL),
        (laws.check_closes, cases.CLOSES),
        (laws.check_conflicts, cases.CONFLICTS),
        (laws.check_oracle, cases.ORACLE),
    ],
)
@settings(max_examples=200)
@given(data=st.data())
def test_tampering_with_nothing_is_not_caught(
    law: Callable[..., None], case: st.SearchStrategy[cases.Case], data: st.DataObject
) -> None:
    law(Core(new_state=Tampering), *data.draw(case))


@pytest.mark.parametrize(("law", "case"), [(laws.check_sums, cases.SUMS), (laws.check_days, cases.DAYS)])
@settings(max_examples=200)
@given(data=st.data())
def test_missing_nothing_is_not_caught(
    law: Callable[..., None], case: st.SearchStrategy[cases.Case], data: st.DataObject
) -> None:
    law(Core(new_state=MissesInDays), *data.draw(case))
