"""Metering by looking backwards. Rule numbers are those of the domain rules; "contract" is the event contract.

Ambiguities are resolved where they occur, in the docstring of the function that meets them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

MICRO = 1_000_000
DAY_MS = 86_400_000
HORIZON_MS = 946_684_800_000  # 2000-01-01T00:00Z
FUTURE_MS = 5 * 60 * 1000
MAX_BYTES = 1_048_576
EPOCH = date(1970, 1, 1)

PROVISIONED = "wholesale.customer.provisioned.v1"
UPDATED = "wholesale.customer.updated.v1"
DEPROVISIONED = "wholesale.customer.deprovisioned.v1"
ASSIGNED = "wholesale.package.assigned.v1"
CHANGED = "wholesale.package.changed.v1"
REMOVED = "wholesale.package.removed.v1"
ADDON_ASSIGNED = "wholesale.addon.assigned.v1"
ADDON_REMOVED = "wholesale.addon.removed.v1"
SUBSCRIBER_REMOVED = "wholesale.subscriber.removed.v1"
MOVED = "wholesale.subscriber.moved.v1"
ORDERED = "wholesale.setup-assist.ordered.v1"
CANCELLED = "wholesale.setup-assist.cancelled.v1"
VOIDED = "wholesale.event.voided.v1"
DAY_CLOSED = "rtmeter.day.closed.v1"
PARTNER = "wholesale.partner.upserted.v1"
SUBSCRIPTION = "wholesale.subscription.upserted.v1"

KIND_ORDER = {
    DEPROVISIONED: 0,
    SUBSCRIBER_REMOVED: 1,
    REMOVED: 2,
    ADDON_REMOVED: 2,
    MOVED: 3,
    ASSIGNED: 4,
    ADDON_ASSIGNED: 4,
    CHANGED: 5,
    PROVISIONED: 6,
    UPDATED: 7,
}
EVERYTHING_ELSE = 8

Account = tuple[str, str]  # partnerOrgId, customerOrgId
DailyKey = tuple[str, str, str | None, str, date]  # partner, customer, location, item, day
Data = dict[str, Any]


# --- what a fact is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """One accepted record: its envelope, and the known members of its data, normalised."""

    type: str
    time_ms: int
    sequence: str | None
    source: str
    id: str
    data: Data

    @property
    def account(self) -> Account:
        """Rule 7: usage belongs to the pair that the event names."""
        return self.data["partnerOrgId"], self.data["customerOrgId"]

    @property
    def subscriber(self) -> str | None:
        return self.data.get("subscriberId")

    @property
    def order(self) -> tuple[Any, ...]:
        """Rule 10: the total order of facts."""
        kind = KIND_ORDER.get(self.type, EVERYTHING_ELSE)
        return self.time_ms, *sequence_order(self.sequence), kind, self.source, self.id

    @property
    def version(self) -> tuple[Any, ...]:
        """Contract, catalog: the version with the latest of these counts."""
        return self.time_ms, *sequence_order(self.sequence), self.source, self.id


def sequence_order(sequence: str | None) -> tuple[bool, str]:
    """Rule 10: an absent sequence sorts first, others by code point."""
    return sequence is not None, sequence or ""


class Refusal(Exception):
    """A record that cannot be metered; the argument is the contract's reason."""


# --- fields (contract: envelope and types) ----------------------------------------------------------------------

Check = Callable[[Any], Any]
MISSING = object()


def bad_unless(condition: bool) -> None:
    if not condition:
        raise Refusal("bad-field")


def text(value: Any) -> str:
    """Free text: any string that UTF-8 can carry."""
    bad_unless(isinstance(value, str))
    bad_unless(not any(unicodedata.category(c) == "Cs" for c in value))
    return str(value)


def limited(most: int) -> Check:
    def check(value: Any) -> str:
        bad_unless(isinstance(value, str) and 1 <= len(value) <= most)
        bad_unless(not any(unicodedata.category(c) in ("Cc", "Cs") for c in value))
        return str(value)

    return check


ident = limited(128)
source_name = limited(256)


def place(value: Any) -> str | None:
    """A locationId: an id, or null for none."""
    return None if value is None else str(ident(value))


