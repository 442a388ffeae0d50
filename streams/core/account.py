"""One account: a customer under one partner, with its subscribers, and the days that follow from them.

At rest a record is its bytes, as in the log: half the memory of the objects, and a restore need not build them.
What a batch touches is decoded in its place, noted in `Touched`, and put back to rest at the batch's end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TypedDict

from msgspec import Struct

from schemas.entitlements import (
    PAGE,
    REVISION_BYTES,
    SEGMENT,
    CustomerRecord,
    Interval,
    Order,
    SubscriberRecord,
    decode_customer,
    decode_subscriber,
    encode_content,
    encode_key,
    encode_record,
    encode_text,
    revision_of,
    start_of_keys,
    start_of_values,
    with_revision,
)
from schemas.facts import CustomerFact, Kind, SubscriberFact, same_customer_content, same_subscriber_content
from streams.core.block_fold import Changes, difference
from streams.core.customer import deprovisions_of, fold_customer
from streams.core.day_map import DayMap
from streams.core.fold import fold_subscriber, follow_on
from streams.core.grid import MICRODAYS_PER_DAY, microday
from streams.core.long_subscriber import PAGING, LoggedParts, LongSubscriber, Paging

#: A group within an account: (location, item).
Group = tuple[str | None, str]
#: So many more starts (negative: ends) of a group's intervals at each grid point; none where an interval only ends elsewhere.
Points = dict[Group, dict[int, int]]


class Outcome(Enum):
    """What a fact did to the state."""

    METERED = "metered"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


# Looked up for every event; as attributes of the enum they cost several times as much.
METERED = Outcome.METERED
DUPLICATE = Outcome.DUPLICATE
CONFLICT = Outcome.CONFLICT
_VOIDED = int(Kind.VOIDED)
# What a value starts with until the run's end is known. No run ends at nothing.
_NO_REVISION = bytes(REVISION_BYTES)


class OutputRecord(TypedDict):
    """A record of `entitlements`, shaped as the producer's batch call takes it so that nothing is copied."""

    key: bytes
    value: bytes


class Touched:
    """What the batch under way touched: whose records leave at its end, and which closed days are restated."""

    __slots__ = ("anomalies", "customers", "encoded", "long", "restated", "subscribers")

    def __init__(self) -> None:
        self.subscribers: list[tuple[Account, str, SubscriberRecord]] = []
        # Subscribers whose values wait for their revision only.
        self.encoded: dict[Account, dict[str, None]] = {}
        self.long: dict[tuple[Account, str], LongSubscriber] = {}
        self.customers: dict[tuple[str, str], Account] = {}
        # The days to restate, by account and group (rule 16).
        self.restated: dict[tuple[str, str], dict[Group, set[int]]] = {}
        self.anomalies = 0


