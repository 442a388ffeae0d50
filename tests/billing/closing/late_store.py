"""A store in a process of its own, of lines in three partitions, whose days are closed where the lines say so.

Run as `python -m tests.billing.closing.late_store FOLDER FILE...`: see `tests.store_process`. More lines at the end of the
last file give a store that knows more, with the same prefix: what a pipeline would have some time later.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from schemas.daily_usage import daily_row_key, encode_daily_row
from schemas.dead_letters import headers_of
from schemas.entitlements import WATERMARK_KEY, encode_record
from schemas.routing import is_catalog_line, route_of
from schemas.topics import PACKAGE_ASSIGNMENTS
from sinks import rows
from sinks.migrations import Placement, migrate
from sinks.rows import Block, SinkRecord
from sinks.store import open_embedded
from streams.core.long_subscriber import PAGING, Paging
from streams.core.partition import PartitionState
from tests.store_process import RECEIVED_AT_MS, answer, catalog_blocks
from tests.streams.laws import TINY
from tests.streams.strategies import Record

PARTITIONS = 3
#: Small runs: nearly every subscriber and day has several revisions.
_RUN_RECORDS = 40
_DAY_CLOSED = b"rtmeter.day.closed.v1"


def _partition_blocks(partition: int, records: list[Record], paging: Paging) -> Iterator[Block]:
    yield from rows.raw_event_blocks(
        [SinkRecord(PACKAGE_ASSIGNMENTS, partition, r.offset, r.timestamp, r.key, r.value) for r in records]
    )
    state = PartitionState(PACKAGE_ASSIGNMENTS, partition, paging=paging)
    # A run ends with each close: there a store that knew less ended, and a cut is where a run ended.
    ends = [r.offset + 1 for r in records if _DAY_CLOSED in r.value] + [len(records)]
    while state.next_offset < len(records):
        end = next(end for end in ends if end > state.next_offset)
        applied = state.apply(records[state.next_offset : min(end, state.next_offset + _RUN_RECORDS)])
        written = [_record(partition, output["key"], output["value"]) for output in applied.entitlements]
        watermark = encode_record(applied.watermark.next_offset, applied.watermark)
        yield from rows.entitlement_blocks([*written, _record(partition, WATERMARK_KEY, watermark)])
        daily = [_record(partition, daily_row_key(row), encode_daily_row(row)) for row in applied.daily_rows]
        yield from rows.daily_usage_blocks(daily) if daily else ()
        letters = [
            SinkRecord("", partition, 0, RECEIVED_AT_MS, letter.key, letter.value, headers_of(letter))
            for letter in applied.dead_letters
        ]
        yield from rows.dead_letter_blocks(letters) if letters else ()


def _record(partition: int, key: bytes | None, value: bytes | None) -> SinkRecord:
    return SinkRecord("", partition, 0, RECEIVED_AT_MS, key, value, [])


def blocks_of(lines: list[bytes], paging: Paging) -> Iterator[Block]:
    """The rows that the pipeline makes of the lines."""
    yield from catalog_blocks([line for line in lines if is_catalog_line(line)])
    partitions: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    for line in lines:
        if is_catalog_line(line):
            continue
        key = route_of(line).key
        to = partitions if _DAY_CLOSED in line else [partitions[crc32(key or b"") % PARTITIONS]]
        for records in to:
            # A millisecond each: so "as known at a time" has something to tell apart.
            records.append(Record(len(records), RECEIVED_AT_MS + len(records), key, line))
    for partition, records in enumerate(partitions):
        yield from _partition_blocks(partition, records, paging)


def main(folder: Path, files: list[Path], planted: list[str], *, tiny: bool) -> None:
    store = open_embedded(folder / "store")
    migrate(store, Placement())
    lines = [line for file in files for line in file.read_bytes().split(b"\n") if line]
    answer(store, folder, blocks_of(lines, TINY if tiny else PAGING), planted)


if __name__ == "__main__":
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    data_dir, *names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    plants = [option.removeprefix("--plant=") for option in options if option.startswith("--plant=")]
    main(Path(data_dir), [Path(name) for name in names], plants, tiny="--tiny" in options)