def item_name(value: Any) -> str:
    """A package or add-on: all upper case, or all lower case and then raised."""
    bad_unless(isinstance(value, str))
    bad_unless(bool(re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}|[a-z][a-z0-9_]{0,63}", value)))
    return str(value.upper())


def boolean(value: Any) -> bool:
    bad_unless(isinstance(value, bool))
    return bool(value)


def seats(value: Any) -> int:
    bad_unless(isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000)
    return int(value)


def calendar_day(value: Any) -> str:
    bad_unless(isinstance(value, str) and bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)))
    try:
        date.fromisoformat(value)
    except ValueError:
        raise Refusal("bad-field") from None
    return str(value)


def one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        bad_unless(isinstance(value, str) and value in allowed)
        return str(value)

    return check


def matching(pattern: str) -> Check:
    def check(value: Any) -> str:
        bad_unless(isinstance(value, str) and bool(re.fullmatch(pattern, value)))
        return str(value)

    return check


@dataclass(frozen=True)
class Field:
    check: Check
    required: bool = True


def an_object(fields: Mapping[str, Field]) -> Check:
    def check(value: Any) -> Data:
        bad_unless(isinstance(value, dict))
        return known_members(value, fields)

    return check


def list_of(check_one: Check) -> Check:
    def check(value: Any) -> list[Any]:
        bad_unless(isinstance(value, list))
        return [check_one(v) for v in value]

    return check


def known_members(data: Data, fields: Mapping[str, Field]) -> Data:
    """The known members, checked and normalised. A null optional member is as absent, locationId aside."""
    known: Data = {}
    for name, member in fields.items():
        value = data.get(name, MISSING)
        if value is None and member.check is not place:
            value = MISSING
        if value is MISSING:
            bad_unless(not member.required)
        else:
            known[name] = member.check(value)
    return known


ACCOUNT = {"partnerOrgId": Field(ident), "customerOrgId": Field(ident)}
SUBSCRIBER = {**ACCOUNT, "subscriberId": Field(ident)}
HOLDER = {
    **SUBSCRIBER,
    "userId": Field(ident, False),
    "workspaceId": Field(ident, False),
    "locationId": Field(place, False),
}
ATTRIBUTES = {
    "subscriptionId": Field(ident, False),
    "name": Field(text, False),
    "internal": Field(boolean, False),
}
SERVICE = {
    "service": Field(matching(r"[A-Za-z][A-Za-z0-9_]{0,63}")),
    "sku": Field(text),
    "description": Field(text),
    "kind": Field(one_of("package", "addon", "one-time")),
    "unitPrice": Field(matching(r"[0-9]+(\.[0-9]+)?")),
}

EVENT_FIELDS: dict[str, dict[str, Field]] = {
    PROVISIONED: {**ACCOUNT, **ATTRIBUTES, "externalId": Field(ident)},
    UPDATED: {**ACCOUNT, **ATTRIBUTES, "externalId": Field(ident, False)},
    DEPROVISIONED: {**ACCOUNT},
    ASSIGNED: {**HOLDER, "package": Field(item_name)},
    CHANGED: {**HOLDER, "package": Field(item_name)},
    REMOVED: {**SUBSCRIBER, "package": Field(item_name, False)},
    ADDON_ASSIGNED: {**HOLDER, "addon": Field(item_name)},
    ADDON_REMOVED: {**SUBSCRIBER, "addon": Field(item_name)},
    SUBSCRIBER_REMOVED: {**SUBSCRIBER},
    MOVED: {**SUBSCRIBER, "locationId": Field(place)},
    ORDERED: {**ACCOUNT, "orderId": Field(ident), "locationId": Field(ident), "seats": Field(seats)},
    CANCELLED: {**ACCOUNT, "orderId": Field(ident)},
    VOIDED: {
        **ACCOUNT,
        "voids": Field(an_object({"source": Field(source_name), "id": Field(ident)})),
        "subscriberId": Field(ident, False),
    },
    DAY_CLOSED: {"day": Field(calendar_day)},
}
HOLDER_TYPES = (ASSIGNED, CHANGED, ADDON_ASSIGNED)
CATALOG_FIELDS: dict[str, dict[str, Field]] = {
    PARTNER: {
        "partnerOrgId": Field(ident),
        "name": Field(text),
        "parentOrgId": Field(ident, False),
        "subscriptionId": Field(ident, False),
        "billingStartDate": Field(calendar_day, False),
        "provisioningState": Field(one_of("active", "suspended")),
    },
    SUBSCRIPTION: {
        "subscriptionId": Field(ident),
        "partnerOrgId": Field(ident),
        "currency": Field(matching(r"[A-Z]{3}")),
        "services": Field(list_of(an_object(SERVICE))),
    },
}

RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def instant_ms(value: str) -> int:
    """RFC 3339 with any offset; digits finer than a millisecond are cut off; seconds go to 59."""
    found = RFC3339.fullmatch(value)
    if found is None:
        raise Refusal("bad-field")
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    shift_hour, shift_minute = int(found[9] or 0), int(found[10] or 0)
    bad_unless(hour <= 23 and minute <= 59 and second <= 59 and shift_hour <= 23 and shift_minute <= 59)
    shift = (shift_hour * 60 + shift_minute) * (-1 if found[8] == "-" else 1)
    try:  # year 0 is a year of RFC 3339, and the calendar repeats after 400 years
        days = (date(year or 400, month, day) - EPOCH).days - (0 if year else 146_097)
    except ValueError:
        raise Refusal("bad-field") from None
    milli = int(((found[7] or "") + "000")[:3])
    return ((days * 24 + hour) * 60 + minute - shift) * 60_000 + second * 1000 + milli


# --- refusals (contract: refusals, in the order in which they are tried) ----------------------------------------


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def any_integer(digits: str) -> float:
    """An integer of any length is JSON; one that is far too long for any field need not be exact."""
    return int(digits) if len(digits) < 400 else float("inf")


def read_fact(line: bytes, fields: Mapping[str, Mapping[str, Field]], received_at_ms: int) -> Fact:
    """The checks of one record by itself. `data` counts as a required envelope attribute; an attribute of the
    right JSON type with a value out of bounds is a bad field, and so is a wrong optional attribute."""
    if len(line) > MAX_BYTES:
        raise Refusal("too-large")
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=no_constant, parse_int=any_integer)
    except (ValueError, RecursionError):
        raise Refusal("not-json") from None
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise Refusal("not-cloudevent")
    if not all(isinstance(event.get(name), str) for name in ("id", "source", "type", "time")):
        raise Refusal("not-cloudevent")
    if not isinstance(event.get("data"), dict):
        raise Refusal("not-cloudevent")
    kind = event["type"]
    if kind not in fields:
        raise Refusal("unknown-type")
    source, own_id, time_ms = source_name(event["source"]), ident(event["id"]), instant_ms(event["time"])
    sequence = event.get("sequence")
    bad_unless(sequence is None or isinstance(sequence, str))
    bad_unless(event.get("datacontenttype") in (None, "application/json"))
    data = known_members(event["data"], fields[kind])
    bad_unless(kind not in HOLDER_TYPES or ("userId" in data) != ("workspaceId" in data))
    if time_ms > received_at_ms + FUTURE_MS:
        raise Refusal("too-far-in-future")
    if time_ms < HORIZON_MS:
        raise Refusal("before-horizon")
    return Fact(kind, time_ms, sequence, source, own_id, data)


def event_identity(fact: Fact) -> tuple[Any, ...]:
    """Contract, envelope: what makes two records the same one."""
    if fact.type == DAY_CLOSED:
        return None, None, None, fact.source, fact.id
    return *fact.account, fact.subscriber, fact.source, fact.id


def catalog_identity(fact: Fact) -> tuple[Any, ...]:
    return fact.source, fact.id


@dataclass
class Accepted:
    facts: list[Fact] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)


def accept(
    lines: Iterable[bytes],
    fields: Mapping[str, Mapping[str, Field]],
    identity: Callable[[Fact], tuple[Any, ...]],
    received_at_ms: int,
) -> Accepted:
    """Contract: the first record of an identity counts, equal ones have no effect, others are conflicts."""
    accepted, first = Accepted(), dict[tuple[Any, ...], Fact]()
    for index, line in enumerate(lines):
        try:
            fact = read_fact(line, fields, received_at_ms)
            known = first.setdefault(identity(fact), fact)
            if known is fact:
                accepted.facts.append(fact)
            elif known == fact:
                accepted.duplicates.append(index)
            else:
                raise Refusal("identity-conflict")
        except Refusal as refusal:
            accepted.refused.append((index, str(refusal)))
    return accepted


