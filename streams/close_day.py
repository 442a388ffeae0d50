"""Closing days: a record in every partition, so that the close is part of the log (rule 15)."""

import uuid
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
    event = day_closed_event(day, now)
    for partition in range(partitions):
        producer.produce(names.package_assignments, event, partition=partition, on_delivery=delivered)
    if producer.flush(_FLUSH_SECONDS) or failures:
        raise LogFailed(f"days through {day_text(day)} are not closed everywhere: {'; '.join(failures) or 'no answer'}")
    return partitions
