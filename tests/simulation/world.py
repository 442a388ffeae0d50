"""What happens in one simulated world: the records of each partition, and what must come of them, by the oracle.

Worlds are small so that facts meet: few customers and subscribers, few instants, late facts, voids, moves, orders,
deprovisionings, duplicates, conflicts, records to refuse. The order of a partition's records is the world's; when each
is appended is the schedule's, but never before the time that it speaks of.
"""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from schemas.instants import day_number
from tests.oracle import metering
from tests.streams.strategies import DAY_MS, FIRST_DAY, Event

#: Days of October on which something can happen.
DAYS = 3
#: By then everything was sent.
LAST_ARRIVAL_MS = (FIRST_DAY + DAYS + 1) * DAY_MS
#: Far enough ahead of all that worlds speak of; what lies beyond is refused whenever it arrives.
_RECEIVED_AT_MS = (FIRST_DAY + 60) * DAY_MS

_TIMES_OF_DAY = (0, 0, 1, 43, 44, 43_200_000, 60_000_000, DAY_MS - 43, DAY_MS - 1)
_PACKAGES = ("A", "A", "B")
_ADDONS = ("X", "Y")
_LOCATIONS: tuple[str | None, ...] = ("L1", "L2", None)
_HOLDERS = ({"userId": "u1"}, {"userId": "u2"}, {"workspaceId": "w1"})
_ATTRIBUTES = ({"name": "N1"}, {"name": "N2"}, {"internal": True}, {"internal": False}, {"subscriptionId": "sub-2"})
_KINDS = (
    (metering.ASSIGNED,) * 9
    + (metering.REMOVED,) * 5
    + (metering.CHANGED, metering.MOVED, metering.ADDON_ASSIGNED, metering.DEPROVISIONED, metering.ORDERED) * 2
    + (metering.ADDON_REMOVED, metering.SUBSCRIBER_REMOVED, metering.UPDATED, metering.PROVISIONED, metering.CANCELLED)
    + (metering.VOIDED,) * 4
)
_OF_CUSTOMERS = (
    metering.DEPROVISIONED,
    metering.UPDATED,
    metering.PROVISIONED,
    metering.ORDERED,
    metering.CANCELLED,
)

Account = tuple[str, str]
Intervals = tuple[tuple[bool, str, str, int, int | None], ...]


@dataclass(frozen=True)
class Sent:
    """One record that is going to be sent. `not_before_ms`: the earliest time at which it can be appended."""

    key: bytes | None
    value: bytes | None
    not_before_ms: int


@dataclass
class Expected:
    """What the oracle says of a world, whatever the schedule. Indices are those of `World.sent`."""

    timelines: dict[tuple[str, str, str], dict[tuple[str, str], list[tuple[int, int | None]]]] = field(
        default_factory=dict
    )
    people: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    customers: dict[Account, dict[str, Any]] = field(default_factory=dict)
    orders: dict[Account, list[tuple[str, str, int, int]]] = field(default_factory=dict)
    #: (partner, customer, location, item, day) -> (microdays, active), where either is not zero.
    days: dict[tuple[str, str, str, str, int], tuple[int, int]] = field(default_factory=dict)
    #: Per partition: index of the record -> reason.
    refused: dict[int, dict[int, str]] = field(default_factory=dict)
    metered: dict[int, int] = field(default_factory=dict)
    duplicates: dict[int, int] = field(default_factory=dict)
    catalog_refused: dict[int, str] = field(default_factory=dict)
    catalog_versions: frozenset[int] = frozenset()


@dataclass
class World:
    """The records to send, per partition of `package-assignments`, and to `catalog`."""

    partitions: int
    sent: list[list[Sent]]
    catalog: list[Sent]
    partition_of: dict[Account, int]
    expected: Expected

    @property
    def about_catalog(self) -> bool:
        """Whether there is hardly anything but catalog records."""
        return len(self.catalog) > 20


@lru_cache(maxsize=4)
def world(seed: int) -> World:
    """The world of a seed."""
    return _World(random.Random(seed)).made()


