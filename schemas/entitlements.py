"""The `entitlements` topic: the state of one subscriber or customer, and the watermark, as records.

Key: a JSON array, `["partner","customer","subscriber"]`, `["partner","customer"]` or `["watermark"]`.
Value: eight bytes of revision, big-endian, then msgpack. The revision is the length of the input prefix
that the record reflects; it stands first so that the newer of two values is found without decoding them.

A subscriber with many facts is *long*. It has more records: *pages*, `[..., "page", "0"]`, each of which holds so many
of its facts in order of offset, and never changes; and *segments*, `[..., "segment", name]`, with all but its newest
intervals. Its own record, the *head*, holds the facts after the last page and the newest intervals.
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

PAGE = "page"
SEGMENT = "segment"


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


class LongHead(SubscriberRecord):
    """The head of a long subscriber: `facts` and `intervals` are those that stand in no page and no segment.

    `holder` is -1: the latest user or workspace stands here itself. `anomalies` are those of the whole subscriber.
    """

    pages: int = 0
    latest_user_id: str | None = None
    latest_workspace_id: str | None = None

    @property
    def user_id(self) -> str | None:
        return self.latest_user_id if self.pages else super().user_id

    @property
    def workspace_id(self) -> str | None:
        return self.latest_workspace_id if self.pages else super().workspace_id


class Page(Struct, array_like=True, gc=False):
    """So many facts of a long subscriber, in order of offset."""

    facts: list[SubscriberFact]


class Segment(Struct, array_like=True, gc=False):
    """Some intervals of a long subscriber, in order of start. None, if there once were some."""

    intervals: list[Interval]


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
    `claim`: where the log ended when its writer last knew that it owned the partition. Of two owners that both write,
    because one of them was frozen, the one with the higher claim counts, wherever the other one stands.
    """

    next_offset: int
    closed_through_day: int | None
    metered: int = 0
    duplicates: int = 0
    refused: int = 0
    day_closes: int = 0
    claim: int = 0


class RecordKey(Struct, frozen=True, array_like=True):
    """Whose record it is; `subscriber_id` None for the customer's own.

    `part`: PAGE or SEGMENT of a long subscriber, and `name` which; None for the records that all have.
    """

    partner_id: str
    customer_id: str
    subscriber_id: str | None = None
    part: str | None = None
    name: str = ""


_ENCODER = msgspec.msgpack.Encoder()
_SUBSCRIBER = msgspec.msgpack.Decoder(SubscriberRecord)
_HEAD = msgspec.msgpack.Decoder(LongHead)
_PAGE = msgspec.msgpack.Decoder(Page)
_SEGMENT = msgspec.msgpack.Decoder(Segment)
_CUSTOMER = msgspec.msgpack.Decoder(CustomerRecord)
_WATERMARK = msgspec.msgpack.Decoder(Watermark)
_KEY = msgspec.json.Decoder(list[str])
_KEY_ENCODER = msgspec.json.Encoder()


def encode_key(parts: Iterable[str]) -> bytes:
    """The record key of (partner, customer), (partner, customer, subscriber) or (..., part, name)."""
    return _KEY_ENCODER.encode(parts)


def decode_key(key: bytes) -> RecordKey | None:
    """Whose record it is; None for the watermark's key."""
    if key == WATERMARK_KEY:
        return None
    return RecordKey(*_KEY.decode(key))


#: The two parts of a key and a value that differ from record to record: see `start_of_keys` and `start_of_values`.
encode_text = _KEY_ENCODER.encode
encode_content = _ENCODER.encode


def encode_record(revision: int, record: SubscriberRecord | Page | Segment | CustomerRecord | Watermark) -> bytes:
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


def with_revision(value: bytes, revision: int) -> bytes:
    """A value with another revision."""
    return _REVISION.pack(revision) + value[REVISION_BYTES:]


def decode_subscriber(value: bytes) -> SubscriberRecord:
    return _SUBSCRIBER.decode(memoryview(value)[REVISION_BYTES:])


def decode_head(value: bytes) -> LongHead:
    """The record of a subscriber, long or not: of one that is not `pages` is 0, and all its facts are here."""
    return _HEAD.decode(memoryview(value)[REVISION_BYTES:])


def decode_page(value: bytes) -> Page:
    return _PAGE.decode(memoryview(value)[REVISION_BYTES:])


def decode_segment(value: bytes) -> Segment:
    return _SEGMENT.decode(memoryview(value)[REVISION_BYTES:])


# The first byte of an array of so many members.
_OF_LONG_ONES = frozenset(0x90 | len(struct.__struct_fields__) for struct in (LongHead, Page, Segment))


def is_of_long(value: bytes) -> bool:
    """Whether a value of a subscriber or customer is a part of a long one, its head included, by the number of members."""
    return value[REVISION_BYTES] in _OF_LONG_ONES


def decode_customer(value: bytes) -> CustomerRecord:
    return _CUSTOMER.decode(memoryview(value)[REVISION_BYTES:])


def decode_watermark(value: bytes) -> Watermark:
    return _WATERMARK.decode(memoryview(value)[REVISION_BYTES:])