# --- what holds (rules 1 to 11) ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holding:
    """A subscriber held an item at a location from one fact to the next. Never of no length."""

    account: Account
    subscriber: str
    item: str
    location: str | None
    start_ms: int
    end_ms: int | None  # None: still running


@dataclass(frozen=True)
class Order:
    """A Setup Assist order that counts (rule 18)."""

    account: Account
    item: str
    location: str
    day: date
    microdays: int


@dataclass
class Metered:
    """What the reports and the daily usage are made of."""

    refused: list[tuple[int, str]]
    catalog_refused: list[tuple[int, str]]
    duplicates: list[int]
    holdings: list[Holding]
    orders: list[Order]
    customers: dict[Account, Data]
    people: dict[tuple[Account, str], tuple[str, str]]
    partners: dict[str, Data]
    subscriptions: dict[str, Data]


def meter(catalog_lines: Iterable[bytes], event_lines: Iterable[bytes], *, received_at_ms: int) -> Metered:
    """Meter records in order of arrival; every record was appended at `received_at_ms` under the right key."""
    catalog = accept(catalog_lines, CATALOG_FIELDS, catalog_identity, received_at_ms)
    events = accept(event_lines, EVENT_FIELDS, event_identity, received_at_ms)
    facts = sorted(not_voided(events.facts), key=lambda f: f.order)
    accounts = sorted({f.account for f in facts})
    return Metered(
        refused=events.refused,
        catalog_refused=catalog.refused,
        duplicates=events.duplicates,
        holdings=[h for timeline in timelines(facts) for h in holdings(timeline)],
        orders=orders(facts),
        customers={a: latest_attributes([f for f in facts if f.account == a]) for a in accounts},
        people={(facts_[0].account, str(facts_[0].subscriber)): latest_person(facts_) for facts_ in own_facts(facts)},
        partners=latest_versions(catalog.facts, PARTNER, "partnerOrgId"),
        subscriptions=latest_versions(catalog.facts, SUBSCRIPTION, "subscriptionId"),
    )


def not_voided(facts: Sequence[Fact]) -> list[Fact]:
    """Rule 11: a voided event counts as never sent; a void cannot be voided, and is no fact of its own."""
    gone = {
        (*v.account, v.subscriber, v.data["voids"]["source"], v.data["voids"]["id"]) for v in facts if v.type == VOIDED
    }
    return [f for f in facts if f.type not in (VOIDED, DAY_CLOSED) and event_identity(f) not in gone]


def own_facts(facts: Sequence[Fact]) -> list[list[Fact]]:
    """The facts of each subscriber of each account, in order."""
    keys = sorted({(f.account, f.subscriber) for f in facts if f.subscriber is not None})
    return [[f for f in facts if (f.account, f.subscriber) == key] for key in keys]


def timelines(facts: Sequence[Fact]) -> list[list[Fact]]:
    """The facts of each subscriber together with the deprovisionings of its customer, in order (rule 5)."""
    return [
        sorted(
            own + [f for f in facts if f.type == DEPROVISIONED and f.account == own[0].account],
            key=lambda f: f.order,
        )
        for own in own_facts(facts)
    ]


def holdings(timeline: Sequence[Fact]) -> Iterator[Holding]:
    """Cut time at every fact of the timeline; say for each segment, from its past alone, what is held in it."""
    subscriber = next(f.subscriber for f in timeline if f.subscriber is not None)
    for index, fact in enumerate(timeline):
        start = fact.time_ms
        end = timeline[index + 1].time_ms if index + 1 < len(timeline) else None
        if start == end:
            continue  # rule 11: an interval of no length is none
        past = timeline[: index + 1]
        package = package_held(past)
        for item in ([package] if package else []) + addons_held(past):
            yield Holding(fact.account, subscriber, item, location_after(past), start, end)


