"""The `daily-usage` topic: absolute rows, one per partner, customer, location, item and day.

Key: a JSON array of those five. Value: a JSON array of the same plus figures and revision. A row replaces
every row of the same key with a lower revision, zero rows included (rule 16).
"""

import msgspec
from msgspec import Struct


class DailyRow(Struct, frozen=True, array_like=True, gc=False):
    """Usage of one item on one day, absolute.

    `day`: days since the epoch. `quantity_microdays`: 1,000,000 is one licence for the whole day.
    `active_licences`: held at the close of the day. `revision`: length of the input prefix that it reflects.
    """

    partner_id: str
    customer_id: str
    location_id: str | None
    item: str
    day: int
    quantity_microdays: int
    active_licences: int
    revision: int


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(DailyRow)


def encode_daily_row(row: DailyRow) -> bytes:
    return _ENCODER.encode(row)


def daily_row_key(row: DailyRow) -> bytes:
    return _ENCODER.encode((row.partner_id, row.customer_id, row.location_id, row.item, row.day))


def decode_daily_row(value: bytes) -> DailyRow:
    return _DECODER.decode(value)
