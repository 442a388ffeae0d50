"""The fold: a subscriber's facts, in the order of rule 10, to its intervals. Rules 2, 5, 8, 9 and 11."""

from collections.abc import Sequence
from operator import attrgetter

from msgspec import Struct

from schemas.entitlements import ADDON, PACKAGE, Interval, SubscriberRecord
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact, order_of
from streams.core.running import Running

_PACKAGE_ASSIGNED = int(Kind.PACKAGE_ASSIGNED)
_ADDON_ASSIGNED = int(Kind.ADDON_ASSIGNED)
_PACKAGE_CHANGED = int(Kind.PACKAGE_CHANGED)
_PACKAGE_REMOVED = int(Kind.PACKAGE_REMOVED)
_ADDON_REMOVED = int(Kind.ADDON_REMOVED)
_SUBSCRIBER_REMOVED = int(Kind.SUBSCRIBER_REMOVED)
_VOIDED = int(Kind.VOIDED)


_time_of = attrgetter("time_ms")
#: The order of a subscriber's intervals; no two of them have the same.
start_slot_item_of = attrgetter("start_ms", "slot", "item")


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
    running = Running()
    running.take(in_force)
    holder = -1 if running.holding is None else facts.index(running.holding)
    intervals = running.ended + running.open_intervals()
    intervals.sort(key=start_slot_item_of)
    return SubscriberRecord(facts, intervals, holder, running.anomalies)
