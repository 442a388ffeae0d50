"""Bytes of a `catalog` record to one version of a partner or subscription, or the reason why it is refused."""

import re

from msgspec import Struct

from schemas.decode import FUTURE_TOLERANCE_MS, HORIZON_MS
from schemas.events import CatalogEvent, PartnerData, PartnerUpserted, SubscriptionData
from schemas.instants import day_number, parse_time_ms
from schemas.json_text import EventDecoder
from schemas.reasons import Reason, Refused

_UNIT_PRICE = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_SERVICE = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)

_DECODER: EventDecoder[CatalogEvent] = EventDecoder(CatalogEvent)


class CatalogVersion(Struct, frozen=True):
    """One version of a partner's or subscription's entry. The latest by (time, sequence, source, id) counts."""

    time_ms: int
    sequence: str | None
    source: str
    id: str
    offset: int
    data: PartnerData | SubscriptionData

    @property
    def order(self) -> tuple[int, bool, str, str, str]:
        """Versions of one entry are ordered by this; absent sequences sort first."""
        return (self.time_ms, self.sequence is not None, self.sequence or "", self.source, self.id)

    @property
    def key(self) -> str:
        """The record key of the entry: `partner/<id>` or `subscription/<id>`."""
        return catalog_key(self.data)


def catalog_key(data: PartnerData | SubscriptionData) -> str:
    if isinstance(data, PartnerData):
        return f"partner/{data.partner_org_id}"
    return f"subscription/{data.subscription_id}"


def decode_catalog(
    value: bytes | None, key: bytes | None, append_time_ms: int, offset: int, *, check_key: bool = True
) -> CatalogVersion:
    """What one record of `catalog` states; `Refused` with the first reason that applies.

    The same reasons as on `package-assignments`, in the same order; `check_key=False` is for lines of a file.
    """
    event = _DECODER.decode(value)
    try:
        time_ms = parse_time_ms(event.time)
    except ValueError as error:
        raise Refused(Reason.BAD_FIELD, f"time: {error}") from None
    data = event.data
    if isinstance(event, PartnerUpserted):
        _check_partner(event.data)
    else:
        _check_subscription(event.data)  # type: ignore[arg-type]
    if check_key and key != catalog_key(data).encode():
        raise Refused(Reason.KEY_MISMATCH, f"{key!r:.140} is not {catalog_key(data)!r}")
    if time_ms > append_time_ms + FUTURE_TOLERANCE_MS:
        raise Refused(
            Reason.TOO_FAR_IN_FUTURE,
            f"time {event.time} is {time_ms - append_time_ms} ms after the record was appended",
        )
    if time_ms < HORIZON_MS:
        raise Refused(Reason.BEFORE_HORIZON, f"time {event.time} is before 2000-01-01")
    return CatalogVersion(time_ms, event.sequence, event.source, event.id, offset, data)


def _check_partner(data: PartnerData) -> None:
    if data.billing_start_date is not None:
        try:
            day_number(data.billing_start_date)
        except ValueError as error:
            raise Refused(Reason.BAD_FIELD, f"data.billingStartDate: {error}") from None


def _check_subscription(data: SubscriptionData) -> None:
    if _CURRENCY.fullmatch(data.currency) is None:
        raise Refused(Reason.BAD_FIELD, f"data.currency: {data.currency!r} is no ISO 4217 code")
    for index, entry in enumerate(data.services):
        if _SERVICE.fullmatch(entry.service) is None:
            raise Refused(Reason.BAD_FIELD, f"data.services[{index}].service: {entry.service!r} is no service name")
        if _UNIT_PRICE.fullmatch(entry.unit_price) is None:
            raise Refused(
                Reason.BAD_FIELD, f"data.services[{index}].unitPrice: {entry.unit_price!r} is no decimal price"
            )