class Account:
    """State of one customer under one partner.

    `closed_through_day` of the callers is the last closed day of the partition, or None: days up to it that a
    fact touches are noted as restated, because their rows have left already.
    """

    __slots__ = (
        "_customer",
        "_deprovisions",
        "_key_start",
        "_paging",
        "_subscribers",
        "customer_id",
        "groups",
        "partner_id",
    )

    def __init__(self, partner_id: str, customer_id: str, paging: Paging = PAGING) -> None:
        # One string object for all accounts of a partner.
        self.partner_id = sys.intern(partner_id)
        self.customer_id = customer_id
        self.groups: dict[Group, DayMap] = {}
        # Bytes at rest, a record while the batch under way touches it; long ones are at rest inside.
        self._subscribers: dict[str, bytes | SubscriberRecord | LongSubscriber | LoggedParts] = {}
        self._paging = paging
        self._customer: bytes | CustomerRecord | None = None
        self._deprovisions: tuple[CustomerFact, ...] = ()
        # What the keys of all its subscribers' records begin with.
        self._key_start = start_of_keys(partner_id, customer_id)

    # ---- facts in

    def add_subscriber_fact(
        self, subscriber_id: str, fact: SubscriberFact, closed_through_day: int | None, touched: Touched
    ) -> Outcome:
        """Take one fact about a subscriber into the state; say what it did."""
        held = self._subscribers.get(subscriber_id)
        if held is None:
            return self._add_subscriber(subscriber_id, fact, closed_through_day, touched)
        if type(held) is bytes:
            record = decode_subscriber(held)
            self._touch(subscriber_id, record, touched)
        elif type(held) is LongSubscriber:
            return self._add_to_long(subscriber_id, held, fact, closed_through_day, touched)
        else:
            record = held  # type: ignore[assignment]
        follows_on = fact.kind != _VOIDED and not self._deprovisions
        for known in record.facts:
            if known.id == fact.id and known.source == fact.source:
                return DUPLICATE if same_subscriber_content(known, fact) else CONFLICT
            if known.time_ms >= fact.time_ms or known.kind == _VOIDED:
                follows_on = False
        record.facts.append(fact)
        if not follows_on or not self._follow_on(record, fact, closed_through_day, touched):
            self._refold(record, closed_through_day, touched)
        if len(record.facts) >= self._paging.page_facts:
            self._lengthen(subscriber_id, record, touched)
        return METERED

    def add_customer_fact(self, fact: CustomerFact, closed_through_day: int | None, touched: Touched) -> Outcome:
        """Take one fact about the customer into the state, with what it does to the subscribers (rule 5)."""
        record = self.customer_record() or fold_customer([])
        self._customer = record
        touched.customers[(self.partner_id, self.customer_id)] = self
        for known in record.facts:
            if known.id == fact.id and known.source == fact.source:
                return DUPLICATE if same_customer_content(known, fact) else CONFLICT
        record.facts.append(fact)
        renewed = fold_customer(record.facts)
        self._customer = renewed
        self._replace_orders(record.orders, renewed.orders, closed_through_day, touched)
        if fact.kind in (Kind.CUSTOMER_DEPROVISIONED, Kind.VOIDED):
            deprovisions = deprovisions_of(renewed.facts)
            if deprovisions != self._deprovisions:
                self._deprovisions = deprovisions
                self._refold_all(closed_through_day, touched)
        return METERED

    # ---- state out

    def customer_record(self) -> CustomerRecord | None:
        """The customer's own record, if any fact about it came."""
        customer = self._customer
        return decode_customer(customer) if isinstance(customer, bytes) else customer

    def subscriber_records(self) -> Iterator[tuple[str, SubscriberRecord]]:
        """Each subscriber with its record: the whole of it, also of a long one."""
        for subscriber_id, held in self._subscribers.items():
            if isinstance(held, bytes):
                yield subscriber_id, decode_subscriber(held)
            elif isinstance(held, LongSubscriber):
                yield subscriber_id, held.whole()
            else:
                assert isinstance(held, SubscriberRecord)
                yield subscriber_id, held

    def value_at_rest(self, subscriber_id: str | None, part: str | None = None, name: str = "") -> bytes | None:
        """The encoded record of a subscriber, or of the customer (None), or a part of a long one; None if not at rest."""
        held = self._customer if subscriber_id is None else self._subscribers.get(subscriber_id)
        if isinstance(held, bytes):
            return held if part is None else None
        if isinstance(held, LongSubscriber | LoggedParts):
            return held.value_at_rest(part, name)
        return None

    def subscriber_count(self) -> int:
        return len(self._subscribers)

    # ---- restore

    def put_at_rest(self, subscriber_id: str | None, value: bytes, part: str | None = None, name: str = "") -> None:
        """Take a record's value from the log as it is."""
        if subscriber_id is None:
            self._customer = value
            return
        held = self._subscribers.get(subscriber_id)
        if part is None and not isinstance(held, LoggedParts):
            self._subscribers[subscriber_id] = value
            return
        if not isinstance(held, LoggedParts):
            assert held is None or isinstance(held, bytes)
            held = self._subscribers[subscriber_id] = LoggedParts(held)
        held.put(part, name, value)

    def rebuild(self, length: int) -> None:
        """Cut the records at rest back to the input prefix of this length, and derive what is not kept in them.

        That is the deprovisionings, the days, and what long subscribers are folded with. If any record was longer,
        all are folded anew.
        """
        cut = self._cut_back_customer(length)
        long: dict[str, list[SubscriberFact]] = {}
        for subscriber_id, held in list(self._subscribers.items()):
            if isinstance(held, LoggedParts):
                facts = held.facts(length, self._paging.page_facts)
                if len(facts) >= self._paging.page_facts:
                    long[subscriber_id] = facts
                else:
                    cut = True
                    self._put_facts_at_rest(subscriber_id, facts, length)
            elif revision_of(held) > length:  # type: ignore[arg-type]
                cut = True
                facts = decode_subscriber(held).facts  # type: ignore[arg-type]
                self._put_facts_at_rest(subscriber_id, [fact for fact in facts if fact.offset < length], length)
        nothing_to_write = Touched()
        customer = self.customer_record()
        if customer is not None:
            self._deprovisions = deprovisions_of(customer.facts)
            self._replace_orders([], customer.orders, None, nothing_to_write)
        for subscriber_id, held in self._subscribers.items():
            if isinstance(held, LoggedParts):
                whole = held.restored(long.pop(subscriber_id), self._deprovisions, self._paging, length)
                self._subscribers[subscriber_id] = whole
                record = whole.whole()
            else:
                assert isinstance(held, bytes)
                record = decode_subscriber(held)
                if cut:
                    self._fold(record)
                    self._subscribers[subscriber_id] = encode_record(length, record)
            for interval in record.intervals:
                self._count(interval, interval.start_ms, 1, None, nothing_to_write)
                if interval.end_ms is not None:
                    self._count(interval, interval.end_ms, -1, None, nothing_to_write)

    def is_empty(self) -> bool:
        """Whether no fact is known of the customer or a subscriber."""
        return self._customer is None and not self._subscribers

    # ---- inside

    def _cut_back_customer(self, length: int) -> bool:
        """Leave out the customer's facts beyond a prefix, at rest; whether there was anything to look for."""
        value = self._customer
        assert value is None or isinstance(value, bytes)
        if value is None or revision_of(value) <= length:
            return False
        facts = [fact for fact in decode_customer(value).facts if fact.offset < length]
        self._customer = encode_record(length, fold_customer(facts)) if facts else None
        return True

    def _put_facts_at_rest(self, subscriber_id: str, facts: list[SubscriberFact], length: int) -> None:
        """Leave a subscriber with these facts, not folded yet."""
        if facts:
            self._subscribers[subscriber_id] = encode_record(length, SubscriberRecord(facts, [], -1, 0))
        else:
            del self._subscribers[subscriber_id]

    def _add_subscriber(
        self, subscriber_id: str, fact: SubscriberFact, closed_through_day: int | None, touched: Touched
    ) -> Outcome:
        """Three of four events: no fact to compare with, and no change but what this one makes."""
        record = fold_subscriber([fact], self._deprovisions)
        self._subscribers[subscriber_id] = record
        touched.subscribers.append((self, subscriber_id, record))
        if record.anomalies:
            touched.anomalies += record.anomalies
        for interval in record.intervals:
            if interval.end_ms is None:
                self._count(interval, interval.start_ms, 1, closed_through_day, touched)
            else:  # a deprovisioning came before
                self._replace_intervals((), [interval], closed_through_day, touched)
        return METERED

    def _touch(self, subscriber_id: str, record: SubscriberRecord, touched: Touched) -> None:
        self._subscribers[subscriber_id] = record
        touched.subscribers.append((self, subscriber_id, record))

    def _fold(self, record: SubscriberRecord) -> None:
        folded = fold_subscriber(record.facts, self._deprovisions)
        record.intervals = folded.intervals
        record.holder = folded.holder
        record.anomalies = folded.anomalies

    def _follow_on(
        self, record: SubscriberRecord, fact: SubscriberFact, closed_through_day: int | None, touched: Touched
    ) -> bool:
        anomalies = record.anomalies
        step = follow_on(record, fact)
        if step is None:
            return False
        touched.anomalies += record.anomalies - anomalies
        if step.ended is not None:
            self._count(step.ended, fact.time_ms, -1, closed_through_day, touched)
        if step.started is not None:
            self._count(step.started, fact.time_ms, 1, closed_through_day, touched)
        return True

    def _refold(self, record: SubscriberRecord, closed_through_day: int | None, touched: Touched) -> bool:
        """Fold a record anew and carry the change into the days; whether intervals or anomalies changed."""
        intervals = record.intervals
        anomalies = record.anomalies
        self._fold(record)
        changed = False
        if record.anomalies != anomalies:
            touched.anomalies += max(0, record.anomalies - anomalies)
            changed = True
        if record.intervals != intervals:
            self._replace_intervals(intervals, record.intervals, closed_through_day, touched)
            changed = True
        return changed

    def _refold_all(self, closed_through_day: int | None, touched: Touched) -> None:
        # Each goes back to rest at once: a customer can have very many, and decoded they take several times as much.
        encoded = touched.encoded.setdefault(self, {})
        for subscriber_id, held in self._subscribers.items():
            if isinstance(held, bytes):
                record = decode_subscriber(held)
                if self._refold(record, closed_through_day, touched):
                    self._subscribers[subscriber_id] = _NO_REVISION + encode_content(record)
                    encoded[subscriber_id] = None
            elif isinstance(held, LongSubscriber):
                anomalies = held.anomalies
                changes = held.set_deprovisions(self._deprovisions)
                self._carry_long(subscriber_id, held, anomalies, changes, closed_through_day, touched)
            else:
                assert isinstance(held, SubscriberRecord)
                self._refold(held, closed_through_day, touched)

    def _add_to_long(
        self,
        subscriber_id: str,
        long: LongSubscriber,
        fact: SubscriberFact,
        closed_through_day: int | None,
        touched: Touched,
    ) -> Outcome:
        touched.long[self, subscriber_id] = long
        known = long.find(fact.source, fact.id)
        if known is not None:
            return DUPLICATE if same_subscriber_content(known, fact) else CONFLICT
        anomalies = long.anomalies
        changes = long.add(fact)
        self._carry_long(subscriber_id, long, anomalies, changes, closed_through_day, touched)
        return METERED

    def _carry_long(
        self,
        subscriber_id: str,
        long: LongSubscriber,
        anomalies: int,
        changes: Changes,
        closed_through_day: int | None,
        touched: Touched,
    ) -> None:
        """Carry what changed of a long subscriber into the days."""
        if changes.gone or changes.come or long.anomalies != anomalies:
            touched.long[self, subscriber_id] = long
            touched.anomalies += max(0, long.anomalies - anomalies)
            self._carry(changes, closed_through_day, touched)

    def _lengthen(self, subscriber_id: str, record: SubscriberRecord, touched: Touched) -> None:
        """A subscriber has become long: its facts fill a page."""
        long = LongSubscriber(record.facts, self._deprovisions, self._paging)
        self._subscribers[subscriber_id] = long
        touched.subscribers = [entry for entry in touched.subscribers if entry[2] is not record]
        touched.long[self, subscriber_id] = long

    def _replace_orders(
        self, old: list[Order], new: list[Order], closed_through_day: int | None, touched: Touched
    ) -> None:
        for sign, orders, others in ((-1, old, new), (1, new, old)):
            for order in orders:
                if order not in others:
                    group = (order.location_id, order.item)
                    day_map = self.groups.get(group) or self._new_day_map(group)
                    day_map.add_quantity(order.day, sign * order.quantity_microdays)
                    if closed_through_day is not None:
                        self._restate(group, order.day, min(order.day, closed_through_day), touched)

    def _replace_intervals(
        self, old: Sequence[Interval], new: Sequence[Interval], closed_through_day: int | None, touched: Touched
    ) -> None:
        """Carry the difference of two lists of intervals into the days of their groups."""
        self._carry(difference(old, new), closed_through_day, touched)

    def _carry(self, difference: Changes, closed_through_day: int | None, touched: Touched) -> None:
        changes = _points_of(difference)
        for group, counts in changes.items():
            day_map = self.groups.get(group) or self._new_day_map(group)
            for point, count in counts.items():
                if count:
                    day_map.add_point(point, count)
        if closed_through_day is not None:
            self._restate_changes(changes, closed_through_day, touched)

    def _count(
        self, interval: Interval, time_ms: int, count: int, closed_through_day: int | None, touched: Touched
    ) -> None:
        """Count one more (or less) of an interval's group from an instant on, without end."""
        group = (interval.location_id, interval.item)
        day_map = self.groups.get(group) or self._new_day_map(group)
        day = day_map.add_point(microday(time_ms), count)
        if closed_through_day is not None:
            self._restate(group, day, closed_through_day, touched)

    def _new_day_map(self, group: Group) -> DayMap:
        location_id, item = group
        # One string object per name and place, not one per group.
        group = (location_id and sys.intern(location_id), sys.intern(item))
        day_map = self.groups[group] = DayMap()
        return day_map

    def _restate_changes(self, changes: Points, closed_through_day: int, touched: Touched) -> None:
        """Note the closed days between the points of a change: those on which more or less is held than before."""
        for group, counts in changes.items():
            if min(counts) // MICRODAYS_PER_DAY > closed_through_day:
                continue
            held = 0
            since = 0
            for point in sorted(counts):
                if not counts[point]:
                    continue
                day = point // MICRODAYS_PER_DAY
                if held:
                    self._restate(group, since, min(day, closed_through_day), touched)
                held += counts[point]
                since = day
            if held:
                self._restate(group, since, closed_through_day, touched)

    def _restate(self, group: Group, first_day: int, last_day: int, touched: Touched) -> None:
        if first_day <= last_day:
            by_group = touched.restated.setdefault((self.partner_id, self.customer_id), {})
            by_group.setdefault(group, set()).update(range(first_day, last_day + 1))


