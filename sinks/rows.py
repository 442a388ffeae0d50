"""Records of each topic as columns of the tables. Pure."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.catalog import CatalogVersion
from schemas.daily_usage import decode_daily_row
from schemas.dead_letters import DeadLetter, day_counted, dead_letter_of, headers_of, redriven, stated_in
from schemas.entitlements import (
    ADDON,
    SEGMENT,
    CustomerRecord,
    RecordKey,
    SubscriberRecord,
    decode_customer,
    decode_head,
    decode_key,
    decode_segment,
    decode_watermark,
    revision_of,
)
from schemas.reasons import Refused
from streams.core.grid import microday

#: `ends` and `end_ms` of an interval that still runs.
STILL_RUNS = 2**63 - 1
#: Where the sinks' own positions are.
POSITIONS_TABLE = "sink_positions"


class SinkRecord(NamedTuple):
    """One Kafka record."""

    topic: str
    partition: int
    offset: int
    append_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Block(Struct):
    """Rows for one table, by column; integers for days and instants, because objects cost most of an insert."""

    table: str
    names: tuple[str, ...]
    columns: list[list[object]]


def _block(table: str, names: tuple[str, ...], rows: Iterable[Sequence[object]]) -> Block:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return Block(table, names, columns)


RAW_EVENTS = ("topic", "partition", "offset", "append_time", "key", "value")
REDRIVES = (
    "original_topic",
    "original_partition",
    "original_offset",
    "topic",
    "partition",
    "offset",
    "append_time",
)
DEAD_LETTERS = (
    "topic",
    "partition",
    "offset",
    "append_time",
    "reason",
    "detail",
    "key",
    "value",
    "partner_id",
    "customer_id",
    "time_ms",
    "day",
)
CATALOG_VERSIONS = ("entry", "offset", "time_ms", "sequence", "source", "id", "data")
CUSTOMERS = (
    "partner_id",
    "customer_id",
    "revision",
    "partition",
    "external_id",
    "subscription_id",
    "name",
    "internal",
    "order_ids",
    "order_items",
    "order_locations",
    "order_days",
    "order_quantities",
)
TIMELINES = (
    "partner_id",
    "customer_id",
    "subscriber_id",
    "revision",
    "partition",
    "user_id",
    "workspace_id",
    "anomalies",
    "addon",
    "items",
    "locations",
    "starts",
    "ends",
    "start_ms",
    "end_ms",
    "segment",
)
DAILY_USAGE = (
    "partner_id",
    "customer_id",
    "location_id",
    "item",
    "day",
    "quantity_microdays",
    "active_licences",
    "revision",
)
PROGRESS = ("partition", "revision", "closed_through_day", "metered", "duplicates", "refused", "day_closes")


def raw_event_blocks(records: Sequence[SinkRecord]) -> list[Block]:
    """Every input record as it came, and which of them take up a dead letter again."""
    rows = [(r.topic, r.partition, r.offset, r.append_time_ms, r.key, r.value) for r in records]
    blocks = [_block("raw_events", RAW_EVENTS, rows)]
    # Nearly all records have no headers.
    linked = [(original, r) for r in records if r.headers and (original := redriven(r.headers)) is not None]
    if linked:
        redrives = [
            (o.topic, o.partition, o.offset, r.topic, r.partition, r.offset, r.append_time_ms) for o, r in linked
        ]
        blocks.insert(0, _block("redrives", REDRIVES, redrives))
    return blocks


def refused_record(record: SinkRecord, refused: Refused) -> SinkRecord:
    """The dead letter of a refused record, as the record that `dead_letter_blocks` and the dead-letter topic take."""
    letter = DeadLetter(
        refused.reason,
        refused.detail,
        record.topic,
        record.partition,
        record.offset,
        record.append_time_ms,
        record.key,
        record.value,
    )
    return record._replace(headers=headers_of(letter))


def dead_letter_blocks(records: Sequence[SinkRecord]) -> list[Block]:
    """Refused records, by their origin."""
    rows = []
    for record in records:
        letter = dead_letter_of(record.headers, record.key, record.value)
        stated = stated_in(letter)
        rows.append(
            (
                letter.topic,
                letter.partition,
                letter.offset,
                letter.append_time_ms,
                letter.reason,
                letter.detail,
                letter.key,
                letter.value,
                stated.partner_id,
                stated.customer_id,
                stated.time_ms,
                day_counted(letter, stated),
            )
        )
    return [_block("dead_letters", DEAD_LETTERS, rows)]


def daily_usage_blocks(records: Sequence[SinkRecord]) -> list[Block]:
    """Daily rows, as current state and as history."""
    rows = []
    for record in records:
        assert record.value is not None
        row = decode_daily_row(record.value)
        rows.append(
            (
                row.partner_id,
                row.customer_id,
                row.location_id or "",
                row.item,
                row.day,
                row.quantity_microdays,
                row.active_licences,
                row.revision,
            )
        )
    return _current_and_history("daily_usage", DAILY_USAGE, rows)


def entitlement_blocks(records: Sequence[SinkRecord]) -> list[Block]:
    """Timelines and customers, as current state and as history, and how far the partition has come.

    Pages have no rows: what follows from their facts is in the segments.
    """
    timelines: list[tuple[object, ...]] = []
    customers: list[tuple[object, ...]] = []
    progress: list[tuple[int, int, int | None, int, int, int, int]] = []
    for record in records:
        assert record.key is not None and record.value is not None
        key = decode_key(record.key)
        if key is None:
            mark = decode_watermark(record.value)
            progress.append(
                (
                    record.partition,
                    mark.next_offset,
                    mark.closed_through_day,
                    mark.metered,
                    mark.duplicates,
                    mark.refused,
                    mark.day_closes,
                )
            )
        elif key.subscriber_id is None:
            customers.append(_customer_row(key, record, decode_customer(record.value)))
        elif key.part == SEGMENT:
            # Who holds them, and the anomalies, are in the row of the head.
            intervals = decode_segment(record.value).intervals
            timelines.append(_timeline_row(key, record, SubscriberRecord([], intervals, -1, 0)))
        elif key.part is None:
            timelines.append(_timeline_row(key, record, decode_head(record.value)))
    blocks = _current_and_history("timelines", TIMELINES, timelines) if timelines else []
    if customers:
        blocks += _current_and_history("customers", CUSTOMERS, customers)
    if progress:
        # Last, so that what it says is stored is stored. The highest: a frozen owner's may come late, and be the last.
        blocks.append(_block("partition_progress", PROGRESS, [max(progress, key=itemgetter(1))]))
    return blocks


def catalog_blocks(versions: Sequence[CatalogVersion]) -> list[Block]:
    """Versions of catalog entries."""
    rows = [
        (v.key, v.offset, v.time_ms, v.sequence, v.source, v.id, msgspec.json.encode(v.data).decode()) for v in versions
    ]
    return [_block("catalog_versions", CATALOG_VERSIONS, rows)]


def position_block(positions: Sequence[tuple[str, int, int]]) -> Block:
    """(topic, partition, next offset) of what is stored."""
    return _block(POSITIONS_TABLE, ("topic", "partition", "revision"), positions)


def _current_and_history(table: str, names: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[Block]:
    # History first: a current row without its history could not be explained.
    return [_block(f"{table}_history", names, rows), _block(table, names, rows)]


def _timeline_row(key: RecordKey, record: SinkRecord, state: SubscriberRecord) -> tuple[object, ...]:
    assert record.value is not None
    intervals = state.intervals
    return (
        key.partner_id,
        key.customer_id,
        key.subscriber_id,
        revision_of(record.value),
        record.partition,
        state.user_id or "",
        state.workspace_id or "",
        state.anomalies,
        [interval.slot == ADDON for interval in intervals],
        [interval.item for interval in intervals],
        [interval.location_id or "" for interval in intervals],
        [microday(interval.start_ms) for interval in intervals],
        [STILL_RUNS if interval.end_ms is None else microday(interval.end_ms) for interval in intervals],
        [interval.start_ms for interval in intervals],
        [STILL_RUNS if interval.end_ms is None else interval.end_ms for interval in intervals],
        key.name,
    )


def _customer_row(key: RecordKey, record: SinkRecord, state: CustomerRecord) -> tuple[object, ...]:
    assert record.value is not None
    orders = state.orders
    return (
        key.partner_id,
        key.customer_id,
        revision_of(record.value),
        record.partition,
        state.external_id or "",
        state.subscription_id or "",
        state.name or "",
        state.internal,
        [order.order_id for order in orders],
        [order.item for order in orders],
        [order.location_id or "" for order in orders],
        [order.day for order in orders],
        [order.quantity_microdays for order in orders],
    )


Builder = Callable[[Sequence[SinkRecord]], list[Block]]
