"""Facts as records that can be cited: where they came from, and what they state."""

from collections.abc import Iterable, Mapping

from msgspec import UNSET, Struct, UnsetType

from billing.audit.explanation import Cited, Held
from billing.audit.judged import Fact, JudgedRecord, Verdict
from schemas import events
from schemas.entitlements import ADDON, Interval
from schemas.facts import UNCHANGED, CustomerFact, Kind, Order, SubscriberFact, order_of
from schemas.instants import parse_time_ms

_EVENTS: Mapping[Kind, type] = {
    Kind.CUSTOMER_DEPROVISIONED: events.CustomerDeprovisioned,
    Kind.SUBSCRIBER_REMOVED: events.SubscriberRemoved,
    Kind.PACKAGE_REMOVED: events.PackageRemoved,
    Kind.ADDON_REMOVED: events.AddonRemoved,
    Kind.MOVED: events.SubscriberMoved,
    Kind.PACKAGE_ASSIGNED: events.PackageAssigned,
    Kind.ADDON_ASSIGNED: events.AddonAssigned,
    Kind.PACKAGE_CHANGED: events.PackageChanged,
    Kind.CUSTOMER_PROVISIONED: events.CustomerProvisioned,
    Kind.CUSTOMER_UPDATED: events.CustomerUpdated,
    Kind.SETUP_ASSIST_ORDERED: events.SetupAssistOrdered,
    Kind.SETUP_ASSIST_CANCELLED: events.SetupAssistCancelled,
    Kind.VOIDED: events.EventVoided,
}
#: The event type of each kind of fact.
TYPES: Mapping[int, str] = {int(kind): event.__struct_config__.tag for kind, event in _EVENTS.items()}  # type: ignore[attr-defined]
KINDS: Mapping[str, int] = {type_: kind for kind, type_ in TYPES.items()}

#: What cannot be placed in time stands last.
_NEVER = (2**63, False, "", 0, "", "")


class Place(Struct, frozen=True):
    """Where a record stands in the log."""

    partition: int
    arrived_ms: int


class Citations:
    """The metered records of an account, by offset: they can be cited."""

    def __init__(self, records: Iterable[JudgedRecord]) -> None:
        self._places = {
            record.offset: Place(record.partition, record.arrived_ms)
            for record in records
            if record.verdict is Verdict.METERED
        }

    def of(self, fact: Fact) -> Cited:
        """The record of a fact."""
        place = self._places[fact.offset]
        return Cited(
            place.partition,
            fact.offset,
            place.arrived_ms,
            fact.source,
            fact.id,
            TYPES[fact.kind],
            fact.time_ms,
            fact.item if isinstance(fact, SubscriberFact) else None,
            location_stated(fact),
        )


def location_stated(fact: Fact) -> str | UnsetType | None:
    """The location that a fact states; null: at none; absent: it says nothing about it."""
    if isinstance(fact, CustomerFact):
        return UNSET if fact.location_id is None else fact.location_id
    return UNSET if fact.location_id == UNCHANGED else fact.location_id


def held(interval: Interval) -> Held:
    return Held(interval.item, interval.slot == ADDON, interval.location_id, interval.start_ms, interval.end_ms)


def place_in_time(record: JudgedRecord) -> tuple[Order, int]:
    """Where a record stands in the story: in the order of rule 10, refused ones by the time that they claim."""
    if record.fact is not None:
        return order_of(record.fact), record.offset
    claimed_ms = claimed_time_ms(record)
    return (_NEVER if claimed_ms is None else (claimed_ms, True, "\U0010ffff", 99, "", "")), record.offset


def claimed_time_ms(record: JudgedRecord) -> int | None:
    """The time that a refused record claims, if it can be read."""
    if record.claimed.time is None:
        return None
    try:
        return parse_time_ms(record.claimed.time)
    except ValueError:
        return None
