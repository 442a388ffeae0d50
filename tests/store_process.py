"""A store in a process of its own, filled with lines of events, that answers as a sink does.

The engine takes one folder per process, so a test that wants one asks this process. Run as
`python -m tests.store_process FOLDER FILE...`; it says `ready` and ends when its standard input does. With `--tiny` first
nearly all subscribers are long, and each few events are a run of their own.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from schemas.catalog import decode_catalog
from schemas.daily_usage import daily_row_key, encode_daily_row
from schemas.dead_letters import headers_of
from schemas.entitlements import WATERMARK_KEY, encode_record
from schemas.instants import day_number, parse_time_ms
from schemas.reasons import Refused
from schemas.routing import is_catalog_line, route_of
from schemas.topics import CATALOG, PACKAGE_ASSIGNMENTS
from sinks import rows
from sinks.migrations import Placement, migrate
from sinks.rows import Block, SinkRecord
from sinks.store import Store, open_embedded
from sinks.store_server import serve
from streams.close_day import day_closed_event
from streams.core.catalog import CatalogState
from streams.core.long_subscriber import PAGING, Paging
from streams.core.partition import PartitionState
from tests.streams.laws import TINY
from tests.streams.strategies import Record

CLOSED_THROUGH = "2026-10-31"
RECEIVED_AT_MS = parse_time_ms("2026-11-15T00:00:00Z")


@contextmanager
def serving(
    folder: Path,
    files: Iterable[Path],
    planted: Iterable[str] = (),
    module: str = "tests.store_process",
    *,
    tiny: bool = False,
) -> Iterator[None]:
    """The store of a data folder, answering until the end of the block. `module` fills it, `planted` statements spoil it.

    `tiny`: with pages and segments so small that most subscribers have several.
    """
    command = [sys.executable, "-m", module, *(["--tiny"] if tiny else []), str(folder), *map(str, files)]
    command += [f"--plant={statement}" for statement in planted]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def catalog_blocks(lines: Sequence[bytes]) -> Iterator[Block]:
    """The rows that a sink makes of the catalog's lines."""
    catalog = CatalogState()
    versions = []
    for n, line in enumerate(lines):
        with contextlib.suppress(Refused):
            version = decode_catalog(line, None, RECEIVED_AT_MS, n, check_key=False)
            if catalog.add(version):
                versions.append(version)
    yield from rows.catalog_blocks(versions)
    yield from rows.raw_event_blocks(
        [SinkRecord(CATALOG, 0, n, RECEIVED_AT_MS, route_of(line).key, line) for n, line in enumerate(lines)]
    )


def blocks_of(lines: Iterable[bytes], paging: Paging = PAGING, run_records: int = 1_000_000) -> Iterator[Block]:
    """The rows that the pipeline makes of the lines, days closed, in one partition."""
    lines = list(lines)
    yield from catalog_blocks(list(filter(is_catalog_line, lines)))
    events = [line for line in lines if not is_catalog_line(line)]
    events.append(day_closed_event(day_number(CLOSED_THROUGH), datetime.fromisoformat("2026-11-01T00:20:00+00:00")))
    records = [Record(offset, RECEIVED_AT_MS, route_of(line).key, line) for offset, line in enumerate(events)]
    yield from rows.raw_event_blocks(
        [SinkRecord(PACKAGE_ASSIGNMENTS, 0, r.offset, r.timestamp, r.key, r.value) for r in records]
    )
    state = PartitionState(PACKAGE_ASSIGNMENTS, 0, paging=paging)
    while state.next_offset < len(records):
        applied = state.apply(records[state.next_offset : state.next_offset + run_records])
        written = [_record(output["key"], output["value"]) for output in applied.entitlements]
        written.append(_record(WATERMARK_KEY, encode_record(applied.watermark.next_offset, applied.watermark)))
        yield from rows.entitlement_blocks(written)
        daily = [_record(daily_row_key(row), encode_daily_row(row)) for row in applied.daily_rows]
        yield from rows.daily_usage_blocks(daily) if daily else ()
        letters = [_record(letter.key, letter.value, headers_of(letter)) for letter in applied.dead_letters]
        yield from rows.dead_letter_blocks(letters) if letters else ()


def _record(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]] | None = None
) -> SinkRecord:
    return SinkRecord("", 0, 0, RECEIVED_AT_MS, key, value, headers or [])


def main(data_dir: Path, files: list[Path], planted: list[str], *, tiny: bool) -> None:
    store = open_embedded(data_dir / "store")
    migrate(store, Placement())
    lines = [line for file in files for line in file.read_bytes().split(b"\n") if line]
    blocks = blocks_of(lines, TINY, run_records=20) if tiny else blocks_of(lines)
    answer(store, data_dir, blocks, planted)


def answer(store: Store, data_dir: Path, blocks: Iterable[Block], planted: Iterable[str] = ()) -> None:
    """Fill the store and let it answer until standard input ends."""
    for block in blocks:
        store.insert(block.table, block.names, block.columns)
    for statement in planted:
        store.command(statement)
    server = serve(store, data_dir / "store")
    print("ready", flush=True)
    sys.stdin.read()
    server.stop()
    store.close()


if __name__ == "__main__":
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    data_dir, *names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    plants = [option.removeprefix("--plant=") for option in options if option.startswith("--plant=")]
    main(Path(data_dir), [Path(name) for name in names], plants, tiny="--tiny" in options)