class Written(Struct, frozen=True):
    """What a run writes to `entitlements`. `pages` must be in the log before `records`: they lack the pages' facts."""

    pages: list[OutputRecord]
    records: list[OutputRecord]


def put_to_rest(touched: Touched, revision: int) -> Written:
    """The records of all that was touched, which is at rest again afterwards."""
    start = start_of_values(revision)
    pages: list[OutputRecord] = []
    written: list[OutputRecord] = []
    for owner, account in touched.customers.items():
        assert isinstance(account._customer, CustomerRecord)
        account._customer = value = start + encode_content(account._customer)
        written.append({"key": encode_key(owner), "value": value})
    for account, subscriber_id, record in touched.subscribers:
        account._subscribers[subscriber_id] = value = start + encode_content(record)
        written.append({"key": account._key_start + encode_text(subscriber_id) + b"]", "value": value})
    for account, subscriber_ids in touched.encoded.items():
        for subscriber_id in subscriber_ids:
            held = account._subscribers[subscriber_id]
            # What was touched again since is written already, or long.
            if isinstance(held, bytes) and held.startswith(_NO_REVISION):
                account._subscribers[subscriber_id] = value = with_revision(held, revision)
                written.append({"key": account._key_start + encode_text(subscriber_id) + b"]", "value": value})
    for (account, subscriber_id), long in touched.long.items():
        values = long.put_to_rest(revision)
        key = (account.partner_id, account.customer_id, subscriber_id)
        pages += [
            {"key": encode_key((*key, PAGE, str(number))), "value": value} for number, value in values.pages.items()
        ]
        written += [
            {"key": encode_key((*key, SEGMENT, name)), "value": value} for name, value in values.segments.items()
        ]
        written.append({"key": encode_key(key), "value": values.head})
    return Written(pages, written)


def _points_of(changes: Changes) -> Points:
    """What must be added to the days of the groups when intervals go and others come."""
    points: Points = {}
    for sign, intervals in ((-1, changes.gone), (1, changes.come)):
        for interval in intervals:
            counts = points.setdefault((interval.location_id, interval.item), {})
            start = microday(interval.start_ms)
            counts[start] = counts.get(start, 0) + sign
            if interval.end_ms is not None:
                end = microday(interval.end_ms)
                counts[end] = counts.get(end, 0) - sign
    return points
