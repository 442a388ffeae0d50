"""Bytes of a `package-assignments` record to what it states, or the reason why it is refused.

The fast way decodes straight into typed structs. Only what that way refuses is looked at again, slowly and
in the contract's order of reasons, so that a good record never pays for the explanation of a bad one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Protocol

from msgspec import UNSET, Struct

from schemas.events import (
    AddonAssigned,
    AddonRemoved,
    AssignmentEvent,
    CustomerDeprovisioned,
    CustomerProvisioned,
    CustomerUpdated,
    DayClosed,
    EventVoided,
    PackageAssigned,
    PackageChanged,
    PackageRemoved,
    SetupAssistCancelled,
    SetupAssistOrdered,
    SubscriberMoved,
    SubscriberRemoved,
)
from schemas.facts import UNCHANGED, CustomerFact, Kind, SubscriberFact
from schemas.instants import day_number, day_of_ms, parse_time_ms
from schemas.json_text import EventDecoder
from schemas.reasons import Reason, Refused

#: 2000-01-01T00:00:00Z: what holds from before it is refused as `before-horizon`.
HORIZON_MS = 946_684_800_000
#: How far `time` may lie after the record's append time.
FUTURE_TOLERANCE_MS = 300_000

#: So many records are looked at together: few enough that they stay in the processor's cache, and that a bad one
#: makes few others take the slow way.
_DECODED_TOGETHER = 128

_ITEM_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}|[a-z][a-z0-9_]{0,63}", re.ASCII)
_ITEM_CACHE: dict[str, str] = {}
_ITEM_CACHE_SIZE = 10_000


class SubscriberEvent(Struct, gc=False):
    """A fact about a subscriber, and whose it is."""

    partner_id: str
    customer_id: str
    subscriber_id: str
    fact: SubscriberFact


class CustomerEvent(Struct, gc=False):
    """A fact about a customer, and whose it is."""

    partner_id: str
    customer_id: str
    fact: CustomerFact


class DayClose(Struct, gc=False):
    """Days up to this one, in days since the epoch, may be aggregated."""

    day: int


Decoded = SubscriberEvent | CustomerEvent | DayClose

_DECODER: EventDecoder[AssignmentEvent] = EventDecoder(AssignmentEvent)


class AssignmentRecord(Protocol):
    """A record of `package-assignments`. `timestamp`: the broker's append time in ms."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def decode_assignment(
    value: bytes | None, key: bytes | None, append_time_ms: int, offset: int, *, check_key: bool = True
) -> Decoded:
    """What one record of `package-assignments` states; `Refused` with the first reason that applies.

    `append_time_ms` is the broker's append time; `offset` becomes part of the fact. `check_key=False` is for
    lines of a file, which have no key.
    """
    return _stated(_DECODER.decode(value), key, append_time_ms, offset, check_key)


def decode_assignments(records: Sequence[AssignmentRecord], *, check_key: bool = True) -> Iterator[Decoded | Refused]:
    """What each record states, or why it is refused: as `decode_assignment`, at a lower cost for good records."""
    for start in range(0, len(records), _DECODED_TOGETHER):
        some = records[start : start + _DECODED_TOGETHER]
        events = _DECODER.decode_good([record.value for record in some])
        for record, event in zip(some, events or repeat(None)):
            try:
                yield _stated(
                    _DECODER.decode(record.value) if event is None else event,
                    record.key,
                    record.timestamp,
                    record.offset,
                    check_key,
                )
            except Refused as refused:
                yield refused


def _stated(event: AssignmentEvent, key: bytes | None, append_time_ms: int, offset: int, check_key: bool) -> Decoded:
    try:
        time_ms = parse_time_ms(event.time)
    except ValueError as error:
        raise Refused(Reason.BAD_FIELD, f"time: {error}") from None
    build, kind = _BUILDERS[type(event)]
    decoded = build(kind, event, time_ms, offset)
    if type(decoded) is DayClose:
        if check_key and key is not None:
            raise _key_mismatch(decoded, key)
        if decoded.day > day_of_ms(append_time_ms):
            # Closing the year 9999 would write a row for every day until then.
            raise Refused(Reason.TOO_FAR_IN_FUTURE, "data.day is after the day on which the record was appended")
    elif check_key and key != decoded.customer_id.encode():  # type: ignore[union-attr]
        raise _key_mismatch(decoded, key)
    if not HORIZON_MS <= time_ms <= append_time_ms + FUTURE_TOLERANCE_MS:
        raise _out_of_range(event.time, time_ms, append_time_ms)
    return decoded


