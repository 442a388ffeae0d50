"""A store of the month with faults, in a process of its own: run as `python -m tests.billing.audit.planted_store FOLDER`.

Each fault is of another customer, so that what is said of one is not said because of another.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.entitlements import WATERMARK_KEY, Watermark, encode_record
from schemas.topics import PACKAGE_ASSIGNMENTS
from sinks import rows
from sinks.migrations import Placement, migrate
from sinks.rows import Block, SinkRecord
from sinks.store import Store, open_embedded
from sinks.store_server import serve
from streams.core.partition import PartitionState
from tests.month import MONTH
from tests.store_process import RECEIVED_AT_MS, blocks_of
from tests.streams.strategies import Record

#: When the record arrived that is stored raw, and not yet metered.
LATER_MS = RECEIVED_AT_MS + 3_600_000

_NAMES = {"timelines": rows.TIMELINES, "customers": rows.CUSTOMERS, "daily_usage": rows.DAILY_USAGE}


def _changed(table: str, where: str, **columns: str) -> str:
    """A row once more, with the same revision and another content: the last one inserted counts."""
    names = _NAMES[table.removesuffix("_history")]
    shown = ", ".join(columns.get(name, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {shown} FROM {table} WHERE {where} LIMIT 1"


def _gone(table: str, where: str) -> str:
    return f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 1"


STATEMENTS = (
    _changed("timelines", "subscriber_id = 's-7-0-0'", starts="arrayMap(each -> each + 1, starts)"),
    _gone("timelines", "subscriber_id = 's-7-11-0'"),
    _changed("timelines", "subscriber_id = 's-7-1-0'", subscriber_id="'nobody'"),
    _changed(
        "daily_usage", "customer_id = 'c-7-12' AND quantity_microdays > 0", quantity_microdays="quantity_microdays + 1"
    ),
    _gone("daily_usage", "customer_id = 'c-7-15' AND day = '2026-10-20'"),
    _changed("customers", "customer_id = 'c-7-19'", internal="NOT internal"),
    _changed("timelines_history", "subscriber_id = 's-7-16-0'", anomalies="anomalies + 1"),
)


def _event(number: int, customer_id: str, type_: str, day: int, **data: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"planted-{customer_id}-{number}",
            "source": "/planted",
            "type": f"wholesale.{type_}.v1",
            "time": f"2026-10-{day:02d}T00:00:00Z",
            "data": {"partnerOrgId": "P-alpha", "customerOrgId": customer_id, **data},
        }
    ).encode()


def _partition_with_two_records(partition: int, customer_id: str, *, raw: int, state: int) -> Iterator[Block]:
    """A partition that claims to have metered two records, of which so many are stored raw, and in the timeline."""
    lines = [
        _event(0, customer_id, "package.assigned", 1, subscriberId="s", package="A", userId="u"),
        _event(1, customer_id, "package.removed", 5, subscriberId="s"),
    ]
    records = [Record(offset, RECEIVED_AT_MS, customer_id.encode(), line) for offset, line in enumerate(lines)]
    yield from rows.raw_event_blocks(
        [SinkRecord(PACKAGE_ASSIGNMENTS, partition, r.offset, r.timestamp, r.key, r.value) for r in records[:raw]]
    )
    applied = PartitionState(PACKAGE_ASSIGNMENTS, partition).apply(records[:state])
    written = [SinkRecord("", partition, 0, 0, output["key"], output["value"]) for output in applied.entitlements]
    claimed = encode_record(2, Watermark(2, None, 2))
    yield from rows.entitlement_blocks([*written, SinkRecord("", partition, 0, 0, WATERMARK_KEY, claimed)])


def fill(store: Store) -> None:
    """The month, then its faults."""
    lines = [line for name in ("catalog", "events") for line in (MONTH / f"{name}.jsonl").read_bytes().splitlines()]
    blocks = list(blocks_of(lines))
    later = _event(0, "c-7-7", "subscriber.removed", 20, subscriberId="s-7-7-0")
    blocks += rows.raw_event_blocks([SinkRecord(PACKAGE_ASSIGNMENTS, 0, 511, LATER_MS, b"c-7-7", later)])
    blocks += _partition_with_two_records(1, "lost-row", raw=2, state=1)
    blocks += _partition_with_two_records(2, "raw-behind", raw=1, state=2)
    for block in blocks:
        store.insert(block.table, block.names, block.columns)
    for statement in STATEMENTS:
        store.command(statement)


@contextmanager
def planted(folder: Path) -> Iterator[None]:
    """The store with its faults, answering until the end of the block."""
    command = [sys.executable, "-m", "tests.billing.audit.planted_store", str(folder)]
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


def main(data_dir: Path) -> None:
    folder = data_dir / "store"
    store = open_embedded(folder)
    migrate(store, Placement())
    fill(store)
    server = serve(store, folder)
    print("ready", flush=True)
    sys.stdin.read()
    server.stop()
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
