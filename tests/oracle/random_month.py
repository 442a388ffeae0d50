"""Random months, rich in trouble: what the rules say something about should happen often here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from .metering import (
    ADDON_ASSIGNED,
    ADDON_REMOVED,
    ASSIGNED,
    CANCELLED,
    CHANGED,
    DAY_MS,
    DEPROVISIONED,
    EPOCH,
    MAX_BYTES,
    MOVED,
    ORDERED,
    PARTNER,
    PROVISIONED,
    REMOVED,
    SUBSCRIBER_REMOVED,
    SUBSCRIPTION,
    UPDATED,
    VOIDED,
    Account,
    Data,
)

FIRST_DAY, LAST_DAY = date(2026, 9, 20), date(2026, 11, 10)
RECEIVED_AT_MS = 1_794_700_800_000  # 2026-11-15T00:00Z: later than every good fact, earlier than the refused ones
TOO_LATE_MS = 4_102_444_800_000  # 2100-01-01T00:00Z

CHILDREN = {"S-one": "P-alpha", "S-two": "P-alpha", "S-three": "P-beta"}
PARTNERS = ["P-alpha", "P-beta", "P-plain", "P-ghost", *CHILDREN]  # the catalog does not know P-ghost
PACKAGES = ["WEBEX_CALLING", "WEBEX_SUITE", "WEBEX_MEETINGS", "COMMON_AREA_CALLING", "WEBEX_VOICE", "NEW_THING_9"]
ADDONS = ["CISCO_CALLING_PLAN", "ATTENDANT_CONSOLE"]
ONE_TIME = ["SETUP_ASSIST_EXPRESS", "SETUP_ASSIST_STANDARD"]
AWKWARD = [
    'Comma, "quoted"',
    "=SUM(A1:A9)",
    "+49 30",
    "-minus",
    "@home",
    "＝wide",
    "＋wide",
    "－wide",
    "＠wide",
    "Ünïcode ～ 😀",
    "'already",
    " lead",
    "a;b",
]
AWKWARD_NAMES = [*AWKWARD, "\ttab", "two\r\nlines", "\nfeed", "\rreturn"]
AWKWARD_IDS = ["=L", "L,1", 'L"q', "～", "😀", "+L", "A", "a"]
SEQUENCES = ["0001", "0002", "1", "10", "9", "é"]
OFFSETS = [0, 0, 330, -480, 840, -720, 345, 1]


@dataclass(frozen=True)
class Draft:
    """A record before it is written down."""

    type: str
    time_ms: int
    source: str
    id: str
    sequence: str | None
    data: Data


# --- writing a record down, one way or another ------------------------------------------------------------------


def timestamp(rng: random.Random, time_ms: int) -> str:
    """The instant as RFC 3339: any offset, any number of digits that means the same millisecond."""
    offset = rng.choice(OFFSETS)
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms, minutes=offset)
    digits = f"{time_ms % 1000:03d}"
    if rng.random() < 0.3:
        digits += rng.choice(["987", "000", "9", "999999", "0004"])
    elif rng.random() < 0.3:
        digits = digits.rstrip("0")
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    if offset == 0:
        zone = rng.choice(["Z", "Z", "Z", "+00:00", "-00:00"])
    written = local.strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "") + zone
    return written.lower() if rng.random() < 0.01 else written


def shuffled(rng: random.Random, members: Data) -> Data:
    names = list(members)
    rng.shuffle(names)
    return {name: members[name] for name in names}


def dump(rng: random.Random, value: Any) -> bytes:
    separators = rng.choice([(", ", ": "), (",", ":"), (" , ", " : ")])
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, separators=separators).encode("utf-8")


def envelope(rng: random.Random, draft: Draft) -> Data:
    """The draft as a CloudEvent, with what may be there or not, and may be written so or so."""
    event: Data = {
        "specversion": "1.0",
        "id": draft.id,
        "source": draft.source,
        "type": draft.type,
        "time": timestamp(rng, draft.time_ms),
        "data": dict(draft.data),
    }
    if draft.sequence is not None or rng.random() < 0.1:
        event["sequence"] = draft.sequence
    if rng.random() < 0.1:
        event["datacontenttype"] = rng.choice(["application/json", None])
    if rng.random() < 0.1:
        event[rng.choice(["traceparent", "subject", "partitionkey"])] = rng.choice(["x", 1, None])
    for name in ("package", "addon"):
        if name in draft.data and rng.random() < 0.25:
            event["data"][name] = draft.data[name].lower()
    if rng.random() < 0.1:
        event["data"][rng.choice(["comment", "calls", "requestId"])] = rng.choice(["x", 7, None, {"a": [1]}])
    return event


def encode(rng: random.Random, draft: Draft) -> bytes:
    event = envelope(rng, draft)
    event["data"] = shuffled(rng, event["data"])
    return dump(rng, shuffled(rng, event))


# --- the catalog ------------------------------------------------------------------------------------------------


def services(rng: random.Random, subscription: str) -> list[Data]:
    """Most services, some under two entries or a lower-case name. NEW_THING_9 is never listed."""
    listed = []
    for kind, names in (("package", PACKAGES[:-1]), ("addon", ADDONS), ("one-time", ONE_TIME)):
        for name in names:
            if rng.random() < 0.15:
                continue
            for entry in range(rng.choice([1, 1, 1, 2])):
                listed.append(
                    {
                        "service": name.lower() if rng.random() < 0.1 else name,
                        "sku": f"A-{name[:8]}-{subscription}-{entry}",
                        "description": rng.choice([*AWKWARD_NAMES, "", f"{name.title()} licence"]),
                        "kind": kind,
                        "unitPrice": rng.choice(["7.10", "11.25", "2.335", "5.005", "120", "0.00"]),
                    }
                )
    return listed


def random_partner(rng: random.Random, org: str, subscription: str) -> Data:
    data: Data = {
        "partnerOrgId": org,
        "name": rng.choice([*AWKWARD_NAMES, f"Name of {org}"]),
        "provisioningState": rng.choice(["active", "active", "suspended"]),
        "subscriptionId": subscription,
    }
    if org in CHILDREN:
        data["parentOrgId"] = CHILDREN[org]
        data["subscriptionId"] = rng.choice(["Sub-own", None])
    if org == "S-one" or org == "P-plain" or rng.random() < 0.2:
        data["billingStartDate"] = str(rng.choice(days_between(date(2026, 9, 25), date(2026, 10, 20))))
    if org == "S-two":
        data.pop("billingStartDate", None)
    return data


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def random_catalog(rng: random.Random) -> list[bytes]:
    drafts: list[Draft] = []

    def add(kind: str, data: Data) -> None:
        time_ms = 1_789_430_400_000 + rng.choice([0, 0, 1, 999, DAY_MS])  # from 2026-09-15T00:00Z on
        sequence = rng.choice([None, None, *SEQUENCES])
        drafts.append(Draft(kind, time_ms, rng.choice(["/prov", "/hub"]), f"cat-{len(drafts)}", sequence, data))

    subscriptions = {"P-alpha": "Sub-A", "P-beta": "Sub-B", "P-plain": "Sub-C"}
    for org in PARTNERS:
        for _ in range(rng.choice([1, 1, 2, 3]) if org != "P-ghost" else 0):
            add(PARTNER, random_partner(rng, org, subscriptions.get(org, "")))
    for subscription in (*subscriptions.values(), "Sub-own"):
        for _ in range(rng.choice([1, 1, 2])):
            owner = next((o for o, s in subscriptions.items() if s == subscription), "S-one")
            listed = services(rng, subscription)
            data = {"subscriptionId": subscription, "partnerOrgId": owner, "currency": "USD", "services": listed}
            add(SUBSCRIPTION, data)
    lines = [encode(rng, d) for d in drafts]
    lines += [encode(rng, d) for d in drafts if rng.random() < 0.1]
    for draft in drafts:
        if rng.random() < 0.1:
            lines.append(encode(rng, replace(draft, time_ms=draft.time_ms + 1)))
    lines += bad_catalog_lines(rng)
    rng.shuffle(lines)
    return lines


def bad_catalog_lines(rng: random.Random) -> list[bytes]:
    good = {"partnerOrgId": "P-alpha", "name": "Refused", "provisioningState": "active"}
    bad: list[Data] = [
        {**good, "provisioningState": "gone"},
        {**good, "name": 7},
        {**good, "billingStartDate": "2026-02-30"},
        {"subscriptionId": "Sub-A", "partnerOrgId": "P-alpha", "currency": "USD", "services": {}},
    ]
    lines = [b"\xff not json"]
    for index, data in enumerate(bad):
        kind = SUBSCRIPTION if "services" in data else PARTNER
        lines.append(encode(rng, Draft(kind, 1_789_430_400_000, "/bad", f"bad-{index}", None, data)))
    lines.append(encode(rng, Draft(PARTNER, TOO_LATE_MS, "/bad", "bad-late", None, good)))
    return rng.sample(lines, rng.randrange(len(lines)))


# --- the events -------------------------------------------------------------------------------------------------


@dataclass
class Month:
    """A month in the making."""

    rng: random.Random
    lines: list[bytes] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    recent: dict[Account, list[int]] = field(default_factory=dict)

    def instant(self, account: Account) -> int:
        """An instant, often one that hurts: one used before, a midnight, the edge of a grid step, far away."""
        rng, used = self.rng, self.recent.setdefault(account, [])
        pick = rng.random()
        if used and pick < 0.25:
            return rng.choice(used[-8:]) + rng.choice([0, 0, 0, 0, 1, -1, 43, 44])
        day = rng.choice(days_between(FIRST_DAY, LAST_DAY))
        midnight = (day - EPOCH).days * DAY_MS
        if pick < 0.45:
            time_ms = midnight + rng.choice([0, 0, 0, 1, -1, 43, -43, 44, -44, 86, 87, -1000])
        elif pick < 0.48:
            near = [date(2025, 12, 31), date(2026, 8, 31), date(2026, 11, 12)]
            far = rng.choice([date(2000, 1, 1), date(2020, 2, 29)] if rng.random() < 0.1 else near)
            time_ms = (far - EPOCH).days * DAY_MS + rng.randrange(DAY_MS)
        else:
            time_ms = midnight + rng.randrange(DAY_MS)
        used.append(time_ms)
        return time_ms

    def draft(self, kind: str, time_ms: int, data: Data) -> Draft:
        rng = self.rng
        own_id = f"e-{len(self.drafts)}"
        if self.drafts and rng.random() < 0.05:
            own_id = rng.choice(self.drafts).id  # often of another customer or subscriber: then it is no conflict
        sequence = rng.choice(SEQUENCES) if rng.random() < 0.2 else None
        return Draft(kind, time_ms, rng.choice(["/prov", "/hub", "/ü"]), own_id, sequence, data)

    def send(self, draft: Draft) -> None:
        """The record, and at times a duplicate, a conflict or a void with it."""
        rng = self.rng
        self.drafts.append(draft)
        line = encode(rng, draft)
        self.lines.append(line)
        if rng.random() < 0.04:
            self.lines.append(line)
        if rng.random() < 0.05:
            self.lines.append(encode(rng, draft))
        if rng.random() < 0.04:
            self.lines.append(encode(rng, changed_content(rng, draft)))
        if rng.random() < 0.06:
            self.send(self.void(draft))

    def void(self, target: Draft) -> Draft:
        """A void of the target, at times one that finds nothing because it names the wrong subscriber or id."""
        rng = self.rng
        voids = {"source": target.source, "id": target.id}
        data = {**ids_of((target.data["partnerOrgId"], target.data["customerOrgId"])), "voids": voids}
        subscriber = target.data.get("subscriberId")
        pick = rng.random()
        if pick < 0.1:
            subscriber = rng.choice(["somebody-else", None, "s-0"])
        elif pick < 0.15:
            voids["source"] = "/elsewhere"
        elif pick < 0.2:
            data["partnerOrgId"] = rng.choice(PARTNERS)
        if subscriber is not None or rng.random() < 0.2:
            data["subscriberId"] = subscriber
        time_ms = max(target.time_ms + rng.choice([0, 1, -1000, 3_600_000]), 946_684_800_000)
        return self.draft(VOIDED, time_ms, data)


def changed_content(rng: random.Random, draft: Draft) -> Draft:
    """The same identity with other content."""
    pick = rng.random()
    if "package" in draft.data and pick < 0.5:
        others = [p for p in PACKAGES if p != draft.data["package"]]
        return replace(draft, data={**draft.data, "package": rng.choice(others)})
    if pick < 0.75:
        return replace(draft, time_ms=draft.time_ms + rng.choice([1, 1000, DAY_MS]))
    return replace(draft, sequence="0007" if draft.sequence is None else None)


def ids_of(account: Account) -> Data:
    return {"partnerOrgId": account[0], "customerOrgId": account[1]}


@dataclass(frozen=True)
class Subscriber:
    account: Account
    id: str
    places: tuple[str | None, ...]

    @property
    def ids(self) -> Data:
        return {**ids_of(self.account), "subscriberId": self.id}


def with_place(rng: random.Random, subscriber: Subscriber, data: Data) -> Data:
    """At times with a location, which may be null, at times without."""
    return {**data, "locationId": rng.choice(subscriber.places)} if rng.random() < 0.7 else data


def with_person(rng: random.Random, subscriber: Subscriber, data: Data) -> Data:
    """Exactly one of userId and workspaceId; it seldom changes, and the other one may be null."""
    person, other = ("userId", "workspaceId") if sum(subscriber.id.encode()) % 3 else ("workspaceId", "userId")
    if rng.random() < 0.05:
        person, other = other, person
    data = {**data, person: f"{person[0]}-{subscriber.id}" + ("-new" if rng.random() < 0.05 else "")}
    return {**data, other: None} if rng.random() < 0.1 else data


def assignment(rng: random.Random, subscriber: Subscriber) -> Data:
    data = {**subscriber.ids, "package": rng.choice(PACKAGES)}
    return with_person(rng, subscriber, with_place(rng, subscriber, data))


def one_package_fact(month: Month, subscriber: Subscriber) -> None:
    rng = month.rng
    time_ms = month.instant(subscriber.account)
    month.send(month.draft(rng.choice([ASSIGNED, CHANGED]), time_ms, assignment(rng, subscriber)))


def one_removal(month: Month, subscriber: Subscriber) -> None:
    """Of some package, so often of one that runs no more; or of whichever runs."""
    rng = month.rng
    data = dict(subscriber.ids)
    if rng.random() < 0.6:
        data["package"] = rng.choice(PACKAGES)
    month.send(month.draft(REMOVED, month.instant(subscriber.account), data))


def a_stay(month: Month, subscriber: Subscriber) -> None:
    """Assigned, perhaps moved and changed, the old package removed late, the new one removed; perhaps back again."""
    rng = month.rng
    start = month.instant(subscriber.account)
    step = rng.choice([s for s in (1000, 3_600_000, DAY_MS, 3 * DAY_MS) if start + 5 * s < RECEIVED_AT_MS])
    first, second = rng.sample(PACKAGES, 2)
    data = {**assignment(rng, subscriber), "package": first}
    month.send(month.draft(ASSIGNED, start, data))
    if rng.random() < 0.5:
        month.send(month.draft(MOVED, start + step, {**subscriber.ids, "locationId": rng.choice(subscriber.places)}))
    if rng.random() < 0.6:
        month.send(month.draft(CHANGED, start + 2 * step, {**assignment(rng, subscriber), "package": second}))
        if rng.random() < 0.7:
            month.send(month.draft(REMOVED, start + rng.choice([2, 3]) * step, {**subscriber.ids, "package": first}))
    if rng.random() < 0.6:
        end = start + 4 * step
        month.send(month.draft(REMOVED, end, {**subscriber.ids, "package": rng.choice([first, second])}))
        if rng.random() < 0.5:  # touching and equal, or at one instant with or without `sequence`
            month.send(month.draft(ASSIGNED, end, {**data, "package": rng.choice([first, second])}))


def a_tie(month: Month, subscriber: Subscriber) -> None:
    """Facts of several kinds at one instant, so that `sequence`, kind, source and id decide (rule 10)."""
    rng, ids = month.rng, subscriber.ids
    time_ms = month.instant(subscriber.account)
    package, addon = rng.choice(PACKAGES), rng.choice(ADDONS)
    held = with_person(rng, subscriber, {**ids, "addon": addon})
    possible: list[tuple[str, Data]] = [
        (ASSIGNED, {**assignment(rng, subscriber), "package": package}),
        (ASSIGNED, assignment(rng, subscriber)),
        (CHANGED, assignment(rng, subscriber)),
        (REMOVED, {**ids, "package": package}),
        (REMOVED, ids),
        (MOVED, {**ids, "locationId": rng.choice(subscriber.places)}),
        (ADDON_ASSIGNED, with_place(rng, subscriber, held)),
        (ADDON_REMOVED, {**ids, "addon": addon}),
        (SUBSCRIBER_REMOVED, ids),
        (DEPROVISIONED, ids_of(subscriber.account)),
        (UPDATED, description(rng, subscriber.account, True)),
        (PROVISIONED, description(rng, subscriber.account, True)),
    ]
    weights = [4, 4, 4, 3, 3, 3, 3, 2, 1, 1, 2, 2]
    for kind, data in rng.choices(possible, weights, k=rng.choice([2, 3])):
        month.send(month.draft(kind, time_ms, data))


def one_addon_fact(month: Month, subscriber: Subscriber) -> None:
    rng = month.rng
    data = {**subscriber.ids, "addon": rng.choice(ADDONS)}
    if rng.random() < 0.35:
        month.send(month.draft(ADDON_REMOVED, month.instant(subscriber.account), data))
    else:
        data = with_person(rng, subscriber, with_place(rng, subscriber, data))
        month.send(month.draft(ADDON_ASSIGNED, month.instant(subscriber.account), data))


def one_move(month: Month, subscriber: Subscriber) -> None:
    data = {**subscriber.ids, "locationId": month.rng.choice(subscriber.places)}
    month.send(month.draft(MOVED, month.instant(subscriber.account), data))


def one_subscriber_removal(month: Month, subscriber: Subscriber) -> None:
    month.send(month.draft(SUBSCRIBER_REMOVED, month.instant(subscriber.account), dict(subscriber.ids)))


def one_deprovisioning(month: Month, subscriber: Subscriber) -> None:
    """The customer leaves, and at times comes back with one subscriber."""
    rng, account = month.rng, subscriber.account
    time_ms = month.instant(account)
    month.send(month.draft(DEPROVISIONED, time_ms, ids_of(account)))
    if rng.random() < 0.5:
        back = min(time_ms + rng.choice([0, 1, DAY_MS, 5 * DAY_MS]), RECEIVED_AT_MS - DAY_MS)
        month.send(month.draft(PROVISIONED, back, description(rng, account, True)))
        month.send(month.draft(ASSIGNED, back, assignment(rng, subscriber)))


def description(rng: random.Random, account: Account, whole: bool) -> Data:
    """Customer attributes; `whole` ones have the external id."""
    data = ids_of(account)
    if whole or rng.random() < 0.5:
        data["externalId"] = rng.choice([*AWKWARD, f"ext-{rng.randrange(9)}"])
    if rng.random() < 0.2:
        data["subscriptionId"] = rng.choice(["Sub-C", "Sub-A", "Sub-unknown", None])
    if rng.random() < 0.2:
        data["name"] = rng.choice([*AWKWARD_NAMES, None])
    if rng.random() < 0.2:
        data["internal"] = rng.choice([True, False, False, None])
    return data


def one_description(month: Month, subscriber: Subscriber) -> None:
    rng, account = month.rng, subscriber.account
    kind = rng.choice([PROVISIONED, UPDATED, UPDATED])
    month.send(month.draft(kind, month.instant(account), description(rng, account, kind == PROVISIONED)))


def one_order_fact(month: Month, subscriber: Subscriber) -> None:
    """Few order ids, so that orders are repeated, changed and cancelled, in any order."""
    rng, account = month.rng, subscriber.account
    data: Data = {**ids_of(account), "orderId": f"o-{rng.randrange(4)}"}
    if rng.random() < 0.2:
        month.send(month.draft(CANCELLED, month.instant(account), data))
    else:
        place = rng.choice([p for p in subscriber.places if p is not None])
        data.update(locationId=place, seats=rng.choice([1, 5, 5, 6, 6, 17, 1_000_000]))
        month.send(month.draft(ORDERED, month.instant(account), data))


def one_void(month: Month, subscriber: Subscriber) -> None:
    if month.drafts:
        voids = [d for d in month.drafts if d.type == VOIDED]
        among = voids if voids and month.rng.random() < 0.3 else month.drafts
        month.send(month.void(month.rng.choice(among)))


def one_refused(month: Month, subscriber: Subscriber) -> None:
    """A record to refuse. It may carry the identity of a good one, which it must not take."""
    rng = month.rng
    draft = month.draft(ASSIGNED, month.instant(subscriber.account), assignment(rng, subscriber))
    month.lines.append(refused_line(rng, draft))
    if rng.random() < 0.5:
        month.send(draft)


def refused_line(rng: random.Random, draft: Draft) -> bytes:
    event = envelope(rng, draft)
    data = event["data"]
    breakages: list[Callable[[], object]] = [
        lambda: event.update(specversion="0.3"),
        lambda: event.pop("id"),
        lambda: event.update(source=7),
        lambda: event.update(type="wholesale.package.renamed.v1"),
        lambda: event.update(type="wholesale.package.renamed.v1", time="never"),
        lambda: event.update(time="yesterday"),
        lambda: event.update(time="2026-10-01T23:59:60Z"),
        lambda: event.update(time="2026-10-01T00:00:00"),
        lambda: event.update(time="2026-02-29T00:00:00Z"),
        lambda: event.update(sequence=1),
        lambda: event.update(datacontenttype="text/xml"),
        lambda: event.update(id="x" * 129),
        lambda: data.update(package="9BAD"),
        lambda: data.update(package="P" * 65),
        lambda: data.update(package=None),
        lambda: data.update(userId="u", workspaceId="w"),
        lambda: (data.update(userId=None), data.pop("workspaceId", None)),
        lambda: data.update(subscriberId="bell\u0007"),
        lambda: data.update(subscriberId=""),
        lambda: data.update(customerOrgId=12),
        lambda: data.pop("partnerOrgId"),
        lambda: data.update(locationId=5),
        lambda: data.update(locationId=5) or event.update(time="2100-01-01T00:00:00Z"),
        lambda: event.update(time="2100-01-01T00:00:00Z"),
        lambda: event.update(time="1999-12-31T23:59:59.999Z"),
        lambda: event.update(time="2000-01-01T00:00:00+00:01"),
        lambda: (
            event.update(type=ORDERED),
            data.update(orderId="o-1", locationId="L", seats=rng.choice([0, True, "6", 1_000_001, 5.5])),
        ),
    ]
    pick = rng.randrange(len(breakages) + 3)
    if pick < len(breakages):
        breakages[pick]()
        return dump(rng, shuffled(rng, event))
    line = dump(rng, event)
    if pick == len(breakages):
        return rng.choice([line[:-1], b"\xff" + line, b"", line + b"}", line.replace(b'"1.0"', b"NaN")])
    if pick == len(breakages) + 1:
        return rng.choice([b"[" + line + b"]", b"null", b'"1.0"', b"1"])
    return line + b" " * (MAX_BYTES + 1 - len(line)) if rng.random() < 0.2 else b"{}"


ACTIONS: list[tuple[Callable[[Month, Subscriber], None], int]] = [
    (one_package_fact, 26),
    (a_stay, 12),
    (a_tie, 6),
    (one_removal, 12),
    (one_addon_fact, 14),
    (one_move, 8),
    (one_subscriber_removal, 3),
    (one_deprovisioning, 2),
    (one_description, 5),
    (one_order_fact, 7),
    (one_void, 5),
    (one_refused, 4),
]


def random_subscribers(rng: random.Random, customers: int) -> list[Subscriber]:
    """Some customers have several partners; some subscriber ids and locations are the same everywhere."""
    found = []
    for number in range(customers):
        for partner in rng.sample(PARTNERS, rng.choice([1, 1, 1, 2])):
            for index in range(rng.choice([1, 2, 3, 4])):
                named = rng.random() < 0.5
                own_id = f"s-{number}-{index}" if named else rng.choice([f"s-{index}", *AWKWARD_IDS])
                places = (None, f"L{number}-0", f"L{number}-1", rng.choice(AWKWARD_IDS))
                found.append(Subscriber((partner, f"c-{number}"), own_id, places))
    return found


def random_month(rng: random.Random, *, customers: int = 6, events: int = 150) -> tuple[list[bytes], list[bytes]]:
    """Catalog lines and event lines in order of arrival, which has nothing to do with time.

    `events` is the number of event lines. Every fact that is meant to be good holds from before RECEIVED_AT_MS."""
    catalog = random_catalog(rng)
    subscribers = random_subscribers(rng, customers)
    month = Month(rng)
    for account in dict.fromkeys(s.account for s in subscribers):
        if rng.random() < 0.85:  # usage needs no description of the customer
            time_ms = 1_789_430_400_000 + rng.choice([0, 1, 40 * DAY_MS])
            month.send(month.draft(PROVISIONED, time_ms, description(rng, account, True)))
    actions, weights = zip(*ACTIONS, strict=True)
    while len(month.lines) < events:
        rng.choices(actions, weights)[0](month, rng.choice(subscribers))
    lines = month.lines[:events]
    rng.shuffle(lines)
    return catalog, lines
