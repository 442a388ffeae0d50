"""The `entitlements` topic: the state of one subscriber or customer, and the watermark, as records.

Key: a JSON array, `["partner","customer","subscriber"]`, `["partner","customer"]` or `["watermark"]`.
Value: eight bytes of revision, big-endian, then msgpack. The revision is the length of the input prefix
that the record reflects; it stands first so that the newer of two values is found without decoding them.
"""

from collections.abc import Iterable
from struct import Struct as Packed

import msgspec
from msgspec import Struct

from schemas.facts import CustomerFact, SubscriberFact

_REVISION = Packed(">Q")
REVISION_BYTES = _REVISION.size

WATERMARK_KEY = b'["watermark"]'

PACKAGE = 0
ADDON = 1


class Interval(Struct, frozen=True, array_like=True, gc=False):
    """Half-open time [start_ms, end_ms) in which one package or add-on was held at one location.

    `end_ms` None: it still runs. `slot` is PACKAGE or ADDON.
    """

    slot: int
    item: str
    location_id: str | None
    start_ms: int
    end_ms: int | None


class SubscriberRecord(Struct, array_like=True, gc=False):
    """State of one subscriber: its facts (in order of offset) and what follows from them.

    `intervals` are ordered by start. `holder` is the index of the latest fact that carries a user or a workspace
    (rule 11), -1 if none does: their ids stand in the record once. `anomalies` counts removals that found nothing,
    and assignments that only (source, id) orders.
    """

    facts: list[SubscriberFact]
    intervals: list[Interval]
    holder: int
    anomalies: int

    @property
    def user_id(self) -> str | None:
        return None if self.holder < 0 else self.facts[self.holder].user_id

    @property
    def workspace_id(self) -> str | None:
        return None if self.holder < 0 else self.facts[self.holder].workspace_id


class Order(Struct, frozen=True, array_like=True, gc=False):
    """One Setup Assist order that counts: the usage falls on `day` at `location_id` (rule 18).

    `quantity_microdays` is the quantity (1, or the seats) on the scale of all quantities: times a million.
    """

    order_id: str
    item: str
    location_id: str | None
    day: int
    quantity_microdays: int


class CustomerRecord(Struct, array_like=True, gc=False):
    """State of one customer under one partner: its facts (in order of offset) and what follows from them."""

    facts: list[CustomerFact]
    external_id: str | None
    subscription_id: str | None
    name: str | None
    internal: bool
    orders: list[Order]


class Watermark(Struct, frozen=True, array_like=True):
    """The log position of a partition's state: everything before `next_offset` is in the records before this one.

    The counters are cumulative over the input prefix, so that input = metered + duplicates + refused + day_closes.
    """

    next_offset: int
    closed_through_day: int | None
    metered: int = 0
    duplicates: int = 0
    refused: int = 0
    day_closes: int = 0


class RecordKey(Struct, frozen=True, array_like=True):
    """Whose record it is; `subscriber_id` None for the customer's own."""

    partner_id: str
    customer_id: str
    subscriber_id: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_SUBSCRIBER = msgspec.msgpack.Decoder(SubscriberRecord)
_CUSTOMER = msgspec.msgpack.Decoder(CustomerRecord)
_WATERMARK = msgspec.msgpack.Decoder(Watermark)
_KEY = msgspec.json.Decoder(list[str])
_KEY_ENCODER = msgspec.json.Encoder()


def encode_key(parts: Iterable[str]) -> bytes:
    """The record key of (partner, customer) or (partner, customer, subscriber)."""
    return _KEY_ENCODER.encode(parts)


def decode_key(key: bytes) -> RecordKey | None:
    """Whose record it is; None for the watermark's key."""
    if key == WATERMARK_KEY:
        return None
    return RecordKey(*_KEY.decode(key))


#: The two parts of a key and a value that differ from record to record: see `start_of_keys` and `start_of_values`.
encode_text = _KEY_ENCODER.encode
encode_content = _ENCODER.encode


def encode_record(revision: int, record: SubscriberRecord | CustomerRecord | Watermark) -> bytes:
    """The value of a record that reflects the input prefix of length `revision`."""
    return _REVISION.pack(revision) + _ENCODER.encode(record)


def start_of_keys(partner_id: str, customer_id: str) -> bytes:
    """What the keys of a customer's subscribers begin with: `encode_text` of the subscriber and `]` complete one."""
    return encode_key((partner_id, customer_id))[:-1] + b","


def start_of_values(revision: int) -> bytes:
    """What the values of a revision begin with: `encode_content` of the record completes one."""
    return _REVISION.pack(revision)


def revision_of(value: bytes) -> int:
    """The revision of a value."""
    revision: int = _REVISION.unpack_from(value)[0]
    return revision


def decode_subscriber(value: bytes) -> SubscriberRecord:
    return _SUBSCRIBER.decode(memoryview(value)[REVISION_BYTES:])


def decode_customer(value: bytes) -> CustomerRecord:
    return _CUSTOMER.decode(memoryview(value)[REVISION_BYTES:])


def decode_watermark(value: bytes) -> Watermark:
    return _WATERMARK.decode(memoryview(value)[REVISION_BYTES:])
