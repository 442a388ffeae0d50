"""The laws of the core as checks of one case each: `test_laws` runs them on the core, `test_broken_twins` on twins.

A check takes the core that it judges as an argument, so that a twin with one fault can stand in its place.
"""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from schemas.entitlements import (
    PAGE,
    SEGMENT,
    WATERMARK_KEY,
    CustomerRecord,
    Interval,
    LongHead,
    Page,
    Segment,
    decode_customer,
    decode_head,
    decode_key,
    decode_page,
    decode_segment,
    encode_record,
    revision_of,
)
from streams.core.fold import start_slot_item_of
from streams.core.grid import MICRODAYS_PER_DAY, microday
from streams.core.long_subscriber import Paging
from streams.core.partition import Applied, PartitionState
from streams.core.restore import Restore
from tests.oracle import metering
from tests.streams.strategies import APPENDED_MS, CHILDREN, FIRST_DAY, LAST_DAY, PARTNERS, Event, Record, as_records

TOPIC = "package-assignments"
#: One batch of everything.
WHOLE = [1_000]

#: (partner, customer, location, item, day) -> (microdays, licences active at the close), where either is not zero.
Days = dict[tuple[str, str, str | None, str, int], tuple[int, int]]
#: Key and value of a record of `entitlements`.
Entry = tuple[bytes, bytes]


#: Two facts make a page, one interval in two ends a segment: nearly all subscribers of a small world are long.
TINY = Paging(page_facts=2, segment_intervals=2, block_facts=1)


@dataclass(frozen=True)
class Core:
    """What a law judges. A twin of the state need only look like one."""

    new_state: Callable[[], Any] = lambda: PartitionState(TOPIC, 0)
    new_restore: Callable[[], Restore] = lambda: Restore(TOPIC, 0)


TINY_CORE = Core(lambda: PartitionState(TOPIC, 0, paging=TINY), lambda: Restore(TOPIC, 0, paging=TINY))


# ---- running


def batches(state: PartitionState, records: Sequence[Record], cut: Sequence[int]) -> Iterator[Applied]:
    """Apply the records from the state's position on, in batches of these lengths, over and over."""
    position = state.next_offset
    turn = 0
    while position < len(records):
        applied = state.apply(records[position : position + cut[turn % len(cut)]])
        assert applied.taken > 0
        position += applied.taken
        turn += 1
        yield applied


def run(state: PartitionState, records: Sequence[Record], cut: Sequence[int] = WHOLE) -> list[Applied]:
    """Apply all that is left of the records."""
    return list(batches(state, records, cut))


def entries(applied: Applied) -> list[Entry]:
    """What a batch writes to `entitlements`, in order: full pages, the changed records, then the watermark."""
    changed = [(record["key"], record["value"]) for record in [*applied.pages, *applied.entitlements]]
    return [*changed, (WATERMARK_KEY, encode_record(applied.watermark.next_offset, applied.watermark))]


# ---- what a state says


def picture(state: PartitionState, *, facts: bool = False) -> dict[tuple[str, str], Any]:
    """All that follows from the facts of each account, and with `facts` these themselves and their offsets."""
    found = {}
    for owner, account in state.accounts.items():
        customer = account.customer_record()
        subscribers = {
            subscriber_id: (
                record.intervals,
                record.user_id,
                record.workspace_id,
                record.anomalies,
                sorted(record.facts, key=lambda fact: fact.offset) if facts else len(record.facts),
            )
            for subscriber_id, record in account.subscriber_records()
        }
        attributes = None
        if customer is not None:
            attributes = (
                customer.external_id,
                customer.subscription_id,
                customer.name,
                customer.internal,
                customer.orders,
                sorted(customer.facts, key=lambda fact: fact.offset) if facts else len(customer.facts),
            )
        # An account whose only facts were beyond the watermark may be left behind by a restore, empty.
        if subscribers or attributes is not None:
            found[owner] = (attributes, subscribers)
    return found


