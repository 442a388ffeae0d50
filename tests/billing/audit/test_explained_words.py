"""What is said of a subscriber or customer, word by word: one golden text for each case of the rules.

`RTMETER_UPDATE_GOLDEN=1` writes them anew; then read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from billing.audit.explanation import Explanation
from billing.audit.judged import judge
from billing.audit.raw_events import RawEvent
from schemas.catalog import decode_catalog
from schemas.instants import parse_time_ms
from streams.core.catalog import CatalogState
from tests.billing.audit.records import explained_at
from tests.streams.test_rules import (
    addon,
    assigned,
    cancelled,
    changed,
    deprovisioned,
    event,
    ordered,
    records,
    removed,
    voided,
)

GOLDEN = Path(__file__).parents[2] / "data" / "explained"
UPDATE = os.environ.get("RTMETER_UPDATE_GOLDEN") == "1"

_WRONG = removed("A", "3", "wrong")
_VOID = voided(_WRONG, own_id="void")

#: Facts about subscriber s of customer C of partner P, in order of arrival.
SUBSCRIBERS: dict[str, tuple[dict[str, Any], ...]] = {
    "assigned-changed-removed": (assigned("A", "1 06:00", "1"), changed("B", "5", "2"), removed("B", "9 12:00", "3")),
    "rule-5-deprovisioned": (
        assigned("A", "1", "1"),
        {**addon("X", "2"), "id": "2"},
        deprovisioned("3"),
        deprovisioned("4"),
    ),
    "rule-8-locations": (
        assigned("A", "1", "1", locationId="L"),
        {**addon("X", "2"), "id": "2"},
        event("subscriber.moved", "5", "3", locationId="M"),
        event("subscriber.moved", "6", "4", locationId="M"),
        changed("B", "7", "5"),
        assigned("B", "8", "6", locationId=None),
        event("subscriber.removed", "9", "7"),
        event("subscriber.moved", "10", "8", locationId="N"),
        assigned("C", "11", "9"),
    ),
    "rule-9-late-removal": (assigned("A", "1", "1"), changed("B", "5", "2"), removed("A", "6", "3")),
    "rule-9-removals-that-find-nothing": (
        removed("A", "1", "1"),
        event("addon.removed", "2", "2", addon="X"),
        event("subscriber.removed", "3", "3"),
        assigned("A", "4", "4"),
        removed(None, "5", "5"),
        removed(None, "6", "6"),
    ),
    "rule-10-one-instant": (
        assigned("A", "1", "1"),
        removed("A", "5", "2"),
        assigned("A", "5", "3"),
        assigned("B", "7", "4", sequence="1"),
        assigned("C", "7", "5", sequence="2"),
        assigned("D", "7", "6"),
    ),
    "rule-10-only-source-and-id": (assigned("A", "1", "z"), assigned("B", "1", "y")),
    "rule-10-late-arrival": (changed("B", "3", "1"), assigned("A", "1", "2")),
    "rule-11-changes-nothing": (
        assigned("A", "1", "1"),
        assigned("A", "3", "2"),
        assigned("A", "4", "3", workspaceId="w"),
        {**addon("X", "5"), "id": "4"},
        {**addon("X", "6"), "id": "5"},
    ),
    "rule-11-no-length": (assigned("A", "1", "1", sequence="1"), removed("A", "1", "2", sequence="2")),
    "rule-11-moved-and-back": (
        assigned("A", "1", "1", locationId="L"),
        event("subscriber.moved", "5", "2", locationId="M", sequence="1"),
        event("subscriber.moved", "5", "3", locationId="L", sequence="2"),
    ),
    "rule-11-voids": (assigned("A", "1", "1"), _WRONG, _VOID, voided(_VOID, own_id="void of the void")),
    "rule-11-voids-nothing": (assigned("A", "1", "1"), voided(assigned("A", "1", "other"), own_id="void")),
    "rule-14-less-than-half-a-microday": (assigned("A", "1", "1"), removed("A", "1 00:00:00.043", "2")),
    "duplicate-conflict-refused": (
        assigned("A", "1", "1"),
        assigned("A", "1", "1"),
        assigned("B", "1", "1"),
        {**assigned("a-b", "2", "2")},
        {**removed("A", "3", "3"), "time": "yesterday"},
    ),
}

CUSTOMERS: dict[str, tuple[dict[str, Any], ...]] = {
    "customer-attributes": (
        event("customer.provisioned", "1", "1", externalId="e", name="Old", internal=True),
        event("customer.updated", "3", "2", subscriptionId="Sub-2", internal=False),
        event("customer.updated", "5", "3", name="New\x1b[31m", externalId="f"),
        event("customer.updated", "6", "4", name="New\x1b[31m"),
    ),
    "customer-internal": (
        event("customer.provisioned", "1", "1", externalId="e", internal=True),
        assigned("A", "1", "2"),
    ),
    "rule-18-orders": (
        ordered("o", "5", 6, own_id="1"),
        ordered("o", "7", 4, own_id="2"),
        ordered("p", "8", 2, own_id="3"),
        {**cancelled("p", "9"), "id": "4"},
        {**cancelled("p", "10"), "id": "5"},
        {**cancelled("q", "2"), "id": "6"},
        ordered("q", "3", 9, own_id="7"),
    ),
    "customer-deprovisioned": (
        event("customer.provisioned", "1", "1", externalId="e"),
        assigned("A", "1", "2"),
        assigned("B", "1", "3", subscriberId="t"),
        deprovisioned("9"),
        voided(deprovisioned("12"), own_id="void"),
        deprovisioned("12"),
    ),
}

_CATALOG = (
    {
        "type": "wholesale.partner.upserted.v1",
        "data": {
            "partnerOrgId": "P",
            "name": "Partner",
            "parentOrgId": "Q",
            "billingStartDate": "2026-10-03",
            "provisioningState": "active",
        },
    },
    {
        "type": "wholesale.partner.upserted.v1",
        "data": {"partnerOrgId": "Q", "name": "Parent", "subscriptionId": "Sub-1", "provisioningState": "active"},
    },
    {
        "type": "wholesale.subscription.upserted.v1",
        "data": {
            "subscriptionId": "Sub-1",
            "partnerOrgId": "Q",
            "currency": "USD",
            "services": [{"service": "A", "sku": "S-A", "description": "", "kind": "package", "unitPrice": "7.10"}],
        },
    },
)
_ARRIVED_MS = parse_time_ms("2026-11-15T00:00:00Z")


def catalog() -> CatalogState:
    """P is a sub-partner of Q whose billing starts on 3 October; Q's subscription lists A alone."""
    standing = {"specversion": "1.0", "source": "/shop", "time": "2026-01-01T00:00:00Z"}
    lines = [json.dumps({**standing, "id": str(n), **entry}).encode() for n, entry in enumerate(_CATALOG)]
    return CatalogState(decode_catalog(line, None, _ARRIVED_MS, n, check_key=False) for n, line in enumerate(lines))


