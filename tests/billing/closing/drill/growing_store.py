"""A store in a process of its own that takes in one stage after the other, as a pipeline does, and answers in between.

Run as `python -m tests.billing.closing.drill.growing_store FOLDER PARTITIONS`. Each line of standard input is JSON: a stage's file
of catalog lines, its file of events, the day that it closes and when its records were appended; once it is stored,
`stored` is answered. It ends when its standard input does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from schemas.catalog import decode_catalog
from schemas.daily_usage import daily_row_key, encode_daily_row
from schemas.entitlements import WATERMARK_KEY, encode_record
from schemas.instants import day_number
from schemas.routing import route_of
from schemas.topics import CATALOG, PACKAGE_ASSIGNMENTS
from sinks import rows
from sinks.migrations import Placement, migrate
from sinks.rows import Block, SinkRecord
from sinks.store import open_embedded
from sinks.store_server import serve
from streams.close_day import day_closed_event
from streams.core.catalog import CatalogState
from streams.core.partition import PartitionState
from tests.billing.closing.drill.world import APPENDED_MS, CLOSED_DAY
from tests.streams.strategies import Record

_RUN_RECORDS = 5_000
_ANSWER = b"stored\n"


class StoreEnded(Exception):
    """The store's process ended before it was asked to; what it said stands on standard error."""


class GrowingStore:
    """The asking side: a store's process, stage by stage."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def take(self, stage: int, catalog: list[bytes], events: list[bytes]) -> None:
        """Store what arrives in a stage and close its days; returns when all of it is stored."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = [self._folder / f"stage-{stage}-{what}.jsonl" for what in ("catalog", "events")]
        for file, lines in zip(files, (catalog, events), strict=True):
            file.write_bytes(b"\n".join(lines))
        self._process.stdin.write(json.dumps([*map(str, files), stage]).encode() + b"\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != _ANSWER:
            raise StoreEnded(f"the store's process ended while it took in stage {stage}")


@contextmanager
def growing(folder: Path, partitions: int) -> Iterator[GrowingStore]:
    """The store of a data folder, answering until the end of the block.

    StoreEnded if it ended before: whatever failed in the block, failed of that. A crash of the engine shows its stack.
    """
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.billing.closing.drill.growing_store",
        str(folder),
        str(partitions),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield GrowingStore(process, folder)
    finally:
        ended = process.poll()
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
        if ended is not None:
            raise StoreEnded(f"the store's process ended by itself, with {ended}")


class _Pipeline:
    """What worker and sink make of the lines: blocks of rows."""

    def __init__(self, partitions: int) -> None:
        self._catalog = CatalogState()
        self._catalog_end = 0
        self._partitions = [PartitionState(PACKAGE_ASSIGNMENTS, n) for n in range(partitions)]

    def catalog_blocks(self, lines: list[bytes], appended_ms: int) -> Iterator[Block]:
        records = [
            SinkRecord(CATALOG, 0, offset, appended_ms, route_of(line).key, line)
            for offset, line in enumerate(lines, start=self._catalog_end)
        ]
        self._catalog_end += len(lines)
        versions = [decode_catalog(one.value, one.key, appended_ms, one.offset) for one in records]
        if records:
            yield from rows.catalog_blocks([version for version in versions if self._catalog.add(version)])
            yield from rows.raw_event_blocks(records)

    def event_blocks(self, lines: list[bytes], day: date, appended_ms: int) -> Iterator[Block]:
        by_partition: list[list[tuple[bytes | None, bytes]]] = [[] for _ in self._partitions]
        for line in lines:
            key = route_of(line).key
            by_partition[crc32(key or b"") % len(by_partition)].append((key, line))
        closed = day_closed_event(day_number(day.isoformat()), datetime.fromtimestamp(appended_ms / 1000, UTC))
        for state, of_partition in zip(self._partitions, by_partition, strict=True):
            of_partition.append((None, closed))
            yield from self._partition_blocks(state, of_partition, appended_ms)

    def _partition_blocks(
        self, state: PartitionState, lines: list[tuple[bytes | None, bytes]], appended_ms: int
    ) -> Iterator[Block]:
        first = state.next_offset
        records = [Record(first + n, appended_ms, key, line) for n, (key, line) in enumerate(lines)]
        yield from rows.raw_event_blocks(
            [SinkRecord(PACKAGE_ASSIGNMENTS, state.partition, r.offset, r.timestamp, r.key, r.value) for r in records]
        )

        def record(key: bytes | None, value: bytes | None) -> SinkRecord:
            return SinkRecord("", state.partition, 0, appended_ms, key, value, [])

        while (done := state.next_offset - first) < len(records):
            applied = state.apply(records[done : done + _RUN_RECORDS])
            if applied.dead_letters or applied.pages:
                raise RuntimeError(f"the drill states nothing that is refused or long: {applied.dead_letters[:1]}")
            written = [record(output["key"], output["value"]) for output in applied.entitlements]
            watermark = encode_record(applied.watermark.next_offset, applied.watermark)
            yield from rows.entitlement_blocks([*written, record(WATERMARK_KEY, watermark)])
            daily = [record(daily_row_key(row), encode_daily_row(row)) for row in applied.daily_rows]
            yield from rows.daily_usage_blocks(daily) if daily else ()


def main(folder: Path, partitions: int) -> None:
    store = open_embedded(folder / "store")
    migrate(store, Placement())
    server = serve(store, folder / "store")
    pipeline = _Pipeline(partitions)
    for order in sys.stdin:
        catalog, events, stage = json.loads(order)
        appended_ms = APPENDED_MS[stage]
        for blocks in (
            pipeline.catalog_blocks(_lines(catalog), appended_ms),
            pipeline.event_blocks(_lines(events), CLOSED_DAY[stage], appended_ms),
        ):
            for block in blocks:
                store.insert(block.table, block.names, block.columns)
        sys.stdout.buffer.write(_ANSWER)
        sys.stdout.buffer.flush()
    server.stop()
    store.close()


def _lines(file: Any) -> list[bytes]:
    return [line for line in Path(file).read_bytes().split(b"\n") if line]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
