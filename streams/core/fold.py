"""The fold: a subscriber's facts, in the order of rule 10, to its intervals. Rules 2, 5, 8, 9 and 11."""

from collections.abc import Sequence
from operator import attrgetter

from msgspec import Struct

from schemas.entitlements import ADDON, PACKAGE, Interval, SubscriberRecord
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact, order_of

_MOVED = int(Kind.MOVED)
_PACKAGE_ASSIGNED = int(Kind.PACKAGE_ASSIGNED)
_ADDON_ASSIGNED = int(Kind.ADDON_ASSIGNED)
_PACKAGE_CHANGED = int(Kind.PACKAGE_CHANGED)
_PACKAGE_REMOVED = int(Kind.PACKAGE_REMOVED)
_ADDON_REMOVED = int(Kind.ADDON_REMOVED)
_SUBSCRIBER_REMOVED = int(Kind.SUBSCRIBER_REMOVED)
_CUSTOMER_DEPROVISIONED = int(Kind.CUSTOMER_DEPROVISIONED)
_VOIDED = int(Kind.VOIDED)


_time_of = attrgetter("time_ms")
_start_slot_item_of = attrgetter("start_ms", "slot", "item")


def fold_subscriber(facts: list[SubscriberFact], deprovisions: Sequence[CustomerFact]) -> SubscriberRecord:
    """The record of one subscriber from all its facts, in any order, and its customer's deprovisionings in force.

    A pure function of the two sets: neither the order of arrival nor the facts' offsets matter.
    """
    if len(facts) != 1 or deprovisions:
        return _fold_ordered(facts, subscriber_in_force(facts, deprovisions))
    # The commonest case, a subscriber's first fact, without the machinery of the fold.
    fact = facts[0]
    kind = fact.kind
    if kind == _PACKAGE_ASSIGNED or kind == _PACKAGE_CHANGED or kind == _ADDON_ASSIGNED:
        slot = ADDON if kind == _ADDON_ASSIGNED else PACKAGE
        interval = Interval(slot, fact.item, fact.location_id or None, fact.time_ms, None)  # type: ignore[arg-type]
        return SubscriberRecord(facts, [interval], 0, 0)
    found_nothing = kind in (_PACKAGE_REMOVED, _ADDON_REMOVED, _SUBSCRIBER_REMOVED)
    return SubscriberRecord(facts, [], -1, int(found_nothing))


class Step(Struct, gc=False):
    """What a fact that follows on all others does: the running package ends, or another one starts, or both."""

    ended: Interval | None
    started: Interval | None


_NOTHING = Step(None, None)


def follow_on(record: SubscriberRecord, fact: SubscriberFact) -> Step | None:
    """Carry a record on to its last fact, which is later than all others: as to fold it anew, at a third of the cost.

    That is a subscriber whose package changes or ends, and nearly all facts but the first. None, and the record is as
    it was, unless just a package runs, so that the record itself says where the fold stands. Voids and deprovisionings
    are the caller's to look at: there must be none.
    """
    intervals = record.intervals
    kind = fact.kind
    if not intervals or (kind != _PACKAGE_CHANGED and kind != _PACKAGE_ASSIGNED and kind != _PACKAGE_REMOVED):
        return None
    running = intervals[-1]
    if running.slot != PACKAGE or running.end_ms is not None:
        return None
    for interval in intervals[:-1]:
        if interval.end_ms is None:  # an add-on
            return None
    started = None
    if kind == _PACKAGE_REMOVED:
        if fact.item is not None and fact.item != running.item:
            record.anomalies += 1
            return _NOTHING
    else:
        record.holder = len(record.facts) - 1
        location_id = running.location_id if fact.location_id == UNCHANGED else fact.location_id
        if fact.item == running.item and location_id == running.location_id:
            return _NOTHING
        started = Interval(PACKAGE, fact.item, location_id, fact.time_ms, None)  # type: ignore[arg-type]
    ended = Interval(PACKAGE, running.item, running.location_id, running.start_ms, fact.time_ms)
    intervals[-1] = ended
    if started is not None:
        intervals.append(started)
    return Step(ended, started)


def subscriber_in_force(
    facts: Sequence[SubscriberFact], deprovisions: Sequence[CustomerFact]
) -> list[SubscriberFact | CustomerFact]:
    """The facts that count, in the order of rule 10: a voided one counts as never sent, and a void states nothing."""
    counting: list[SubscriberFact | CustomerFact] = [*facts, *deprovisions]
    if _VOIDED in [fact.kind for fact in facts]:
        voided = {(fact.voids_source, fact.voids_id) for fact in facts if fact.kind == _VOIDED}
        counting = [fact for fact in facts if fact.kind != _VOIDED and (fact.source, fact.id) not in voided]
        counting += deprovisions
    # Most facts have an instant of their own, and making the whole order of a fact costs more than folding it.
    counting.sort(key=_time_of)
    if len({fact.time_ms for fact in counting}) < len(counting):
        counting.sort(key=order_of)
    return counting


