"""What our state costs: memory per subscriber, and the time to restore it. Each runs in a process of its own.

- `python -m bench.state memory EVENTS` prints `Memory` as JSON;
- `... fill BOOTSTRAP PREFIX SUBSCRIBERS` writes the log of that many subscribers, as the worker does, and prints `Filled`;
- `... restore BOOTSTRAP PREFIX` restores it, as the worker does, and prints `Restored`.
"""

import gc
import subprocess
import sys
import time
import zlib
from itertools import islice

import msgspec
from msgspec import Struct

from bench.broker import PARTITIONS
from bench.fed_ledger import FedLedger, Input
from bench.process_usage import resident_bytes
from bench.workload import Workload, records
from streams.core.partition import PartitionState
from streams.ledger import RECORDS_PER_RUN

_BATCH = 10_000


class Memory(Struct, frozen=True):
    """Resident memory that `events` added to a process, whose state then held `subscribers`."""

    events: int
    subscribers: int
    bytes_per_subscriber: float


class Filled(Struct, frozen=True):
    """A log was written: of so many events, about so many subscribers."""

    events: int
    subscribers: int


class Restored(Struct, frozen=True):
    """A log was restored: `events` is the length of the input that the state reflects."""

    events: int
    subscribers: int
    seconds: float
    cpu_seconds: float
    bytes_per_subscriber: float


def memory(events: int) -> Memory:
    """Apply the events in runs as the ledger does, as they come from another process, and see what the state keeps."""
    now_ms = int(time.time() * 1000)
    state = PartitionState("package-assignments", 0)
    command = [sys.executable, "-m", "bench.workload", str(events)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        gc.collect()
        before = resident_bytes()
        while lines := list(islice(source.stdout, RECORDS_PER_RUN)):
            batch: list[Input] = []
            for line in lines:
                key, _, value = line.rstrip(b"\n").partition(b"\t")
                batch.append(Input(state.next_offset + len(batch), now_ms, key, value))
            state.apply(batch)
    lines, batch = [], []
    gc.collect()
    if state.next_offset != events:
        raise RuntimeError(f"{state.next_offset} of {events} events came")
    subscribers = _subscribers(state)
    return Memory(events, subscribers, (resident_bytes() - before) / subscribers)


def fill(bootstrap: str, prefix: str, subscribers: int) -> Filled:
    """Write the input and the log of `subscribers`, with the changes that come with so many: the log by the worker's ledger."""
    ledger = FedLedger(bootstrap, prefix)
    ledger.own(range(PARTITIONS), generation=1)
    now_ms = int(time.time() * 1000)
    waiting: list[list[Input]] = [[] for _ in range(PARTITIONS)]
    lengths = [0] * PARTITIONS

    def hand_over(partition: int) -> None:
        batch, waiting[partition] = waiting[partition], []
        if batch:
            ledger.feed(partition, batch)

    made = 0
    for key, value in records(Workload(2 * subscribers)):
        partition = zlib.crc32(key) % PARTITIONS
        waiting[partition].append(Input(lengths[partition], now_ms, key, value))
        lengths[partition] += 1
        if len(waiting[partition]) >= _BATCH:
            hand_over(partition)
            made = sum(_subscribers(state) for state in ledger.states().values())
            if made >= subscribers:
                break
    for partition in range(PARTITIONS):
        hand_over(partition)
    ledger.finish()
    return Filled(sum(lengths), sum(_subscribers(state) for state in ledger.states().values()))


def restore(bootstrap: str, prefix: str) -> Restored:
    """Restore every partition, one after the other, as a worker does that gets them all."""
    ledger = FedLedger(bootstrap, prefix)
    gc.collect()
    before = resident_bytes()
    started, cpu_started = time.perf_counter(), time.process_time()
    offsets = ledger.own(range(PARTITIONS), generation=1)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    gc.collect()
    added = resident_bytes() - before
    subscribers = sum(_subscribers(state) for state in ledger.states().values())
    return Restored(sum(offsets.values()), subscribers, seconds, cpu_seconds, added / subscribers)


def _subscribers(state: PartitionState) -> int:
    return sum(account.subscriber_count() for account in state.accounts.values())


def main() -> None:
    """See the module's text."""
    what, *arguments = sys.argv[1:]
    result: Memory | Filled | Restored
    if what == "memory":
        result = memory(int(arguments[0]))
    elif what == "fill":
        result = fill(arguments[0], arguments[1], int(arguments[2]))
    else:
        result = restore(arguments[0], arguments[1])
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
