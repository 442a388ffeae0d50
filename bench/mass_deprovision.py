"""A customer of very many subscribers is deprovisioned on a real Kafka: how long, how large, and what waits meanwhile."""

import asyncio
import itertools
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct
from rich.table import Table

from bench.fed_ledger import FedLedger, Input
from bench.process_usage import resident_bytes
from rtmeter.kafka_server import EmbeddedKafka
from schemas.instants import parse_time_ms, time_text
from schemas.topics import TopicNames
from streams.log import KafkaLog
from streams.topics import create_topics

_FIRST_MS = parse_time_ms("2025-10-01T00:00:00Z")
_END_MS = parse_time_ms("2025-10-20T00:00:00Z")
_NOW_MS = parse_time_ms("2025-11-01T00:00:00Z")
_BATCH = 10_000
_TICK_SECONDS = 0.001


class Deprovisioned(Struct, frozen=True):
    """`longest_gap_seconds`: the longest that the event loop did not come to its next tick. `records`: what was written."""

    subscribers: int
    seconds: float
    durable_seconds: float
    longest_gap_seconds: float
    records: int
    largest_record_bytes: int
    added_bytes: int
    restored_equal: bool


def run(subscribers: int) -> Deprovisioned:
    """Assign a package to so many subscribers of one customer, close the month, and deprovision the customer."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder)) as broker:
        bootstrap = broker.start()
        create_topics(bootstrap, prefix="", partitions=1)
        ledger = FedLedger(bootstrap)
        ledger.own([0], 1)
        numbers = itertools.count()
        while (first := next(numbers)) < subscribers:
            batch = [_assigned(offset) for offset in range(first, min(first + _BATCH, subscribers))]
            ledger.feed(0, batch)
            numbers = itertools.count(first + len(batch))
        ledger.feed(0, [_event(subscribers, None, "rtmeter.day.closed.v1", _NOW_MS, {"day": "2025-10-31"})])
        ledger.finish()
        names = TopicNames.with_prefix("")
        log = KafkaLog(bootstrap)
        before = log.end(names.entitlements, 0)
        resident = resident_bytes()
        data = {"partnerOrgId": "p", "customerOrgId": "c"}
        event = _event(subscribers + 1, b"c", "wholesale.customer.deprovisioned.v1", _END_MS, data)
        seconds, gap, most = asyncio.run(_apply(ledger, event))
        started = time.perf_counter()
        ledger.finish()
        durable_seconds = seconds + time.perf_counter() - started
        written = [len(key) + len(value) for _, key, value in log.read(names.entitlements, 0, before)]
        again = FedLedger(bootstrap)
        again.own([0], 1)
        equal = _intervals(again) == _intervals(ledger)
        return Deprovisioned(
            subscribers, seconds, durable_seconds, gap, len(written), max(written), most - resident, equal
        )


async def _apply(ledger: FedLedger, event: Input) -> tuple[float, float, int]:
    """Apply in a thread, as the worker does, while the loop ticks: seconds, the longest gap, the most memory."""
    with ThreadPoolExecutor(1) as thread:
        gap = 0.0
        started = last = time.perf_counter()
        memory = _MemoryWatch()
        applying = asyncio.get_running_loop().run_in_executor(thread, ledger.feed, 0, [event])
        while not applying.done():
            await asyncio.sleep(_TICK_SECONDS)
            now = time.perf_counter()
            gap = max(gap, now - last)
            last = now
        await applying
        return time.perf_counter() - started, gap, memory.stop()


class _MemoryWatch:
    """The most resident memory of this process from now on."""

    def __init__(self) -> None:
        self._most = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._stopping.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._stopping.wait(0.02):
            self._most = max(self._most, resident_bytes())


def _intervals(ledger: FedLedger) -> list[object]:
    (account,) = ledger.states()[0].accounts.values()
    return [(subscriber_id, record.intervals) for subscriber_id, record in sorted(account.subscriber_records())]


def _assigned(offset: int) -> Input:
    data = {
        "partnerOrgId": "p",
        "customerOrgId": "c",
        "subscriberId": f"subscriber-{offset}",
        "package": "WEBEX_CALLING",
        "userId": f"user-{offset}",
        "locationId": f"site-{offset % 20}",
    }
    return _event(offset, b"c", "wholesale.package.assigned.v1", _FIRST_MS + offset % 86_400_000, data)


def _event(offset: int, key: bytes | None, type_: str, time_ms: int, data: dict[str, str]) -> Input:
    event = {"specversion": "1.0", "id": str(offset), "source": "/bench", "type": type_, "time": time_text(time_ms)}
    return Input(offset, _NOW_MS, key, json.dumps({**event, "data": data}).encode())


def shown(result: Deprovisioned) -> Table:
    """The result as a table."""
    table = Table(title=f"A customer of {result.subscribers:,} subscribers deprovisioned, on one Kafka partition")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_row("applied and handed over", f"{result.seconds:.1f} s")
    table.add_row("acknowledged", f"{result.durable_seconds:.1f} s")
    table.add_row("longest gap of the event loop", f"{1000 * result.longest_gap_seconds:.0f} ms")
    table.add_row("records written", f"{result.records:,}")
    table.add_row("largest record", f"{result.largest_record_bytes:,} bytes")
    table.add_row("memory added at the most", f"{result.added_bytes / 2**20:.0f} MiB")
    table.add_row("a restore gives the same state", "yes" if result.restored_equal else "NO")
    return table
