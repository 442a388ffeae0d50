"""Facts: what one event states, normalised, with the offset that it came from.

The state of a subscriber or customer is its set of facts (and nothing else), so these structs are at
once what the decoder gives, what the core folds and what the `entitlements` topic keeps. They travel as
arrays: adding a member means adding it at the end, with a default.
"""

from enum import IntEnum

from msgspec import Struct

#: `location_id` of a fact that carries no location: it leaves the subscriber's where it is (rule 8).
#: No id is empty, so the empty string is free; None means "at no location".
UNCHANGED = ""


class Kind(IntEnum):
    """What a fact states. The tens are the rank of rule 10 among facts at one instant and sequence."""

    CUSTOMER_DEPROVISIONED = 0
    SUBSCRIBER_REMOVED = 10
    PACKAGE_REMOVED = 20
    ADDON_REMOVED = 21
    MOVED = 30
    PACKAGE_ASSIGNED = 40
    ADDON_ASSIGNED = 41
    PACKAGE_CHANGED = 50
    CUSTOMER_PROVISIONED = 60
    CUSTOMER_UPDATED = 70
    SETUP_ASSIST_ORDERED = 80
    SETUP_ASSIST_CANCELLED = 81
    VOIDED = 82


class SubscriberFact(Struct, frozen=True, array_like=True, gc=False):
    """One fact about a subscriber."""

    time_ms: int
    sequence: str | None
    kind: int
    source: str
    id: str
    offset: int
    item: str | None = None
    user_id: str | None = None
    workspace_id: str | None = None
    location_id: str | None = UNCHANGED
    voids_source: str | None = None
    voids_id: str | None = None


class CustomerFact(Struct, frozen=True, array_like=True, gc=False):
    """One fact about a customer, its Setup Assist orders included."""

    time_ms: int
    sequence: str | None
    kind: int
    source: str
    id: str
    offset: int
    external_id: str | None = None
    subscription_id: str | None = None
    name: str | None = None
    internal: bool | None = None
    order_id: str | None = None
    location_id: str | None = None
    seats: int | None = None
    voids_source: str | None = None
    voids_id: str | None = None


#: Where a fact stands in the order of rule 10.
Order = tuple[int, bool, str, int, str, str]


def order_of(fact: SubscriberFact | CustomerFact) -> Order:
    """The total order of rule 10: time, sequence (absent first), rank of the kind, source, id; by code point."""
    sequence = fact.sequence
    return (fact.time_ms, sequence is not None, sequence or "", fact.kind // 10, fact.source, fact.id)


def same_subscriber_content(one: SubscriberFact, other: SubscriberFact) -> bool:
    """Whether two facts of one identity state the same: then the later one is a duplicate, else a conflict."""
    return (
        one.time_ms == other.time_ms
        and one.kind == other.kind
        and one.item == other.item
        and one.sequence == other.sequence
        and one.user_id == other.user_id
        and one.workspace_id == other.workspace_id
        and one.location_id == other.location_id
        and one.voids_source == other.voids_source
        and one.voids_id == other.voids_id
    )


def same_customer_content(one: CustomerFact, other: CustomerFact) -> bool:
    """As `same_subscriber_content`, for facts about a customer."""
    return (
        one.time_ms == other.time_ms
        and one.kind == other.kind
        and one.sequence == other.sequence
        and one.external_id == other.external_id
        and one.subscription_id == other.subscription_id
        and one.name == other.name
        and one.internal == other.internal
        and one.order_id == other.order_id
        and one.location_id == other.location_id
        and one.seats == other.seats
        and one.voids_source == other.voids_source
        and one.voids_id == other.voids_id
    )
