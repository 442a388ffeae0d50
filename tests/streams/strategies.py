"""A small world for laws: few subscribers, few instants, much trouble.

Worlds are small so that facts meet: equal instants with and without `sequence`, milliseconds around midnights,
moves, late removals, voids of everything (voids too), orders, deprovisionings. An `Event` is what is stated;
`Event.value` writes it down in one of several spellings, which all are the same fact.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from schemas.instants import day_number, day_text, parse_time_ms

APPENDED_MS = parse_time_ms("2026-11-15T00:00:00Z")
FIRST_DAY = day_number("2026-10-01")
LAST_DAY = FIRST_DAY + 4
DAY_MS = 86_400_000

ACCOUNTS = (("P", "c1"), ("P", "c2"), ("S", "c1"), ("Q", "c3"))
SUBSCRIBERS = ("s1", "s2")
PARTNERS = ("P", "Q")
#: Sub-partner and its parent.
CHILDREN = {"S": "P"}

_SOURCES = ("/a", "/b")
_SEQUENCES = (None, None, None, "1", "2", "10")
_LOCATIONS: tuple[str | None, ...] = ("L1", "L2", None)
_PACKAGES = ("A", "B")
_ADDONS = ("X", "Y")
_HOLDERS = ({"userId": "u1"}, {"userId": "u2"}, {"workspaceId": "w1"})
#: Milliseconds of a day: around its midnight, where the grid rounds (43 ms are nothing, 44 a microday), and inside.
_TIMES_OF_DAY = (0, 1, 43, 44, 43_200_000, DAY_MS - 43, DAY_MS - 1)
INSTANTS = tuple((FIRST_DAY + day) * DAY_MS + time for day in (0, 1, 3) for time in _TIMES_OF_DAY)

_ASSIGNED = "wholesale.package.assigned.v1"
_CHANGED = "wholesale.package.changed.v1"
_REMOVED = "wholesale.package.removed.v1"
_ADDON_ASSIGNED = "wholesale.addon.assigned.v1"
_ADDON_REMOVED = "wholesale.addon.removed.v1"
_SUBSCRIBER_REMOVED = "wholesale.subscriber.removed.v1"
_MOVED = "wholesale.subscriber.moved.v1"
_PROVISIONED = "wholesale.customer.provisioned.v1"
_UPDATED = "wholesale.customer.updated.v1"
_DEPROVISIONED = "wholesale.customer.deprovisioned.v1"
_ORDERED = "wholesale.setup-assist.ordered.v1"
_CANCELLED = "wholesale.setup-assist.cancelled.v1"
_VOIDED = "wholesale.event.voided.v1"
_CLOSED = "rtmeter.day.closed.v1"

# As often as they stand here.
_OF_SUBSCRIBERS = (
    (_ASSIGNED,) * 5
    + (_REMOVED,) * 3
    + (_CHANGED, _CHANGED, _MOVED, _MOVED, _ADDON_ASSIGNED, _ADDON_ASSIGNED, _ADDON_REMOVED, _SUBSCRIBER_REMOVED)
)
_OF_CUSTOMERS = (_PROVISIONED, _UPDATED, _DEPROVISIONED, _DEPROVISIONED, _ORDERED, _ORDERED, _CANCELLED)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of `package-assignments`, as the core takes it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Event:
    """One event, normalised: equal ones of one identity are duplicates, others of it conflicts."""

    type: str
    source: str
    id: str
    time_ms: int
    sequence: str | None
    data: dict[str, Any]

    @property
    def key(self) -> bytes | None:
        customer = self.data.get("customerOrgId")
        return None if customer is None else customer.encode()

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Account, subscriber if any, source, id."""
        scope = [self.data.get(name) for name in ("partnerOrgId", "customerOrgId", "subscriberId")]
        return (*scope, self.source, self.id)

    @property
    def closes(self) -> bool:
        return self.type == _CLOSED

    def value(self, spelling: int = 0) -> bytes:
        """The event's text. Every spelling is the same fact: other offsets, cases, orders, unknown members."""
        data = dict(self.data)
        if spelling % 2:
            for name in ("package", "addon"):
                if name in data:
                    data[name] = data[name].lower()
            data["unknown"] = {"nested": [spelling]}
        document: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": _time_text(self.time_ms, spelling),
            "data": data,
        }
        if self.sequence is not None:
            document["sequence"] = self.sequence
        elif spelling % 3 == 2:
            document["sequence"] = None
        if spelling % 5 == 3:
            document["extension"] = "é"
        return json.dumps(document, ensure_ascii=spelling % 2 == 0).encode()


