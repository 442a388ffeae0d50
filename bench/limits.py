"""The limit lines: decoding alone, and reading from the broker alone. Each runs in a process of its own.

`python -m bench.limits decode EVENTS PASSES` and `... consume BOOTSTRAP TOPIC PASSES` print `Limit` as JSON, one
per pass.
"""

import sys
import time

import msgspec
from msgspec import Struct

from bench.broker import read_to_end
from bench.workload import Workload, records
from schemas.decode import decode_assignment


class Limit(Struct, frozen=True):
    """One pass: events taken, and the time that they took."""

    events: int
    seconds: float
    cpu_seconds: float


def decode(events: int) -> Limit:
    """`decode_assignment` over events in memory."""
    taken = list(records(Workload(events)))
    append_time_ms = int(time.time() * 1000)
    started, cpu_started = time.perf_counter(), time.process_time()
    for offset, (key, value) in enumerate(taken):
        decode_assignment(value, key, append_time_ms, offset)
    return Limit(len(taken), time.perf_counter() - started, time.process_time() - cpu_started)


def consume(bootstrap: str, topic: str) -> Limit:
    """A tuned confluent-kafka consumer that looks at each value and does nothing; from its first batch on."""
    batches = read_to_end(bootstrap, topic)
    next(batch for batch in batches if batch)
    started, cpu_started = time.perf_counter(), time.process_time()
    taken = 0
    last, cpu_last = started, cpu_started
    for batch in batches:
        for message in batch:
            if message.value() is not None:
                taken += 1
        if batch:
            last, cpu_last = time.perf_counter(), time.process_time()
    return Limit(taken, last - started, cpu_last - cpu_started)


def main() -> None:
    """See the module's text."""
    what, *arguments = sys.argv[1:]
    for _ in range(int(arguments.pop())):
        limit = decode(int(arguments[0])) if what == "decode" else consume(*arguments)
        print(msgspec.json.encode(limit).decode())


if __name__ == "__main__":
    main()
