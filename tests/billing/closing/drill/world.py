"""Three months of many subscribers, from a seed: what is stated, and by which close it has arrived.

A fact arrives in the stage of its month, which ends with the month's close. Some come a stage or two later, so that they
cross closes; some are voided, then or later, and some are sent twice. A few orgs send a third of their customers a whole
month late: their corrections are too large to go out unseen. The fourth stage has only what is late, and its month is
closed to carry the last corrections.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import orjson

MONTHS = ("2026-07", "2026-08", "2026-09", "2026-10")
_BEGIN = [datetime(2026, month, 1, tzinfo=UTC) for month in (7, 8, 9, 10, 11)]
_BEGIN_MS = [int(begin.timestamp()) * 1000 for begin in _BEGIN]
#: When the records of a stage were appended: no fact of it is in their future.
APPENDED_MS = [begin_ms + 600_000 for begin_ms in _BEGIN_MS[1:]]
#: The last day of each month: what its stage closes.
CLOSED_DAY = [(begin - timedelta(days=1)).date() for begin in _BEGIN[1:]]
_STAGES = len(MONTHS)
#: Some held their packages before the first month began.
_FIRST_MS = _BEGIN_MS[0] - 10 * 86_400_000
_LAST_MS = _BEGIN_MS[3] - 1

_PACKAGES = ["COMMON_AREA_CALLING", "WEBEX_CALLING", "WEBEX_SUITE", "WEBEX_MEETINGS", "WEBEX_VOICE", "CX_ESSENTIALS"]
_ADDONS = ["CALL_RECORDING", "EXTRA_NUMBER"]
_ONE_TIME = ["SETUP_ASSIST_EXPRESS", "SETUP_ASSIST_STANDARD"]
#: How many decimal places the minor unit of each has (ISO 4217).
CURRENCIES = {"USD": 2, "EUR": 2, "JPY": 0, "BHD": 3}
_SUBSCRIBERS_OF_A_CUSTOMER = (4, 18)


@dataclass(frozen=True)
class Size:
    """How much of it. `late_per_mille`: of the facts, aside from those of the orgs that send all too late."""

    subscribers: int
    orgs: int
    seed: int
    late_per_mille: int = 20
    voided_per_mille: int = 10
    repeated_per_mille: int = 10


@dataclass(frozen=True)
class Org:
    """A partner, or a sub-partner where `parent` is set. `subscriptions`: those that its customers buy under."""

    id: str
    parent: str | None
    subscriptions: tuple[str, ...]
    weight: float
    careless: bool


@dataclass
class World:
    """The lines of each stage, in order of arrival; `counts`: how many facts of each sort there are."""

    size: Size
    orgs: list[Org] = field(default_factory=list)
    catalog: list[list[bytes]] = field(default_factory=lambda: [[] for _ in MONTHS])
    events: list[list[bytes]] = field(default_factory=lambda: [[] for _ in MONTHS])
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def partners(self) -> list[str]:
        """Who gets invoices."""
        return [org.id for org in self.orgs if org.parent is None]


def world_of(size: Size) -> World:
    """The same world for the same size."""
    world = World(size)
    rng = random.Random(size.seed)
    _found_orgs(world, rng)
    left = size.subscribers
    customer = 0
    weights = [org.weight for org in world.orgs]
    while left:
        # Each org has some customers, whatever its size.
        org = world.orgs[customer] if customer < len(world.orgs) else rng.choices(world.orgs, weights)[0]
        count = min(left, rng.randint(*_SUBSCRIBERS_OF_A_CUSTOMER))
        _Customer(world, rng, org, f"c-{customer}").live(count)
        left -= count
        customer += 1
    world.counts["customers"] = customer
    for of_stage in world.events:
        rng.shuffle(of_stage)
    return world


def _found_orgs(world: World, rng: random.Random) -> None:
    size = world.size
    tops = size.orgs - size.orgs // 4
    for n in range(tops):
        currencies = rng.sample(list(CURRENCIES), 2)
        names = tuple(f"Sub-{n}-{currency}" for currency in currencies[: 1 + (n % 5 == 0)])
        world.orgs.append(Org(f"P-{n}", None, names, 1 / (1 + n) ** 0.7, rng.random() < 0.06 or n == 1))
        _upsert(world, 0, f"partner-{n}", "partner", 2026, {"partnerOrgId": f"P-{n}", "name": f"Partner {n}", "subscriptionId": names[0], "provisioningState": "active"})  # fmt: skip
        for name in names:
            _price(world, rng, 0, f"P-{n}", name, _BEGIN[0] - timedelta(days=180))
            if n % 3 == 0:  # in force from the first instant of August on: not in July
                _price(world, rng, 1, f"P-{n}", name, _BEGIN[1])
            if n % 4 == 0:
                _price(world, rng, 2, f"P-{n}", name, _BEGIN[2] + timedelta(days=14))
    for n in range(size.orgs - tops):
        parent = world.orgs[rng.randrange(tops)]
        org = Org(f"S-{n}", parent.id, parent.subscriptions, rng.random() / 4, rng.random() < 0.06)
        world.orgs.append(org)
        data = {
            "partnerOrgId": org.id,
            "name": f"Reseller {n}",
            "parentOrgId": parent.id,
            "provisioningState": "active",
        }
        if n % 3 == 0:
            data["billingStartDate"] = "2026-08-10"
        _upsert(world, 0, f"reseller-{n}", "partner", 2026, data)


def _price(world: World, rng: random.Random, stage: int, partner: str, name: str, when: datetime) -> None:
    kinds = {"package": _PACKAGES, "addon": _ADDONS, "one-time": _ONE_TIME}
    services = [
        {"service": item, "sku": f"A-{item}", "description": item.title(), "kind": kind, "unitPrice": f"{rng.randint(1, 19)}.{rng.randrange(10_000):04d}"}
        for kind, items in kinds.items()
        for item in items
    ]  # fmt: skip
    data = {"subscriptionId": name, "partnerOrgId": partner, "currency": name[-3:], "services": services}
    _upsert(world, stage, f"{name}-{stage}", "subscription", when, data)


def _upsert(world: World, stage: int, own_id: str, what: str, when: datetime | int, data: Mapping[str, object]) -> None:
    time = when.isoformat() if isinstance(when, datetime) else f"{when}-01-01T00:00:00Z"
    world.catalog[stage].append(_line(own_id, "/catalog", f"wholesale.{what}.upserted.v1", time, data))


def _line(own_id: str, source: str, kind: str, time: str, data: Mapping[str, object]) -> bytes:
    return orjson.dumps(
        {"specversion": "1.0", "id": own_id, "source": source, "type": kind, "time": time, "data": data}
    )


def _time_text(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _stage_of(time_ms: int) -> int:
    return sum(time_ms >= begin_ms for begin_ms in _BEGIN_MS[1:3])


class _Customer:
    """One customer: states its facts, each with the stage in which it arrives."""

    def __init__(self, world: World, rng: random.Random, org: Org, customer_id: str) -> None:
        self._world = world
        self._rng = rng
        self._org = org
        self._id = customer_id
        self._facts = 0
        # A small customer buys few things at few places.
        self._packages = rng.sample(_PACKAGES, 2 if rng.random() < 0.8 else 4)
        self._addon = rng.choice(_ADDONS)
        self._locations = [f"l-{n}" for n in range(1 if rng.random() < 0.8 else 3)]
        self._all_late = org.careless and rng.random() < 0.3

    def live(self, subscribers: int) -> None:
        """Everything that ever happens to it."""
        rng = self._rng
        begin_ms = rng.randint(_FIRST_MS, _BEGIN_MS[1])
        described: dict[str, object] = {"externalId": f"x-{self._id}"}
        if len(self._org.subscriptions) > 1 and rng.random() < 0.3:
            described["subscriptionId"] = self._org.subscriptions[1]
        if rng.random() < 0.01:
            described["internal"] = True
        self._state("customer.provisioned", begin_ms, described)
        if rng.random() < 0.01:
            self._state("customer.updated", rng.randint(begin_ms, _LAST_MS), {"internal": rng.random() < 0.5})
        if len(self._org.subscriptions) > 1 and rng.random() < 0.05:
            moved = {"subscriptionId": rng.choice(self._org.subscriptions)}
            self._state("customer.updated", rng.randint(begin_ms, _LAST_MS), moved)
        if rng.random() < 0.15:
            self._order(rng.randint(begin_ms, _LAST_MS))
        for n in range(subscribers):
            self._subscribe(f"s-{n}", begin_ms)
        if rng.random() < 0.02:
            self._state("customer.deprovisioned", rng.randint(begin_ms, _LAST_MS), {})
        self._world.counts["subscribers"] += subscribers

    def _order(self, time_ms: int) -> None:
        rng = self._rng
        order: dict[str, object] = {"orderId": "o-1", "locationId": "l-0", "seats": rng.randint(1, 30)}
        self._state("setup-assist.ordered", time_ms, order)
        if rng.random() < 0.1:
            self._state("setup-assist.cancelled", rng.randint(time_ms, _LAST_MS), {"orderId": "o-1"})

    def _subscribe(self, subscriber_id: str, begin_ms: int) -> None:
        rng = self._rng
        # Most of a customer's people come with it, the others some time later.
        start_ms = begin_ms + rng.randint(0, 7_200_000) if rng.random() < 0.6 else rng.randint(begin_ms, _LAST_MS)
        kind = "userId" if rng.random() < 0.9 else "workspaceId"
        holder: dict[str, object] = {"subscriberId": subscriber_id, kind: f"h-{subscriber_id}"}
        package = rng.choice(self._packages)
        at = {"locationId": rng.choice(self._locations)} if rng.random() < 0.9 else {}
        self._state("package.assigned", start_ms, {**holder, "package": package, **at})
        who = {"subscriberId": subscriber_id}
        for time_ms in sorted(rng.randint(start_ms, _LAST_MS) for _ in range(rng.choice((0, 0, 1, 1, 2, 4)))):
            what = rng.random()
            if what < 0.35:
                package = rng.choice(self._packages)
                self._state("package.changed", time_ms, {**holder, "package": package})
            elif what < 0.55:
                self._state("package.removed", time_ms, {**who, "package": package} if rng.random() < 0.8 else who)
            elif what < 0.65:
                package = rng.choice(self._packages)
                self._state("package.assigned", time_ms, {**holder, "package": package})
            elif what < 0.75:
                self._state("subscriber.moved", time_ms, {**who, "locationId": rng.choice([*self._locations, None])})
            elif what < 0.9:
                self._state("addon.assigned", time_ms, {**holder, "addon": self._addon})
            elif what < 0.96:
                self._state("addon.removed", time_ms, {**who, "addon": self._addon})
            else:
                self._state("subscriber.removed", time_ms, who)

    def _state(self, what: str, time_ms: int, data: Mapping[str, object]) -> None:
        rng, world = self._rng, self._world
        arrives = due = _stage_of(time_ms)
        if self._all_late:
            arrives = due + 1
            world.counts["facts of customers that come a month late"] += 1
        elif rng.randrange(1000) < world.size.late_per_mille:
            arrives = min(due + (1 if rng.random() < 0.7 else 2), _STAGES - 1)
            world.counts["late facts"] += 1
        own_id = self._send(what, time_ms, data, arrives)
        world.counts["facts"] += 1
        if rng.randrange(1000) < world.size.voided_per_mille:
            voids: dict[str, object] = {"voids": {"source": "/shop", "id": own_id}}
            if "subscriberId" in data:
                voids["subscriberId"] = data["subscriberId"]
            # Also before the fact that it voids.
            self._send("event.voided", time_ms, voids, rng.randint(due, min(arrives + 1, _STAGES - 1)))
            world.counts["voids"] += 1

    def _send(self, what: str, time_ms: int, data: Mapping[str, object], arrives: int) -> str:
        self._facts += 1
        own_id = f"{self._id}-{self._facts}"
        data = {"partnerOrgId": self._org.id, "customerOrgId": self._id, **data}
        line = _line(own_id, "/shop", f"wholesale.{what}.v1", _time_text(time_ms), data)
        self._world.events[arrives].append(line)
        if self._rng.randrange(1000) < self._world.size.repeated_per_mille:
            self._world.events[self._rng.randint(arrives, _STAGES - 1)].append(line)
            self._world.counts["repeats"] += 1
        return own_id


def period_days(month: str) -> tuple[date, date]:
    """First and last day of a month of the drill."""
    return date.fromisoformat(f"{month}-01"), CLOSED_DAY[MONTHS.index(month)]
