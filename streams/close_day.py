"""Closing days: a record in every partition, so that the close is part of the log (rule 15)."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
from confluent_kafka import KafkaError, Message, Producer

from schemas.instants import day_number, day_text
from schemas.routing import DAY_CLOSED_TYPE
from schemas.topics import TopicNames
from streams.log import LogFailed
from streams.topics import partition_count

#: How long after midnight UTC the day before is closed by itself: events of its last minutes are still under way.
GRACE = timedelta(minutes=15)
_SOURCE = "/rtmeter/close-day"
_FLUSH_SECONDS = 60


def last_closable_day(now: datetime) -> int:
    """The last day, in days since the epoch, that is over, with the grace past."""
    return day_number((now - GRACE).date().isoformat()) - 1


def day_to_close(closed_through_day: int | None, now: datetime) -> int | None:
    """The day that the owner of partition 0 closes for all partitions, or None if there is none.

    `closed_through_day`: that of partition 0, which `close_in_order` closes last. So it says of all of them.
    """
    day = last_closable_day(now)
    return day if closed_through_day is None or closed_through_day < day else None


def close_in_order(
    partitions: int, event: bytes, write: Callable[[int, bytes], None], wait: Callable[[], None]
) -> None:
    """Write the event into every partition. `wait` returns when what was written is acknowledged, or raises.

    1. Every partition but 0.   A crash: partition 0 is open, so its owner closes all of them once more.
    2. Wait.                    As after 1. Without it, partition 0 could be closed and another one not, until
    3. Partition 0.             the day after: nobody looks at the others.
    4. Wait.
    """
    for partition in range(1, partitions):
        write(partition, event)
    wait()
    write(0, event)
    wait()


def day_closed_event(day: int, now: datetime) -> bytes:
    """The event that closes every day up to `day`."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": _SOURCE,
            "type": DAY_CLOSED_TYPE,
            "time": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {"day": day_text(day)},
        }
    )


def close_days(bootstrap_servers: str, names: TopicNames, day: int, now: datetime) -> int:
    """Close every day up to `day` in every partition; how many partitions. LogFailed if that cannot be written."""
    partitions = partition_count(bootstrap_servers, names)
    failures: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(f"partition {message.partition()}: {error.str()}")

    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "log_level": 2, "enable.idempotence": True, "acks": "all"}
    )

    def write(partition: int, event: bytes) -> None:
        producer.produce(names.package_assignments, event, partition=partition, on_delivery=delivered)

    def wait() -> None:
        if producer.flush(_FLUSH_SECONDS) or failures:
            reason = "; ".join(failures) or "no answer"
            raise LogFailed(f"days through {day_text(day)} are not closed everywhere: {reason}")

    close_in_order(partitions, day_closed_event(day, now), write, wait)
    return partitions