def _fold_ordered(facts: list[SubscriberFact], in_force: list[SubscriberFact | CustomerFact]) -> SubscriberRecord:
    running = _Running()
    holding: SubscriberFact | None = None
    anomalies = 0
    previous: SubscriberFact | None = None
    for fact in in_force:
        kind = fact.kind
        now = fact.time_ms
        if kind == _CUSTOMER_DEPROVISIONED:
            running.end_all(now)
            continue
        assert type(fact) is SubscriberFact
        if fact.location_id != UNCHANGED and fact.location_id != running.location_id:
            running.move(fact.location_id, now)
        if kind == _PACKAGE_ASSIGNED or kind == _PACKAGE_CHANGED:
            assert fact.item is not None
            running.start_package(fact.item, now)
            holding = fact
            if previous is not None and _only_identity_orders(previous, fact):
                anomalies += 1
            previous = fact
        elif kind == _ADDON_ASSIGNED:
            assert fact.item is not None
            running.start_addon(fact.item, now)
            holding = fact
        elif kind == _PACKAGE_REMOVED:
            anomalies += not running.end_package(fact.item, now)
        elif kind == _ADDON_REMOVED:
            assert fact.item is not None
            anomalies += not running.end_addon(fact.item, now)
        elif kind == _SUBSCRIBER_REMOVED:
            anomalies += not running.end_all(now)
    holder = -1 if holding is None else facts.index(holding)
    return SubscriberRecord(facts, running.intervals(), holder, anomalies)


def _only_identity_orders(one: SubscriberFact, other: SubscriberFact) -> bool:
    """Two different assignments at one instant that nothing but (source, id) orders: an anomaly of rule 10."""
    return (
        one.time_ms == other.time_ms
        and one.kind == other.kind
        and one.sequence == other.sequence
        and (one.item != other.item or one.location_id != other.location_id)
    )


class _Running:
    """What a subscriber holds while the fold goes through its facts, and the intervals that have ended."""

    __slots__ = ("_addons", "_ended", "_last", "_package", "_package_since", "location_id")

    def __init__(self) -> None:
        self.location_id: str | None = None
        self._package: str | None = None
        self._package_since = 0
        self._addons: dict[str, int] = {}
        self._ended: list[Interval] = []
        # Where the latest ended interval of a slot, item and location stands in `_ended`: intervals that touch
        # and are equal are one (rule 11).
        self._last: dict[tuple[int, str, str | None], int] = {}

    def start_package(self, item: str, now: int) -> None:
        if item == self._package:
            return
        self.end_package(None, now)
        self._package = item
        self._package_since = now

    def start_addon(self, item: str, now: int) -> None:
        self._addons.setdefault(item, now)

    def end_package(self, item: str | None, now: int) -> bool:
        """End the package, if it is the named one or none is named; whether something ended."""
        package = self._package
        if package is None or (item is not None and item != package):
            return False
        self._end(PACKAGE, package, self._package_since, now)
        self._package = None
        return True

    def end_addon(self, item: str, now: int) -> bool:
        since = self._addons.pop(item, None)
        if since is None:
            return False
        self._end(ADDON, item, since, now)
        return True

    def end_all(self, now: int) -> bool:
        ended = self.end_package(None, now)
        for item in list(self._addons):
            self.end_addon(item, now)
            ended = True
        return ended

    def move(self, location_id: str | None, now: int) -> None:
        """Go on at another location: what runs ends here and starts there (rule 8)."""
        if self._package is not None:
            self._end(PACKAGE, self._package, self._package_since, now)
            self._package_since = now
        for item, since in self._addons.items():
            self._end(ADDON, item, since, now)
            self._addons[item] = now
        self.location_id = location_id

    def intervals(self) -> list[Interval]:
        """All intervals, ordered by start, slot and item."""
        if self._package is not None:
            self._end(PACKAGE, self._package, self._package_since, None)
        for item, since in self._addons.items():
            self._end(ADDON, item, since, None)
        self._ended.sort(key=_start_slot_item_of)
        return self._ended

    def _end(self, slot: int, item: str, start_ms: int, end_ms: int | None) -> None:
        if start_ms == end_ms:
            return
        what = (slot, item, self.location_id)
        index = self._last.get(what)
        if index is not None and self._ended[index].end_ms == start_ms:
            self._ended[index] = Interval(slot, item, self.location_id, self._ended[index].start_ms, end_ms)
            return
        self._last[what] = len(self._ended)
        self._ended.append(Interval(slot, item, self.location_id, start_ms, end_ms))
