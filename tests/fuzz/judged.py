"""What must hold of any byte string: it is taken or refused with a reason, alone as among others, and what is taken can
be written down again and means the same."""

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from schemas.catalog import CatalogVersion, decode_catalog
from schemas.decode import CustomerEvent, DayClose, Decoded, SubscriberEvent, decode_assignment, decode_assignments
from schemas.facts import UNCHANGED, Kind
from schemas.instants import day_text, parse_time_ms, time_text
from schemas.reasons import Reason, Refused
from tests.fuzz.mutations import mutated
from tests.streams.strategies import Record

APPENDED_MS = parse_time_ms("2026-11-15T00:00:00Z")
_EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
_OFFSET = 7
_TYPES = {
    Kind.CUSTOMER_DEPROVISIONED: "wholesale.customer.deprovisioned.v1",
    Kind.SUBSCRIBER_REMOVED: "wholesale.subscriber.removed.v1",
    Kind.PACKAGE_REMOVED: "wholesale.package.removed.v1",
    Kind.ADDON_REMOVED: "wholesale.addon.removed.v1",
    Kind.MOVED: "wholesale.subscriber.moved.v1",
    Kind.PACKAGE_ASSIGNED: "wholesale.package.assigned.v1",
    Kind.ADDON_ASSIGNED: "wholesale.addon.assigned.v1",
    Kind.PACKAGE_CHANGED: "wholesale.package.changed.v1",
    Kind.CUSTOMER_PROVISIONED: "wholesale.customer.provisioned.v1",
    Kind.CUSTOMER_UPDATED: "wholesale.customer.updated.v1",
    Kind.SETUP_ASSIST_ORDERED: "wholesale.setup-assist.ordered.v1",
    Kind.SETUP_ASSIST_CANCELLED: "wholesale.setup-assist.cancelled.v1",
    Kind.VOIDED: "wholesale.event.voided.v1",
}


class Tally(Struct):
    """What came of many byte strings."""

    outcomes: Counter[str]
    slowest_seconds: float = 0.0
    slowest_bytes: int = 0


def corpus() -> list[bytes]:
    """All examples of the contract, taken and refused."""
    return [path.read_bytes() for path in sorted(_EXAMPLES.rglob("*.json")) if not path.name.endswith(".context.json")]


def judge_many(count: int, seed: int) -> Tally:
    """Judge so many byte strings; AssertionError with the one that something does not hold of."""
    rng = random.Random(seed)
    examples = corpus()
    tally = Tally(Counter())
    for _ in range(count):
        value = mutated(rng, examples)
        started = time.perf_counter()
        try:
            outcome = judge(value)
        except Exception as failure:
            raise AssertionError(f"{type(failure).__name__}: {failure}\n{value[:2000]!r}") from failure
        spent = time.perf_counter() - started
        tally.outcomes[outcome] += 1
        if spent > tally.slowest_seconds:
            tally.slowest_seconds, tally.slowest_bytes = spent, len(value)
    return tally


def judge(value: bytes) -> str:
    """The outcome of one byte string on both topics."""
    judge_catalog(value)
    alone = _decode(value)
    record = Record(_OFFSET, APPENDED_MS, None, value)
    good = Record(_OFFSET, APPENDED_MS, None, _GOOD)
    among = list(decode_assignments([good, record, good], check_key=False))
    assert len(among) == 3
    assert _same(among[0], _decode(_GOOD)) and _same(among[2], among[0]), "its neighbours are what they are without it"
    assert _same(among[1], alone), f"alone {alone}, among others {among[1]}"
    if isinstance(alone, Refused):
        assert alone.reason in set(Reason) - {Reason.IDENTITY_CONFLICT, Reason.KEY_MISMATCH}
        assert alone.detail
        return alone.reason
    again = _decode(written_again(alone))
    assert _same(again, alone), f"{alone} written down again is {again}"
    return "taken"


def judge_catalog(value: bytes) -> None:
    """On the other topic it is taken or refused with a reason, too."""
    found: CatalogVersion | Refused
    try:
        found = decode_catalog(value, None, APPENDED_MS, _OFFSET, check_key=False)
    except Refused as refused:
        found = refused
    assert isinstance(found, CatalogVersion) or found.detail


def written_again(event: Decoded) -> bytes:
    """The plainest event that states the same."""
    if isinstance(event, DayClose):
        return _event("rtmeter.day.closed.v1", "-", "/again", APPENDED_MS, None, {"day": day_text(event.day)})
    fact = event.fact
    data: dict[str, Any] = {"partnerOrgId": event.partner_id, "customerOrgId": event.customer_id}
    if isinstance(event, SubscriberEvent):
        data["subscriberId"] = event.subscriber_id
        item = "addon" if fact.kind in (Kind.ADDON_ASSIGNED, Kind.ADDON_REMOVED) else "package"
        data |= {item: event.fact.item, "userId": event.fact.user_id, "workspaceId": event.fact.workspace_id}
        data = {name: member for name, member in data.items() if member is not None}
        if event.fact.location_id != UNCHANGED:
            data["locationId"] = event.fact.location_id
    else:
        assert isinstance(event, CustomerEvent)
        stated = {
            "externalId": event.fact.external_id,
            "subscriptionId": event.fact.subscription_id,
            "name": event.fact.name,
            "internal": event.fact.internal,
            "orderId": event.fact.order_id,
            "locationId": event.fact.location_id,
            "seats": event.fact.seats,
        }
        data |= {name: member for name, member in stated.items() if member is not None}
    if fact.kind == Kind.VOIDED:
        data["voids"] = {"source": fact.voids_source, "id": fact.voids_id}
    return _event(_TYPES[Kind(fact.kind)], fact.id, fact.source, fact.time_ms, fact.sequence, data)


def _event(kind: str, identifier: str, source: str, time_ms: int, sequence: str | None, data: dict[str, Any]) -> bytes:
    event = {"specversion": "1.0", "id": identifier, "source": source, "type": kind, "time": time_text(time_ms)}
    return json.dumps({**event, "sequence": sequence, "data": data}).encode()


_GOOD = _event(
    "wholesale.package.assigned.v1",
    "good",
    "/good",
    APPENDED_MS,
    None,
    {"partnerOrgId": "p", "customerOrgId": "c", "subscriberId": "s", "package": "A", "userId": "u"},
)


def _decode(value: bytes) -> Decoded | Refused:
    try:
        return decode_assignment(value, None, APPENDED_MS, _OFFSET, check_key=False)
    except Refused as refused:
        return refused


def _same(one: Decoded | Refused, other: Decoded | Refused) -> bool:
    if isinstance(one, Refused) or isinstance(other, Refused):
        return isinstance(one, Refused) and isinstance(other, Refused) and one.args == other.args
    return one == other


def merged(tallies: Sequence[Tally]) -> Tally:
    """One tally of several."""
    slowest = max(tallies, key=lambda tally: tally.slowest_seconds)
    return Tally(sum((tally.outcomes for tally in tallies), Counter()), slowest.slowest_seconds, slowest.slowest_bytes)