def explained_of(events: tuple[dict[str, Any], ...], subscriber_id: str | None) -> Explanation:
    raw = [RawEvent(3, r.offset, r.timestamp, r.key, r.value) for r in records(*events)]
    return explained_at(judge(raw), "P", "C", subscriber_id, catalog())


def text_of(explained: Explanation) -> str:
    """All sentences, and the arithmetic in short."""
    lines = [*explained.said, ""]
    for record in explained.records:
        lines.append(f"{record.offset}  {record.said}")
    for interval in explained.intervals:
        lines += ["", interval.said]
        parts = [f"{part.end_microday} - {part.start_microday} = {part.quantity_microdays}" for part in interval.days]
        lines += [f"    {part}" for part in (parts if len(parts) < 4 else [parts[0], "...", parts[-1]])]
    for order in explained.orders:
        lines.append(
            f"order {order.order_id}: {order.item}, {order.quantity_microdays} microdays, by {order.ordered_by.id}"
        )
    for attribute in explained.attributes:
        lines.append(f"{attribute.name}: {attribute.value!r} by {attribute.stated_by.id}")
    return "\n".join([*lines, "", *explained.reported.said, ""])


@pytest.mark.parametrize("case", [*SUBSCRIBERS, *CUSTOMERS])
def test_the_words_are_those_of_the_golden_text(case: str) -> None:
    of_subscriber = case in SUBSCRIBERS
    events = SUBSCRIBERS[case] if of_subscriber else CUSTOMERS[case]
    made = text_of(explained_of(events, "s" if of_subscriber else None))
    path = GOLDEN / f"{case}.txt"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, encoding="utf-8")
    assert made == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("own_only", "told"), [(False, [0, 2, 3]), (True, [0])])
def test_a_record_that_does_not_say_whose_it_is_is_not_told_to_one_who_may_see_only_the_own(
    own_only: bool, told: list[int]
) -> None:
    nobodys = assigned("A", "2", "2")
    del nobodys["data"]["partnerOrgId"]
    others = assigned("A", "2", "3", partnerOrgId="Q")
    raw = [
        RawEvent(0, r.offset, r.timestamp, r.key, r.value) for r in records(assigned("A", "1", "1"), others, nobodys)
    ]
    raw.append(RawEvent(0, 3, _ARRIVED_MS, b"C", b"garbage"))
    made = explained_at(judge(raw), "P", "C", None, catalog(), every_record=True, own_only=own_only)
    assert sorted(record.offset for record in made.records) == told
    assert made.left_out == 0


def test_each_golden_text_belongs_to_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*SUBSCRIBERS, *CUSTOMERS}
