"""Facts before they are bytes, and the bytes: one CloudEvent a line."""

import random
import uuid
from datetime import UTC, datetime, timedelta, timezone

import orjson
from msgspec import Struct

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fact(Struct, frozen=True):
    """What a platform service states. `type` without the contract's prefix and version: `package.assigned`."""

    time_ms: int
    type: str
    source: str
    id: str
    data: dict[str, object]


def new_id(rng: random.Random) -> str:
    """An id as long as real ones, from the seed."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def line_of(fact: Fact, offset_minutes: int = 0) -> bytes:
    """The fact as JSON; the same instant whatever the offset it is written with."""
    return orjson.dumps(event_of(fact, offset_minutes))


def event_of(fact: Fact, offset_minutes: int = 0) -> dict[str, object]:
    """The fact as the members of a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": fact.id,
        "source": fact.source,
        "type": f"wholesale.{fact.type}.v1",
        "time": time_text(fact.time_ms, offset_minutes),
        "data": fact.data,
    }


def time_text(time_ms: int, offset_minutes: int = 0) -> str:
    """RFC 3339 with milliseconds."""
    zone = timezone(timedelta(minutes=offset_minutes))
    text = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z" if offset_minutes == 0 else text