def days_of(state: PartitionState, through: int = LAST_DAY) -> Days:
    """The days as the day maps hold them."""
    found: Days = {}
    for account in state.accounts.values():
        for (location, item), day_map in account.groups.items():
            first = day_map.first_day()
            if first is not None:
                for day, quantity, active in day_map.usage(first, through):
                    if quantity or active:
                        found[(account.partner_id, account.customer_id, location, item, day)] = (quantity, active)
    return found


def intervals_of(state: PartitionState) -> Iterator[tuple[tuple[str, str], str, Interval]]:
    for owner, account in state.accounts.items():
        for subscriber_id, record in account.subscriber_records():
            for interval in record.intervals:
                yield owner, subscriber_id, interval


def days_from_scratch(state: PartitionState, through: int = LAST_DAY) -> Days:
    """The days worked out from the intervals and orders alone, each interval and day by itself."""
    quantities: Counter[Any] = Counter()
    actives: Counter[Any] = Counter()
    for owner, _, interval in intervals_of(state):
        begin = microday(interval.start_ms)
        end = None if interval.end_ms is None else microday(interval.end_ms)
        for day in range(begin // MICRODAYS_PER_DAY, through + 1):
            midnight, close = day * MICRODAYS_PER_DAY, (day + 1) * MICRODAYS_PER_DAY
            key = (*owner, interval.location_id, interval.item, day)
            stop = close if end is None else min(end, close)
            quantities[key] += max(0, stop - max(begin, midnight))
            actives[key] += begin < close and (end is None or end >= close)
    for owner, account in state.accounts.items():
        customer = account.customer_record()
        for order in customer.orders if customer else ():
            if order.day <= through:
                quantities[(*owner, order.location_id, order.item, order.day)] += order.quantity_microdays
    return {key: (quantities[key], actives[key]) for key in quantities if quantities[key] or actives[key]}


# ---- reports


def _catalog_line(type_: str, **data: Any) -> bytes:
    envelope = {"specversion": "1.0", "source": "/", "time": "2026-01-01T00:00:00Z"}
    event = {
        **envelope,
        "id": data.get("partnerOrgId", "") + type_,
        "type": f"wholesale.{type_}.upserted.v1",
        "data": data,
    }
    return json.dumps(event).encode()


_SERVICE = {"service": "A", "sku": "sku-a", "description": "An A", "kind": "package", "unitPrice": "10"}
_CATALOG_LINES = [
    _catalog_line("partner", partnerOrgId="P", name="Parent", subscriptionId="sub-1", provisioningState="active"),
    _catalog_line(
        "partner",
        partnerOrgId="S",
        name="Child",
        parentOrgId="P",
        billingStartDate="2026-10-03",
        provisioningState="active",
    ),
    _catalog_line("subscription", subscriptionId="sub-1", partnerOrgId="P", currency="USD", services=[_SERVICE]),
]
_CATALOG = Metered(_CATALOG_LINES, APPENDED_MS).catalog
assert _CATALOG.children_of("P") == ["S"]


def report(
    state: PartitionState, report_type: ReportType, partner: str, child: str | None = None, *, internal: bool = False
) -> bytes:
    """The report of a period that cuts off usage at both ends: the first day of the world and its last are outside."""
    metered = Metered([], APPENDED_MS)
    metered.catalog = _CATALOG
    metered.state = state
    request = ReportRequest(report_type, partner, child, FIRST_DAY + 1, LAST_DAY - 1, internal)
    return b"".join(metered.report(request))


def reports(state: PartitionState) -> list[bytes]:
    return [report(state, type_, partner, internal=True) for type_ in ReportType for partner in PARTNERS]


def totals(report: bytes, columns: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Microdays of a report, added up by these columns."""
    found: Counter[tuple[str, ...]] = Counter()
    for row in csv.DictReader(io.StringIO(report.decode(), newline="")):
        found[tuple(row[column] for column in columns)] += int(Decimal(row["QUANTITY"]) * MICRODAYS_PER_DAY)
    return found


# ---- the laws


def check_arrival(core: Core, arrived: list[Event], spellings: list[int], cut: list[int]) -> None:
    """Whatever the order, the repetitions, the spellings and the batches, the outcome is that of the plain facts."""
    facts = {event.identity: event for event in arrived}
    in_order = sorted(facts.values(), key=lambda event: (event.time_ms, event.source, event.id))
    plain, state = core.new_state(), core.new_state()
    run(plain, as_records(in_order))
    letters = [letter for applied in run(state, as_records(arrived, spellings), cut) for letter in applied.dead_letters]
    assert letters == []
    assert state.watermark.metered == len(facts)
    assert state.watermark.duplicates == len(arrived) - len(facts)
    assert picture(state) == picture(plain)
    assert days_of(state) == days_of(plain)
    assert reports(state) == reports(plain)


def check_sums(core: Core, arrived: list[Event], cut: list[int]) -> None:
    """Days add up to intervals, subscribers to customers, customers to partners, exactly."""
    state = core.new_state()
    run(state, as_records(arrived), cut)

    end_of_world = (LAST_DAY + 1) * MICRODAYS_PER_DAY
    wanted: Counter[Any] = Counter()
    for owner, _, interval in intervals_of(state):
        end = end_of_world if interval.end_ms is None else microday(interval.end_ms)
        wanted[(*owner, interval.location_id, interval.item)] += end - microday(interval.start_ms)
    for owner, account in state.accounts.items():
        customer = account.customer_record()
        for order in customer.orders if customer else ():
            wanted[(*owner, order.location_id, order.item)] += order.quantity_microdays
    got: Counter[Any] = Counter()
    for key, (quantity, _) in days_of(state).items():
        got[key[:4]] += quantity
    assert +got == +wanted

    of_partner = ("PARTNER_ORG_ID", "SUBSCRIPTION_ID", "SERVICE_NAME")
    of_customer = (*of_partner, "CUSTOMER_ORG_ID", "LOCATION_ID")
    for internal in (False, True):
        for partner, child in [*((partner, None) for partner in PARTNERS), *((p, c) for c, p in CHILDREN.items())]:
            made = {type_: report(state, type_, partner, child, internal=internal) for type_ in ReportType}
            assert totals(made[ReportType.USER], of_customer) == totals(made[ReportType.CUSTOMER], of_customer)
            assert totals(made[ReportType.CUSTOMER], of_partner) == totals(made[ReportType.PARTNER], of_partner)


def check_days(core: Core, arrived: list[Event], cut: list[int]) -> None:
    """After each batch the incremental day maps say what the intervals say."""
    state = core.new_state()
    for _ in batches(state, as_records(arrived), cut):
        assert days_of(state) == days_from_scratch(state)


@dataclass(frozen=True)
class Failover:
    """How a partition passes from one owner to the next.

    The first owner writes `first_batches` whole batches, then freezes. The second restores, writes
    `second_batches` and `second_entries` of its next, and crashes. The first one wakes up before that: the next
    `stale_entries` of what it had ready land between the second one's, as `stale_turns` say. Of what a later
    value of the key, of the same or a higher revision, stands for, `compacted` says what the broker has dropped.
    """

    first_cut: list[int]
    first_batches: int
    second_cut: list[int]
    second_batches: int
    second_entries: int
    stale_entries: int
    stale_turns: list[bool]
    compacted: list[bool]
    rest_cut: list[int]


def check_restore(core: Core, arrived: list[Event], failover: Failover) -> None:
    """The state of a restore is that of the prefix up to the watermark, and it goes on as that one does."""
    records = as_records(arrived)
    log = _log(core, records, failover)
    restored = _restored(core, log)
    watermarks = [revision_of(value) for key, value in log if key == WATERMARK_KEY]
    prefix = core.new_state()
    run(prefix, records[: max(watermarks, default=0)])

    assert restored.watermark == prefix.watermark
    assert picture(restored, facts=True) == picture(prefix, facts=True)
    assert days_of(restored) == days_of(prefix)
    assert reports(restored) == reports(prefix)
    for key in {key for key, _ in log if key != WATERMARK_KEY}:
        # What a stale owner overwrites is written again: it must be what the prefix says.
        at_rest, wanted = _value_at_rest(restored, key), _value_at_rest(prefix, key)
        if wanted is not None:
            assert at_rest is not None
            assert decode_record(key, at_rest) == decode_record(key, wanted)
        elif at_rest is not None:
            assert decode_record(key, at_rest) == Segment([])

    for one, other in zip(
        run(restored, records, failover.rest_cut), run(prefix, records, failover.rest_cut), strict=True
    ):
        assert _contents(one) == _contents(other)
    assert restored.watermark == prefix.watermark
    assert picture(restored, facts=True) == picture(prefix, facts=True)
    assert days_of(restored) == days_of(prefix) == days_from_scratch(prefix)


def _value_at_rest(state: PartitionState, key: bytes) -> bytes | None:
    owner = decode_key(key)
    assert owner is not None
    account = state.accounts.get((owner.partner_id, owner.customer_id))
    return None if account is None else account.value_at_rest(owner.subscriber_id, owner.part, owner.name)


def _log(core: Core, records: list[Record], failover: Failover) -> list[Entry]:
    first = [entries(applied) for applied in run(core.new_state(), records, failover.first_cut)]
    log = [entry for batch in first[: failover.first_batches] for entry in batch]
    stale = [entry for batch in first[failover.first_batches :] for entry in batch][: failover.stale_entries]

    second = [entries(applied) for applied in batches(_restored(core, log), records, failover.second_cut)]
    written = [entry for batch in second[: failover.second_batches] for entry in batch]
    written += [entry for batch in second[failover.second_batches :] for entry in batch][: failover.second_entries]

    for turn in range(len(written) + len(stale)):
        from_stale = stale and (not written or failover.stale_turns[turn % len(failover.stale_turns)])
        log.append((stale if from_stale else written).pop(0))
    return _compact(log, failover.compacted)


def _compact(log: list[Entry], choices: list[bool]) -> list[Entry]:
    """The log without some of the values that a later one of the key, no older by revision, makes superfluous."""
    kept = []
    highest: dict[bytes, bytes] = {}
    for index, (key, value) in reversed(list(enumerate(log))):
        later = highest.get(key)
        superfluous = later is not None and revision_of(later) >= revision_of(value)
        if not (superfluous and choices[index % len(choices)]):
            kept.append((key, value))
        if not superfluous:
            highest[key] = value
    return kept[::-1]


def _restored(core: Core, log: list[Entry]) -> PartitionState:
    restore = core.new_restore()
    for key, value in log:
        restore.feed(key, value)
    return restore.finish()


def _contents(applied: Applied) -> Any:
    """What a batch writes, without the order inside each topic."""
    decoded = {}
    for record in [*applied.pages, *applied.entitlements]:
        key, value = record["key"], record["value"]
        decoded[key] = (revision_of(value), decode_record(key, value))
    return decoded, set(applied.daily_rows), applied.dead_letters, applied.watermark


def decode_record(key: bytes, value: bytes) -> CustomerRecord | LongHead | Page | Segment:
    """What stands in a record of `entitlements` other than the watermark."""
    owner = decode_key(key)
    assert owner is not None
    if owner.part == PAGE:
        return decode_page(value)
    if owner.part == SEGMENT:
        return decode_segment(value)
    return decode_customer(value) if owner.subscriber_id is None else decode_head(value)


def check_records(core: Core, arrived: list[Event], owners: list[tuple[list[int], int, int]]) -> None:
    """What the newest records of a subscriber say together is its state, whoever wrote them and wherever they crashed."""
    records = as_records(arrived)
    contents: dict[bytes, dict[int, Any]] = defaultdict(dict)
    highest = 0
    for key, value in log_of_owners(core, records, owners):
        revision = revision_of(value)
        if key != WATERMARK_KEY:
            content = decode_record(key, value)
            assert contents[key].setdefault(revision, content) == content, "one revision, two contents"
            highest = max(highest, revision)
        elif revision >= highest:
            newest = {key: known[max(known)] for key, known in contents.items()}
            state = core.new_state()
            run(state, records[:revision])
            assert subscribers_in(newest) == subscribers_of(state)


def log_of_owners(core: Core, records: list[Record], owners: list[tuple[list[int], int, int]]) -> Iterator[Entry]:
    """The log that owners leave of whom each wrote (cut, batches, entries): so many batches, and so many entries more.

    Then each crashed, but one more goes on to the end.
    """
    next_offset = 0
    for cut, whole_batches, crash_entries in [*owners, (owners[0][0], len(records), 0)]:
        state = core.new_state()
        run(state, records[:next_offset])
        for number, applied in enumerate(batches(state, records, cut)):
            if number >= whole_batches:
                yield from entries(applied)[:-1][:crash_entries]
                break
            yield from entries(applied)
            next_offset = applied.watermark.next_offset


def subscribers_of(state: PartitionState, *, long_only: bool = False) -> dict[Any, Any]:
    return {
        (*owner, subscriber_id): (record.intervals, record.user_id, record.workspace_id, record.anomalies)
        for owner, account in state.accounts.items()
        for subscriber_id, record in account.subscriber_records()
        if not long_only or len(record.facts) >= TINY.page_facts
    }


def subscribers_in(newest: dict[bytes, Any]) -> dict[Any, Any]:
    """Subscribers as the sink's rows have them: all segments together, the rest from the head."""
    intervals: dict[Any, list[Interval]] = defaultdict(list)
    heads: dict[Any, LongHead] = {}
    for key, content in newest.items():
        owner = decode_key(key)
        assert owner is not None
        who = (owner.partner_id, owner.customer_id, owner.subscriber_id)
        if isinstance(content, LongHead):
            heads[who] = content
        if isinstance(content, LongHead | Segment):
            intervals[who] += content.intervals
    return {
        who: (sorted(intervals[who], key=start_slot_item_of), head.user_id, head.workspace_id, head.anomalies)
        for who, head in heads.items()
    }


def check_closes(core: Core, arrived: list[Event], owners: list[tuple[list[int], int, int]]) -> None:
    """The newest row of each key is the day as it now is, whoever wrote the rows and wherever they crashed.

    Each of the `owners` (cut, batches, rows) writes so many batches, then so many rows of its next one, and
    crashes before that one's watermark. One more goes on to the end.
    """
    records = as_records(arrived)
    rows: dict[tuple[Any, ...], dict[int, tuple[int, int]]] = defaultdict(dict)
    next_offset = highest = 0
    for cut, whole_batches, crash_rows in [*owners, (owners[0][0], len(records), 0)]:
        state = core.new_state()
        run(state, records[:next_offset])
        before = state.watermark
        for number, applied in enumerate(batches(state, records, cut)):
            if applied.watermark.closed_through_day != before.closed_through_day:
                first = arrived[before.next_offset]
                assert first.closes, "a run that closes days starts with the close"
            written = applied.daily_rows if number < whole_batches else applied.daily_rows[:crash_rows]
            for row in written:
                key = (row.partner_id, row.customer_id, row.location_id, row.item, row.day)
                content = (row.quantity_microdays, row.active_licences)
                assert rows[key].setdefault(row.revision, content) == content, "one revision, two contents"
                assert row.revision == applied.watermark.next_offset
                highest = max(highest, row.revision)
            if number >= whole_batches:
                break
            before = applied.watermark
            next_offset = before.next_offset
            if next_offset >= highest:
                _check_rows(rows, state)


def _check_rows(rows: dict[tuple[Any, ...], dict[int, tuple[int, int]]], state: PartitionState) -> None:
    closed_through = state.watermark.closed_through_day
    newest = {key: contents[max(contents)] for key, contents in rows.items()}
    if closed_through is None:
        assert newest == {}
        return
    assert all(key[4] <= closed_through for key in newest)
    assert {key: content for key, content in newest.items() if content != (0, 0)} == days_from_scratch(
        state, closed_through
    )


def check_conflicts(core: Core, arrived: list[Event], spellings: list[int], cut: list[int]) -> None:
    """Of an identity the content at the lowest offset counts, also if voided later; the others are dead letters."""
    first: dict[Any, Event] = {}
    conflicts = []
    for offset, event in enumerate(arrived):
        if first.setdefault(event.identity, event) != event:
            conflicts.append(offset)
    records = as_records(arrived, spellings)
    state, plain = core.new_state(), core.new_state()
    letters = [letter for applied in run(state, records, cut) for letter in applied.dead_letters]
    run(plain, as_records(list(first.values())))
    assert [(letter.offset, letter.reason) for letter in letters] == [
        (offset, "identity-conflict") for offset in conflicts
    ]
    assert [(letter.key, letter.value) for letter in letters] == [
        (records[offset].key, records[offset].value) for offset in conflicts
    ]
    counters = state.watermark
    assert counters.metered == len(first)
    assert counters.duplicates == len(arrived) - len(first) - len(conflicts)
    assert counters.refused == len(conflicts)
    assert picture(state) == picture(plain)
    assert days_of(state) == days_of(plain)


def check_oracle(core: Core, arrived: list[Event], cut: list[int]) -> None:
    """The core and the oracle, which looks backwards from each segment of time, agree on every detail."""
    state = core.new_state()
    letters = [letter for applied in run(state, as_records(arrived), cut) for letter in applied.dead_letters]
    oracle = metering.meter([], [event.value() for event in arrived], received_at_ms=APPENDED_MS)
    assert [(letter.offset, letter.reason) for letter in letters] == oracle.refused
    assert state.watermark.duplicates == len(oracle.duplicates)

    wanted: dict[Any, list[tuple[int, int | None]]] = defaultdict(list)
    for holding in oracle.holdings:
        pieces = wanted[(holding.account, holding.subscriber, holding.item, holding.location)]
        if pieces and pieces[-1][1] == holding.start_ms:
            pieces[-1] = (pieces[-1][0], holding.end_ms)
        else:
            pieces.append((holding.start_ms, holding.end_ms))
    got: dict[Any, list[tuple[int, int | None]]] = defaultdict(list)
    for owner, subscriber_id, interval in intervals_of(state):
        what = (owner, subscriber_id, interval.item, interval.location_id)
        got[what].append((interval.start_ms, interval.end_ms))
    assert got == wanted

    people = {
        (owner, subscriber_id): (record.user_id or "", record.workspace_id or "")
        for owner, account in state.accounts.items()
        for subscriber_id, record in account.subscriber_records()
    }
    assert {who: pair for who, pair in people.items() if pair != ("", "")} == {
        who: pair for who, pair in oracle.people.items() if pair != ("", "")
    }
    for owner, account in state.accounts.items():
        customer = account.customer_record()
        attributes = oracle.customers.get(owner, {})
        if customer is not None:
            assert customer.external_id == attributes.get("externalId")
            assert customer.subscription_id == attributes.get("subscriptionId")
            assert customer.name == attributes.get("name")
            assert customer.internal == attributes.get("internal", False)
    last_day = date.fromordinal(metering.EPOCH.toordinal() + LAST_DAY)
    assert days_of(state) == {
        (*key[:4], (key[4] - metering.EPOCH).days): value
        for key, value in metering.daily_usage(oracle, last_day).items()
    }


#: Quantity in microdays of the time from one instant to a later one.
Quantity = Callable[[int, int], int]


def check_additive(quantity: Quantity, a: int, b: int, c: int) -> None:
    """Quantity is never negative, and that of two pieces is that of the whole, wherever it is cut."""
    a, b, c = sorted((a, b, c))
    assert quantity(a, b) >= 0
    assert quantity(a, b) + quantity(b, c) == quantity(a, c)
