"""Where a subscriber's fold stands: what runs since when. It takes facts in the order of rule 10. Rules 2, 5, 8, 9, 11.

The fold can stop at any fact and go on from its `Standing`: a subscriber with many facts is folded in blocks.
"""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from schemas.entitlements import ADDON, PACKAGE, Interval
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact

_PACKAGE_ASSIGNED = int(Kind.PACKAGE_ASSIGNED)
_ADDON_ASSIGNED = int(Kind.ADDON_ASSIGNED)
_PACKAGE_CHANGED = int(Kind.PACKAGE_CHANGED)
_PACKAGE_REMOVED = int(Kind.PACKAGE_REMOVED)
_ADDON_REMOVED = int(Kind.ADDON_REMOVED)
_SUBSCRIBER_REMOVED = int(Kind.SUBSCRIBER_REMOVED)
_CUSTOMER_DEPROVISIONED = int(Kind.CUSTOMER_DEPROVISIONED)

#: Slot, item and location of an interval.
What = tuple[int, str, str | None]


class Standing(Struct, frozen=True):
    """Where the fold stands between two facts. Equal ones give equal intervals from there on, whatever came before.

    `now_ms` is an instant that the next fact is not before. `just_ended`: the intervals that ended at that very
    instant, by their start; if they start again at it, they go on (rule 11). `previous`: the last package assignment
    of the instant.
    """

    now_ms: int | None
    location_id: str | None
    package: str | None
    package_since_ms: int
    addons: tuple[tuple[str, int], ...]
    just_ended: frozenset[tuple[What, int]]
    previous: SubscriberFact | None


START = Standing(None, None, None, 0, (), frozenset(), None)