def package_held(past: Sequence[Fact]) -> str | None:
    """Rules 2, 5 and 9: that of the latest assignment or change, unless something ended just that since."""
    for index in reversed(range(len(past))):
        if past[index].type in (ASSIGNED, CHANGED):
            name = str(past[index].data["package"])
            return None if any(ends_package(f, name) for f in past[index + 1 :]) else name
    return None


def ends_package(fact: Fact, name: str) -> bool:
    """Rule 9: a removal ends the package that it names and no other; without a name whichever runs."""
    if fact.type == REMOVED:
        return "package" not in fact.data or bool(fact.data["package"] == name)
    return fact.type in (DEPROVISIONED, SUBSCRIBER_REMOVED)


def addons_held(past: Sequence[Fact]) -> list[str]:
    """Each add-on whose latest start or end is a start."""
    names = sorted({str(f.data["addon"]) for f in past if f.type == ADDON_ASSIGNED})
    return [name for name in names if addon_held(past, name)]


def addon_held(past: Sequence[Fact], name: str) -> bool:
    for fact in reversed(past):
        if fact.type in (DEPROVISIONED, SUBSCRIBER_REMOVED):
            return False
        if fact.type in (ADDON_ASSIGNED, ADDON_REMOVED) and fact.data["addon"] == name:
            return fact.type == ADDON_ASSIGNED
    return False


def location_after(past: Sequence[Fact]) -> str | None:
    """Rule 8: that of the latest fact that carries one; it outlives removals and deprovisioning."""
    return next((f.data["locationId"] for f in reversed(past) if "locationId" in f.data), None)


def latest_person(own: Sequence[Fact]) -> tuple[str, str]:
    """Rule 11: USER_ID and WORKSPACE_ID are the pair of the latest fact that carries either."""
    for fact in reversed(own):
        if "userId" in fact.data or "workspaceId" in fact.data:
            return fact.data.get("userId", ""), fact.data.get("workspaceId", "")
    return "", ""


def latest_attributes(facts: Sequence[Fact]) -> Data:
    """Rule 11: customer attributes are the latest, member by member."""
    described = [f.data for f in facts if f.type in (PROVISIONED, UPDATED)]
    names = ("subscriptionId", "externalId", "name", "internal")
    return {n: next(d[n] for d in reversed(described) if n in d) for n in names if any(n in d for d in described)}


def latest_versions(facts: Sequence[Fact], kind: str, key: str) -> dict[str, Data]:
    """Contract, catalog: the latest version counts, as a whole."""
    versions = sorted((f for f in facts if f.type == kind), key=lambda f: f.version)
    return {f.data[key]: f.data for f in versions}


def orders(facts: Sequence[Fact]) -> list[Order]:
    """Rule 18: once per customer and order id, by its latest order fact; none if it was ever cancelled."""
    placed = [f for f in facts if f.type == ORDERED]
    cancelled = {(f.account, f.data["orderId"]) for f in facts if f.type == CANCELLED}
    keys = sorted({(f.account, f.data["orderId"]) for f in placed} - cancelled)
    return [as_order([f for f in placed if (f.account, f.data["orderId"]) == key][-1]) for key in keys]