class _World:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.partitions = rng.choice((1, 2, 2, 3))
        customers = rng.choice((2, 3, 4))
        accounts = [("P", "c0"), ("S", "c0")]
        accounts += [(rng.choice("PSQ"), f"c{number}") for number in range(1, customers)]
        self.accounts = accounts
        self.partition_of = {account: int(account[1][1:]) % self.partitions for account in accounts}
        self.events: list[Event] = []
        # Some worlds are about the catalog: its sinks have nothing else to do, and meet more often.
        self.event_count, self.catalog_records = rng.choice(
            ((10, 0), (10, 2), (16, 5), (16, 0), (24, 5), (24, 0), (36, 2), (36, 0), (6, 24))
        )

    def made(self) -> World:
        rng = self.rng
        arrivals: list[tuple[int, Event]] = []
        for number in range(self.event_count):
            event = self._event(number)
            self.events.append(event)
            for _ in range(2 if rng.random() < 0.08 else 1):
                arrivals.append((event.time_ms + self._delay_ms(), event))
            if rng.random() < 0.05:
                arrivals.append((event.time_ms + self._delay_ms(), self._conflicting(event)))
        arrivals = [(min(arrives_ms, LAST_ARRIVAL_MS), event) for arrives_ms, event in arrivals]
        arrivals.sort(key=lambda arrival: arrival[0])
        sent: list[list[Sent]] = [[] for _ in range(self.partitions)]
        lines: list[tuple[int, int, bytes]] = []
        refused: dict[int, dict[int, str]] = defaultdict(dict)
        for arrives_ms, event in arrivals:
            partition = self.partition_of[event.data["partnerOrgId"], event.data["customerOrgId"]]
            if rng.random() < 0.05:
                bad, reason = self._bad(event)
                refused[partition][len(sent[partition])] = reason
                sent[partition].append(replace(bad, not_before_ms=arrives_ms))
            lines.append((partition, len(sent[partition]), event.value(rng.randrange(30))))
            sent[partition].append(Sent(event.key, lines[-1][2], arrives_ms))
        catalog, catalog_lines = self._catalog()
        expected = self._expected(lines, catalog_lines, refused)
        return World(self.partitions, sent, catalog, self.partition_of, expected)

    # ---- events

    def _delay_ms(self) -> int:
        """Most facts come at once, some some hours late, some after days were closed."""
        pick = self.rng.random()
        if pick < 0.6:
            return self.rng.randrange(1_000)
        return self.rng.randrange(DAY_MS // 2 if pick < 0.8 else 3 * DAY_MS)

    def _event(self, number: int) -> Event:
        rng = self.rng
        kind = rng.choice(_KINDS)
        account = rng.choice(self.accounts)
        data: dict[str, Any] = {"partnerOrgId": account[0], "customerOrgId": account[1]}
        time_ms = (FIRST_DAY + rng.randrange(DAYS)) * DAY_MS + rng.choice(_TIMES_OF_DAY)
        if kind == metering.VOIDED and not self.events:
            kind = metering.UPDATED
        if kind == metering.VOIDED:
            data = self._void(rng.choice(self.events))
        else:
            data |= self._members(kind)
        # An identity is scoped by subscriber: ids are reused across them, and now and then within one.
        own_id = f"{number}" if rng.random() < 0.9 else f"{rng.randrange(8)}"
        sequence = rng.choice(("1", "2", "10")) if rng.random() < 0.15 else None
        return Event(kind, rng.choice(("/a", "/b")), own_id, time_ms, sequence, data)

    def _members(self, kind: str) -> dict[str, Any]:
        rng = self.rng
        if kind in (metering.UPDATED, metering.PROVISIONED):
            needed = {"externalId": rng.choice(("e1", "e2"))} if kind == metering.PROVISIONED else {}
            return {**needed, **rng.choice(_ATTRIBUTES)}
        if kind == metering.DEPROVISIONED:
            return {}
        if kind == metering.CANCELLED:
            return {"orderId": rng.choice(("o1", "o2"))}
        if kind == metering.ORDERED:
            return {"orderId": rng.choice(("o1", "o2")), "locationId": "L1", "seats": rng.choice((1, 5, 6, 40))}
        data: dict[str, Any] = {"subscriberId": rng.choice(("s1", "s1", "s2", "s3"))}
        if kind in (metering.ASSIGNED, metering.CHANGED, metering.ADDON_ASSIGNED):
            name, items = ("addon", _ADDONS) if kind == metering.ADDON_ASSIGNED else ("package", _PACKAGES)
            data |= {name: rng.choice(items), **rng.choice(_HOLDERS)}
            if rng.random() < 0.6:
                data["locationId"] = rng.choice(_LOCATIONS)
        elif kind == metering.REMOVED and rng.random() < 0.5:
            data["package"] = rng.choice(_PACKAGES)
        elif kind == metering.ADDON_REMOVED:
            data["addon"] = rng.choice(_ADDONS)
        elif kind == metering.MOVED:
            data["locationId"] = rng.choice(_LOCATIONS)
        return data

    def _void(self, target: Event) -> dict[str, Any]:
        data = {name: target.data[name] for name in ("partnerOrgId", "customerOrgId")}
        if "subscriberId" in target.data and self.rng.random() < 0.9:
            data["subscriberId"] = target.data["subscriberId"]
        return {**data, "voids": {"source": target.source, "id": target.id}}

    def _conflicting(self, event: Event) -> Event:
        return replace(event, time_ms=event.time_ms - self.rng.choice((1, 3_600_000, DAY_MS)))

    def _bad(self, event: Event) -> tuple[Sent, str]:
        document = json.loads(event.value())
        pick = self.rng.randrange(7)
        if pick == 0:
            return Sent(event.key, event.value()[:-1], 0), "not-json"
        if pick == 1:
            return Sent(event.key, None, 0), "not-json"
        if pick == 2:
            return Sent(b"another", event.value(), 0), "key-mismatch"
        changed, reason = (
            ({"type": "wholesale.package.renamed.v1"}, "unknown-type"),
            ({"specversion": "0.3"}, "not-cloudevent"),
            ({"time": "2100-01-01T00:00:00Z"}, "too-far-in-future"),
            ({"time": "1999-12-31T23:59:59Z"}, "before-horizon"),
        )[pick - 3]
        return Sent(event.key, json.dumps({**document, **changed}).encode(), 0), reason

    # ---- catalog

    def _catalog(self) -> tuple[list[Sent], list[bytes]]:
        rng = self.rng
        lines: list[bytes] = []
        sent: list[Sent] = []
        for number in range(self.catalog_records):
            identifier = rng.choice("PS")
            data = {"partnerOrgId": identifier, "name": rng.choice(("One", "Two")), "provisioningState": "active"}
            event = {
                "specversion": "1.0",
                # Identities are used again: for the same (a duplicate) and for other content (a conflict).
                "id": str(rng.randrange(max(4, self.catalog_records // 2))),
                "source": "/c",
                "type": metering.PARTNER,
                "time": f"2026-09-{rng.randrange(1, 3):02d}T00:00:00Z",
                "data": data,
            }
            if rng.random() < 0.1:
                event["specversion"] = "2.0"
            line = json.dumps(event).encode()
            lines.append(line)
            sent.append(
                Sent(
                    f"partner/{identifier}".encode(), line, (FIRST_DAY + number * DAYS // self.catalog_records) * DAY_MS
                )
            )
        return sent, lines

    # ---- what must come of it

    def _expected(
        self,
        lines: Sequence[tuple[int, int, bytes]],
        catalog_lines: Sequence[bytes],
        refused: dict[int, dict[int, str]],
    ) -> Expected:
        oracle = metering.meter(catalog_lines, [line for _, _, line in lines], received_at_ms=_RECEIVED_AT_MS)
        expected = Expected()
        for partition in range(self.partitions):
            expected.refused[partition] = dict(refused[partition])
            expected.metered[partition] = sum(1 for where, _, _ in lines if where == partition)
            expected.duplicates[partition] = 0
        for number, reason in oracle.refused:
            partition, index, _ = lines[number]
            expected.refused[partition][index] = reason
            expected.metered[partition] -= 1
        for number in oracle.duplicates:
            partition = lines[number][0]
            expected.duplicates[partition] += 1
            expected.metered[partition] -= 1
        for holding in oracle.holdings:
            pieces = expected.timelines.setdefault((*holding.account, holding.subscriber), {}).setdefault(
                (holding.item, holding.location or ""), []
            )
            if pieces and pieces[-1][1] == holding.start_ms:
                pieces[-1] = (pieces[-1][0], holding.end_ms)
            else:
                pieces.append((holding.start_ms, holding.end_ms))
        expected.people = {(*who[0], who[1]): pair for who, pair in oracle.people.items() if pair != ("", "")}
        expected.customers = oracle.customers
        for order in oracle.orders:
            day = (order.day - metering.EPOCH).days
            expected.orders.setdefault(order.account, []).append((order.item, order.location, day, order.microdays))
        through = metering.EPOCH + timedelta(days=FIRST_DAY + 3 * DAYS)
        expected.days = {
            (partner, customer, location or "", item, day_number(day.isoformat())): value
            for (partner, customer, location, item, day), value in metering.daily_usage(oracle, through).items()
        }
        catalog = metering.accept(catalog_lines, metering.CATALOG_FIELDS, metering.catalog_identity, _RECEIVED_AT_MS)
        expected.catalog_refused = dict(oracle.catalog_refused)
        expected.catalog_versions = frozenset(
            set(range(len(catalog_lines))) - set(catalog.duplicates) - set(expected.catalog_refused)
        )
        return expected