def _out_of_range(time: str, time_ms: int, append_time_ms: int) -> Refused:
    if time_ms < HORIZON_MS:
        return Refused(Reason.BEFORE_HORIZON, f"time {time} is before 2000-01-01")
    return Refused(
        Reason.TOO_FAR_IN_FUTURE, f"time {time} is {time_ms - append_time_ms} ms after the record was appended"
    )


def _key_mismatch(decoded: Decoded, key: bytes | None) -> Refused:
    if isinstance(decoded, DayClose):
        return Refused(Reason.KEY_MISMATCH, "a day-closed record has no key")
    shown = "no key" if key is None else repr(key[:140])
    return Refused(Reason.KEY_MISMATCH, f"{shown} is not customerOrgId {decoded.customer_id!r}")


def _item_name(name: str, field: str) -> str:
    """The upper-case name of a package or add-on; the provisioning API's lower-case names are accepted."""
    known = _ITEM_CACHE.get(name)
    if known is not None:
        return known
    if _ITEM_NAME.fullmatch(name) is None:
        raise Refused(Reason.BAD_FIELD, f"data.{field}: {name!r} is not a name of the form [A-Z][A-Z0-9_]{{0,63}}")
    if len(_ITEM_CACHE) >= _ITEM_CACHE_SIZE:
        _ITEM_CACHE.clear()
    _ITEM_CACHE[name] = upper = name.upper()
    return upper


def _not_one_holder(user_id: str | None) -> Refused:
    held = "neither is" if user_id is None else "both are"
    return Refused(Reason.BAD_FIELD, f"data.userId: exactly one of userId and workspaceId is wanted, {held} given")


# The builders below turn an event of one type into what it states. The two that nearly all events go through
# say more at once than is pretty: a call costs as much as a tenth of the whole decoding.


def _package_assigned(kind: int, event: PackageAssigned | PackageChanged, time_ms: int, offset: int) -> Decoded:
    data = event.data
    user_id = data.user_id
    workspace_id = data.workspace_id
    if (user_id is None) is (workspace_id is None):
        raise _not_one_holder(user_id)
    location_id = data.location_id
    return SubscriberEvent(
        data.partner_org_id,
        data.customer_org_id,
        data.subscriber_id,
        SubscriberFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            _ITEM_CACHE.get(data.package) or _item_name(data.package, "package"),
            user_id,
            workspace_id,
            UNCHANGED if location_id is UNSET else location_id,
        ),
    )


def _addon_assigned(kind: int, event: AddonAssigned, time_ms: int, offset: int) -> Decoded:
    data = event.data
    if (data.user_id is None) is (data.workspace_id is None):
        raise _not_one_holder(data.user_id)
    location_id = data.location_id
    item = _item_name(data.addon, "addon")
    return SubscriberEvent(
        data.partner_org_id,
        data.customer_org_id,
        data.subscriber_id,
        SubscriberFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            item,
            data.user_id,
            data.workspace_id,
            UNCHANGED if location_id is UNSET else location_id,
        ),
    )


def _subscriber_fact(
    kind: int,
    event: PackageRemoved | AddonRemoved | SubscriberRemoved | SubscriberMoved,
    time_ms: int,
    offset: int,
    item: str | None = None,
    location_id: str | None = UNCHANGED,
) -> Decoded:
    data = event.data
    fact = SubscriberFact(time_ms, event.sequence, kind, event.source, event.id, offset, item, location_id=location_id)
    return SubscriberEvent(data.partner_org_id, data.customer_org_id, data.subscriber_id, fact)


def _package_removed(kind: int, event: PackageRemoved, time_ms: int, offset: int) -> Decoded:
    package = event.data.package
    item = None if package is None else _item_name(package, "package")
    return _subscriber_fact(kind, event, time_ms, offset, item)