def as_records(events: list[Event], spellings: list[int] | None = None) -> list[Record]:
    """The events as the records of a partition, from offset 0."""
    return [
        Record(offset, APPENDED_MS, event.key, event.value(spellings[offset % len(spellings)] if spellings else 0))
        for offset, event in enumerate(events)
    ]


def day_close(day: int, number: int = 0) -> Event:
    """A record that closes the days up to `day` (days since the epoch)."""
    return Event(_CLOSED, "/close", str(number), (day + 1) * DAY_MS, None, {"day": day_text(day)})


def _time_text(time_ms: int, spelling: int) -> str:
    """RFC 3339: in UTC, or two hours ahead of it and with finer digits."""
    ahead_ms = 7_200_000 if spelling % 4 == 1 else 0
    day, ms = divmod(time_ms + ahead_ms, DAY_MS)
    second, fraction = divmod(ms, 1000)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    if ahead_ms:
        return f"{day_text(day)}T{clock}.{fraction:03d}999+02:00"
    return f"{day_text(day)}T{clock}.{fraction:03d}Z" if fraction else f"{day_text(day)}T{clock}Z"


def _choice(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


# The same strategies again and again: building one costs more than drawing from it.
_INSTANT = _choice(INSTANTS)
_SEQUENCE = _choice(_SEQUENCES)
_SOURCE = _choice(_SOURCES)
_ACCOUNT = _choice(ACCOUNTS[:1] * 5 + ACCOUNTS[1:])
_SUBSCRIBER = _choice(SUBSCRIBERS[:1] * 2 + SUBSCRIBERS[1:])
_KIND = _choice(_OF_SUBSCRIBERS * 2 + _OF_CUSTOMERS + (_VOIDED,) * 6)
_PACKAGE = _choice(_PACKAGES)
_REMOVED_PACKAGE = _choice((*_PACKAGES, None))
_ADDON = _choice(_ADDONS)
_HOLDER = _choice(_HOLDERS)
_LOCATION = _choice(_LOCATIONS)
#: "absent": the event carries no location.
_CARRIED_LOCATION = _choice(("absent", "absent", *_LOCATIONS))
_ORDER = _choice(("o1", "o2"))
_SEATS = _choice((1, 5, 6, 40))
_ATTRIBUTES = _choice(
    ({}, {"name": "=Name"}, {"internal": True}, {"internal": False}, {"subscriptionId": "sub-2"}, {"externalId": "e2"})
)
_NUMBER = st.integers(0, 30)
#: Whom a void names: the subscriber of its target, or another, where it finds nothing.
_AIM = _choice(("its own", "its own", "its own", "s1", "none"))


@st.composite
def worlds(draw: Any, min_size: int = 1, max_size: int = 12, *, conflicts: bool = False) -> list[Event]:
    """Events of a small world. The order of the list is no order of time: laws that need one permute it.

    Identities are used once each, unless `conflicts` are wanted: then most of them are used for several contents.
    """
    used: dict[tuple[Any, ...], int] = {}
    events: list[Event] = []
    for _ in range(draw(st.integers(min_size, max_size))):
        kind = draw(_KIND)
        if kind == _VOIDED and events:
            data = _void_of(events[draw(_NUMBER) % len(events)], draw(_AIM))
        else:
            data = draw(_FACTS[_UPDATED if kind == _VOIDED else kind])
            kind = _UPDATED if kind == _VOIDED else kind
        source = draw(_SOURCE)
        scope = (data["partnerOrgId"], data["customerOrgId"], data.get("subscriberId"), source)
        # Counted by scope, so that one (source, id) is used for many subscribers: that is no conflict.
        number = used[scope] = used.get(scope, 0) + 1
        # The ids are not in the order of the list, so that what only they order is not ordered by it.
        own_id = str(number % 2) if conflicts else f"{(number * 7) % 10}-{number}"
        events.append(Event(kind, source, own_id, draw(_INSTANT), draw(_SEQUENCE), data))
    return events


def _void_of(target: Event, aim: str) -> dict[str, Any]:
    data = {name: target.data[name] for name in ("partnerOrgId", "customerOrgId")}
    if aim == "its own" and "subscriberId" in target.data:
        data["subscriberId"] = target.data["subscriberId"]
    elif aim == "s1":
        data["subscriberId"] = "s1"
    return {**data, "voids": {"source": target.source, "id": target.id}}


@st.composite
def _data(draw: Any, kind: str) -> dict[str, Any]:
    partner, customer = draw(_ACCOUNT)
    data: dict[str, Any] = {"partnerOrgId": partner, "customerOrgId": customer}
    if kind in _OF_SUBSCRIBERS:
        data["subscriberId"] = draw(_SUBSCRIBER)
    if kind in (_ASSIGNED, _CHANGED, _ADDON_ASSIGNED):
        name, items = ("addon", _ADDON) if kind == _ADDON_ASSIGNED else ("package", _PACKAGE)
        data |= {name: draw(items), **draw(_HOLDER)}
        location = draw(_CARRIED_LOCATION)
        if location != "absent":
            data["locationId"] = location
    elif kind == _REMOVED:
        package = draw(_REMOVED_PACKAGE)
        if package is not None:
            data["package"] = package
    elif kind == _ADDON_REMOVED:
        data["addon"] = draw(_ADDON)
    elif kind == _MOVED:
        data["locationId"] = draw(_LOCATION)
    elif kind == _PROVISIONED:
        data |= {"externalId": "e1", **draw(_ATTRIBUTES)}
    elif kind == _UPDATED:
        data |= draw(_ATTRIBUTES)
    elif kind == _ORDERED:
        data |= {"orderId": draw(_ORDER), "locationId": draw(_choice(_LOCATIONS[:2])), "seats": draw(_SEATS)}
    elif kind == _CANCELLED:
        data["orderId"] = draw(_ORDER)
    return data


_FACTS = {kind: _data(kind) for kind in {*_OF_SUBSCRIBERS, *_OF_CUSTOMERS}}


@st.composite
def arrivals(draw: Any, world: st.SearchStrategy[list[Event]], *, repeats: int = 4) -> list[Event]:
    """The events of a world in any order, some of them more than once."""
    events = draw(world)
    order = draw(st.permutations(range(len(events))))
    again = draw(st.lists(st.tuples(_NUMBER, _NUMBER), max_size=repeats))
    arrived = [events[index] for index in order]
    for what, where in again:
        arrived.insert(where % (len(arrived) + 1), events[what % len(events)])
    return arrived


@st.composite
def with_closes(draw: Any, arrived: st.SearchStrategy[list[Event]], *, most: int = 3) -> list[Event]:
    """The arrivals with day closes in between: in order or not, repeated, before and after all usage."""
    events = list(draw(arrived))
    days = draw(st.lists(st.integers(FIRST_DAY, LAST_DAY), min_size=1, max_size=most))
    for number, day in enumerate(days):
        events.insert(draw(_NUMBER) % (len(events) + 1), day_close(day, number))
    return events


#: Lengths of the batches that a partition is read in; used over and over.
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=5)
spellings = st.lists(st.integers(0, 29), min_size=1, max_size=5)