def as_order(fact: Fact) -> Order:
    """Rule 18: 5 seats or fewer are one flat unit, more are a unit each; on the UTC day of the order."""
    small = fact.data["seats"] <= 5
    return Order(
        fact.account,
        "SETUP_ASSIST_EXPRESS" if small else "SETUP_ASSIST_STANDARD",
        fact.data["locationId"],
        EPOCH + timedelta(days=fact.time_ms // DAY_MS),
        MICRO if small else fact.data["seats"] * MICRO,
    )


# --- quantity (rules 12 to 15) ----------------------------------------------------------------------------------


def grid(time_ms: int) -> int:
    """Rule 14: the instant in microdays, rounded half up."""
    return (10 * time_ms + 432) // 864


def days_of(start: date, end: date) -> list[date]:
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def held_on(holding: Holding, day: date) -> int:
    """Microdays of a holding on a day: the part of it inside the day, on the grid."""
    midnight = (day - EPOCH).days * MICRO
    start = max(grid(holding.start_ms), midnight)
    end = midnight + MICRO if holding.end_ms is None else min(grid(holding.end_ms), midnight + MICRO)
    return max(0, end - start)


def active_at_close(holding: Holding, day: date) -> bool:
    """Rule 15, on the grid: it starts before the next midnight and ends at it or later."""
    close = (day - EPOCH).days * MICRO + MICRO
    return grid(holding.start_ms) < close and (holding.end_ms is None or close <= grid(holding.end_ms))


def daily_usage(metered: Metered, through: date) -> dict[DailyKey, tuple[int, int]]:
    """Rule 15: (partner, customer, location, item, day) -> (microdays, licences active at the close of the day).

    Days up to `through` on which either is not zero. Nothing is cut here: neither internal customers nor days
    before a billing start. A one-time item has no active licences."""
    quantity: Counter[DailyKey] = Counter()
    active: Counter[DailyKey] = Counter()
    for holding in metered.holdings:
        first = EPOCH + timedelta(days=grid(holding.start_ms) // MICRO)
        last = through
        if holding.end_ms is not None:
            last = min(through, EPOCH + timedelta(days=grid(holding.end_ms) // MICRO))
        for day in days_of(first, last):
            key = (*holding.account, holding.location, holding.item, day)
            quantity[key] += held_on(holding, day)
            active[key] += active_at_close(holding, day)
    for order in metered.orders:
        if order.day <= through:
            quantity[(*order.account, order.location, order.item, order.day)] += order.microdays
    keys = {k for k in quantity if quantity[k] or active[k]}
    return {k: (quantity[k], active[k]) for k in keys}


# --- reports (rules 19 to 24, 27 and 32) ------------------------------------------------------------------------

FROM_SUBSCRIPTION_ON = [
    "SUBSCRIPTION_ID",
    "SERVICE_NAME",
    "SKU",
    "DESCRIPTION",
    "CONSUMPTION_START_DATE",
    "CONSUMPTION_END_DATE",
    "QUANTITY",
]
OF_PARTNER = ["PARTNER_NAME", "PARTNER_ORG_ID"]
OF_CUSTOMER = [*OF_PARTNER, "CUSTOMER_ORG_ID", "CUSTOMER_EXTERNAL_ID", *FROM_SUBSCRIPTION_ON, "LOCATION_ID"]
COLUMNS = {
    "PARTNER": [*OF_PARTNER, *FROM_SUBSCRIPTION_ON],
    "CUSTOMER": OF_CUSTOMER,
    "USER": [*OF_CUSTOMER, "SUBSCRIBER_ID", "USER_ID", "WORKSPACE_ID"],
}
COMPUTED = ("CONSUMPTION_START_DATE", "CONSUMPTION_END_DATE", "QUANTITY")
SORTED_BY = (
    "PARTNER_ORG_ID",
    "SUBSCRIPTION_ID",
    "SERVICE_NAME",
    "CUSTOMER_ORG_ID",
    "LOCATION_ID",
    "SUBSCRIBER_ID",
)
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")

Row = dict[str, str]


def report(
    metered: Metered,
    *,
    report_type: str,
    partner: str,
    sub_partner: str | None = None,
    start: date,
    end: date,
    internal: bool = False,
) -> bytes:
    """Rules 27 and 32: one report as CSV. Every day of the period counts, closed or not.

    ValueError if `sub_partner` is no child of `partner` (rule 32), or for an unknown type."""
    if report_type not in COLUMNS:
        raise ValueError(f"no such report type: {report_type}")
    columns = COLUMNS[report_type]
    owners = owners_in(metered, partner, sub_partner)
    per_row: dict[tuple[str, ...], Counter[date]] = {}
    named = [c for c in columns if c not in COMPUTED]
    for account, subscriber, item, location, day, microdays in usage(metered, owners, start, end):
        if is_reported(metered, account, day, internal):
            row = cells(metered, account, subscriber, item, location)
            per_row.setdefault(tuple(row[c] for c in named), Counter())[day] += microdays
    rows = [with_computed(dict(zip(named, key, strict=True)), days) for key, days in per_row.items()]
    rows.sort(key=lambda r: [r.get(c, "").encode("utf-8") for c in SORTED_BY])
    return csv([columns] + [[r[c] for c in columns] for r in rows])


def owners_in(metered: Metered, partner: str, sub_partner: str | None) -> set[str]:
    """Rules 20 and 24: the partner with its children, or just the child that is asked for."""
    children = {org for org, data in metered.partners.items() if data.get("parentOrgId") == partner}
    if sub_partner is None:
        return {partner} | children
    if sub_partner not in children:
        raise ValueError(f"{sub_partner} is not a sub-partner of {partner}")
    return {sub_partner}


def usage(
    metered: Metered, owners: set[str], start: date, end: date
) -> Iterator[tuple[Account, str, str, str | None, date, int]]:
    """Account, subscriber ("" for none), item, location, day and microdays, wherever there are microdays."""
    for holding in metered.holdings:
        if holding.account[0] in owners:
            for day in days_of(start, end):
                microdays = held_on(holding, day)
                if microdays:
                    yield holding.account, holding.subscriber, holding.item, holding.location, day, microdays
    for order in metered.orders:
        if order.account[0] in owners and start <= order.day <= end:
            yield order.account, "", order.item, order.location, order.day, order.microdays


def is_reported(metered: Metered, account: Account, day: date, internal: bool) -> bool:
    """Rule 32: internal customers only when asked for. Rule 23: a sub-partner's days from its billing start on."""
    if metered.customers[account].get("internal", False) and not internal:
        return False
    owner = metered.partners.get(account[0], {})
    begins = owner.get("billingStartDate") if "parentOrgId" in owner else None
    return begins is None or day >= date.fromisoformat(begins)


def subscription_of(metered: Metered, account: Account) -> str:
    """Rule 22: the customer's own, else the sub-partner's parent's, else the partner's. Else empty."""
    own = metered.customers[account].get("subscriptionId")
    if own is not None:
        return str(own)
    owner = metered.partners.get(account[0], {})
    payer = metered.partners.get(owner["parentOrgId"], {}) if "parentOrgId" in owner else owner
    return str(payer.get("subscriptionId", ""))


def listed_service(metered: Metered, subscription: str, item: str) -> Data:
    """Rule 19: looked up by name alone, in upper case, the first entry."""
    services = metered.subscriptions.get(subscription, {}).get("services", [])
    return next((s for s in services if s["service"].upper() == item), {})


def cells(metered: Metered, account: Account, subscriber: str, item: str, location: str | None) -> Row:
    """Rule 32: all cells of a USER row but the computed ones; the other types take some of them."""
    subscription = subscription_of(metered, account)
    service = listed_service(metered, subscription, item)
    user, workspace = metered.people.get((account, subscriber), ("", ""))
    return {
        "PARTNER_NAME": metered.partners.get(account[0], {}).get("name", ""),
        "PARTNER_ORG_ID": account[0],
        "CUSTOMER_ORG_ID": account[1],
        "CUSTOMER_EXTERNAL_ID": metered.customers[account].get("externalId", ""),
        "SUBSCRIPTION_ID": subscription,
        "SERVICE_NAME": item,
        "SKU": service.get("sku", ""),
        "DESCRIPTION": service.get("description", ""),
        "LOCATION_ID": location or "",
        "SUBSCRIBER_ID": subscriber,
        "USER_ID": user,
        "WORKSPACE_ID": workspace,
    }


def with_computed(row: Row, days: Mapping[date, int]) -> Row:
    """Rule 32: the first and the last day with usage, and the sum of the days (rule 12)."""
    return {
        **row,
        "CONSUMPTION_START_DATE": min(days).isoformat(),
        "CONSUMPTION_END_DATE": max(days).isoformat(),
        "QUANTITY": decimal(sum(days.values())),
    }


def decimal(microdays: int) -> str:
    """Rule 32: plain, at most 6 places, no trailing zeros."""
    whole, part = divmod(microdays, MICRO)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Rule 32: UTF-8 without a mark, RFC 4180."""
    return "".join(",".join(cell(c) for c in row) + "\r\n" for row in rows).encode("utf-8")


def cell(value: str) -> str:
    """Rule 32: an apostrophe before what a spreadsheet takes for a formula; quotes only where needed."""
    if value.startswith(FORMULA_STARTS):
        value = "'" + value
    if any(c in value for c in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