def _addon_removed(kind: int, event: AddonRemoved, time_ms: int, offset: int) -> Decoded:
    return _subscriber_fact(kind, event, time_ms, offset, _item_name(event.data.addon, "addon"))


def _subscriber_moved(kind: int, event: SubscriberMoved, time_ms: int, offset: int) -> Decoded:
    return _subscriber_fact(kind, event, time_ms, offset, location_id=event.data.location_id)


def _customer_described(kind: int, event: CustomerProvisioned | CustomerUpdated, time_ms: int, offset: int) -> Decoded:
    data = event.data
    return CustomerEvent(
        data.partner_org_id,
        data.customer_org_id,
        CustomerFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            external_id=data.external_id,
            subscription_id=data.subscription_id,
            name=data.name,
            internal=data.internal,
        ),
    )


def _customer_deprovisioned(kind: int, event: CustomerDeprovisioned, time_ms: int, offset: int) -> Decoded:
    data = event.data
    fact = CustomerFact(time_ms, event.sequence, kind, event.source, event.id, offset)
    return CustomerEvent(data.partner_org_id, data.customer_org_id, fact)


def _setup_assist_ordered(kind: int, event: SetupAssistOrdered, time_ms: int, offset: int) -> Decoded:
    data = event.data
    return CustomerEvent(
        data.partner_org_id,
        data.customer_org_id,
        CustomerFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            order_id=data.order_id,
            location_id=data.location_id,
            seats=data.seats,
        ),
    )


def _setup_assist_cancelled(kind: int, event: SetupAssistCancelled, time_ms: int, offset: int) -> Decoded:
    data = event.data
    return CustomerEvent(
        data.partner_org_id,
        data.customer_org_id,
        CustomerFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            order_id=data.order_id,
        ),
    )


def _event_voided(kind: int, event: EventVoided, time_ms: int, offset: int) -> Decoded:
    data = event.data
    voids = data.voids
    if data.subscriber_id is None:
        return CustomerEvent(
            data.partner_org_id,
            data.customer_org_id,
            CustomerFact(
                time_ms,
                event.sequence,
                kind,
                event.source,
                event.id,
                offset,
                voids_source=voids.source,
                voids_id=voids.id,
            ),
        )
    return SubscriberEvent(
        data.partner_org_id,
        data.customer_org_id,
        data.subscriber_id,
        SubscriberFact(
            time_ms,
            event.sequence,
            kind,
            event.source,
            event.id,
            offset,
            voids_source=voids.source,
            voids_id=voids.id,
        ),
    )


def _day_closed(kind: int, event: DayClosed, time_ms: int, offset: int) -> Decoded:
    try:
        return DayClose(day_number(event.data.day))
    except ValueError as error:
        raise Refused(Reason.BAD_FIELD, f"data.day: {error}") from None


_BUILDERS: dict[type, tuple[Callable[..., Decoded], int]] = {
    CustomerProvisioned: (_customer_described, int(Kind.CUSTOMER_PROVISIONED)),
    CustomerUpdated: (_customer_described, int(Kind.CUSTOMER_UPDATED)),
    CustomerDeprovisioned: (_customer_deprovisioned, int(Kind.CUSTOMER_DEPROVISIONED)),
    PackageAssigned: (_package_assigned, int(Kind.PACKAGE_ASSIGNED)),
    PackageChanged: (_package_assigned, int(Kind.PACKAGE_CHANGED)),
    PackageRemoved: (_package_removed, int(Kind.PACKAGE_REMOVED)),
    AddonAssigned: (_addon_assigned, int(Kind.ADDON_ASSIGNED)),
    AddonRemoved: (_addon_removed, int(Kind.ADDON_REMOVED)),
    SubscriberRemoved: (_subscriber_fact, int(Kind.SUBSCRIBER_REMOVED)),
    SubscriberMoved: (_subscriber_moved, int(Kind.MOVED)),
    SetupAssistOrdered: (_setup_assist_ordered, int(Kind.SETUP_ASSIST_ORDERED)),
    SetupAssistCancelled: (_setup_assist_cancelled, int(Kind.SETUP_ASSIST_CANCELLED)),
    EventVoided: (_event_voided, int(Kind.VOIDED)),
    DayClosed: (_day_closed, -1),
}