class Running:
    """What a subscriber holds while the fold goes through its facts, and what it found on its way.

    `ended`: the intervals that ended, and cannot go on any more. `holding`: the last fact that carried a user or a
    workspace. `anomalies`: removals that found nothing, and assignments that only (source, id) orders.
    """

    __slots__ = (
        "_addons",
        "_just_ended",
        "_location_id",
        "_now",
        "_package",
        "_package_since",
        "_previous",
        "anomalies",
        "ended",
        "holding",
    )

    def __init__(self) -> None:
        self._now: int | None = None
        self._location_id: str | None = None
        self._package: str | None = None
        self._package_since = 0
        self._addons: dict[str, int] = {}
        self._just_ended: dict[What, int] = {}
        self._previous: SubscriberFact | None = None
        self.ended: list[Interval] = []
        self.holding: SubscriberFact | None = None
        self.anomalies = 0

    @classmethod
    def at(cls, standing: Standing) -> Self:
        """Go on from there."""
        running = cls()
        running._now = standing.now_ms
        running._location_id = standing.location_id
        running._package = standing.package
        running._package_since = standing.package_since_ms
        running._addons = dict(standing.addons)
        running._just_ended = dict(standing.just_ended)
        running._previous = standing.previous
        return running

    def standing(self) -> Standing:
        """Where it stands now."""
        return Standing(
            self._now,
            self._location_id,
            self._package,
            self._package_since,
            tuple(sorted(self._addons.items())),
            frozenset(self._just_ended.items()),
            self._previous,
        )

    def addon_count(self) -> int:
        """How many add-ons run."""
        return len(self._addons)

    def take(self, facts: Iterable[SubscriberFact | CustomerFact]) -> None:
        """Go through facts that follow on, in order."""
        for fact in facts:
            kind = fact.kind
            now = fact.time_ms
            if now != self._now:
                self.advance(now)
            if kind == _CUSTOMER_DEPROVISIONED:
                self._end_all(now)
                continue
            assert type(fact) is SubscriberFact
            if fact.location_id != UNCHANGED and fact.location_id != self._location_id:
                self._move(fact.location_id, now)
            if kind == _PACKAGE_ASSIGNED or kind == _PACKAGE_CHANGED:
                assert fact.item is not None
                if fact.item != self._package:
                    self._end_package(None, now)
                    self._package = fact.item
                    self._package_since = self._start(PACKAGE, fact.item, now)
                self.holding = fact
                if self._previous is not None and _only_identity_orders(self._previous, fact):
                    self.anomalies += 1
                self._previous = fact
            elif kind == _ADDON_ASSIGNED:
                assert fact.item is not None
                if fact.item not in self._addons:
                    self._addons[fact.item] = self._start(ADDON, fact.item, now)
                self.holding = fact
            elif kind == _PACKAGE_REMOVED:
                self.anomalies += not self._end_package(fact.item, now)
            elif kind == _ADDON_REMOVED:
                assert fact.item is not None
                self.anomalies += not self._end_addon(fact.item, now)
            elif kind == _SUBSCRIBER_REMOVED:
                self.anomalies += not self._end_all(now)

    def advance(self, now: int) -> None:
        """Come to a later instant (or the same one): what ended before it has ended for good."""
        then = self._now
        if now == then:
            return
        if self._just_ended:
            for (slot, item, location_id), start in self._just_ended.items():
                self.ended.append(Interval(slot, item, location_id, start, then))
            self._just_ended.clear()
        self._previous = None
        self._now = now

    def open_intervals(self) -> list[Interval]:
        """What is not in `ended` (yet): what runs, and what ended at the last instant."""
        found = [
            Interval(slot, item, location_id, start, self._now)
            for (slot, item, location_id), start in self._just_ended.items()
        ]
        if self._package is not None:
            found.append(Interval(PACKAGE, self._package, self._location_id, self._package_since, None))
        found += [Interval(ADDON, item, self._location_id, since, None) for item, since in self._addons.items()]
        return found

    def _end_package(self, item: str | None, now: int) -> bool:
        """End the package, if it is the named one or none is named; whether something ended."""
        package = self._package
        if package is None or (item is not None and item != package):
            return False
        self._end(PACKAGE, package, self._package_since, now)
        self._package = None
        return True

    def _end_addon(self, item: str, now: int) -> bool:
        since = self._addons.pop(item, None)
        if since is None:
            return False
        self._end(ADDON, item, since, now)
        return True

    def _end_all(self, now: int) -> bool:
        ended = self._end_package(None, now)
        for item in list(self._addons):
            self._end_addon(item, now)
            ended = True
        return ended

    def _move(self, location_id: str | None, now: int) -> None:
        """Go on at another location: what runs ends here and starts there (rule 8)."""
        if self._package is not None:
            self._end(PACKAGE, self._package, self._package_since, now)
        for item, since in self._addons.items():
            self._end(ADDON, item, since, now)
        self._location_id = location_id
        if self._package is not None:
            self._package_since = self._start(PACKAGE, self._package, now)
        for item in self._addons:
            self._addons[item] = self._start(ADDON, item, now)

    def _start(self, slot: int, item: str, now: int) -> int:
        """Since when something runs that starts now: what ended at this instant goes on (rule 11)."""
        return self._just_ended.pop((slot, item, self._location_id), now) if self._just_ended else now

    def _end(self, slot: int, item: str, since: int, now: int) -> None:
        if since != now:
            self._just_ended[slot, item, self._location_id] = since


class Recording(Running):
    """The same, noting each step of the intervals: what a fact does costs what it changes, not all that runs."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        super().__init__()
        #: (1: comes, -1: goes; the interval), in order.
        self.steps: list[tuple[int, Interval]] = []

    def _start(self, slot: int, item: str, now: int) -> int:
        since = super()._start(slot, item, now)
        if since != now:
            self.steps.append((-1, Interval(slot, item, self._location_id, since, now)))
        self.steps.append((1, Interval(slot, item, self._location_id, since, None)))
        return since

    def _end(self, slot: int, item: str, since: int, now: int) -> None:
        super()._end(slot, item, since, now)
        self.steps.append((-1, Interval(slot, item, self._location_id, since, None)))
        if since != now:
            self.steps.append((1, Interval(slot, item, self._location_id, since, now)))


def _only_identity_orders(one: SubscriberFact, other: SubscriberFact) -> bool:
    """Two different assignments at one instant that nothing but (source, id) orders: an anomaly of rule 10."""
    return (
        one.time_ms == other.time_ms
        and one.kind == other.kind
        and one.sequence == other.sequence
        and (one.item != other.item or one.location_id != other.location_id)
    )
