"""The dead-letter topic: the refused record's key and bytes untouched, why and whence in the headers.

A redriven record, a letter's bytes or a corrected copy of them, is an ordinary record of an input topic with one
header more, which names the letter. So the body stays the sender's, and the link is in the log with the record itself.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from msgspec import Struct

from schemas.instants import day_of_ms, parse_time_ms
from schemas.reasons import Reason
from schemas.topics import PACKAGE_ASSIGNMENTS

_HEADERS = ("reason", "detail", "topic", "partition", "offset", "append_time_ms")
#: On a redriven record: the origin of the letter that it takes up again.
REDRIVES_HEADER = "rtmeter-redrives"
#: A detail quotes from the record; the header must not become a second copy of it.
_MAX_DETAIL_CHARACTERS = 500
#: The time that such a record states is the very thing that is not believed.
_TIME_IS_WRONG = (Reason.TOO_FAR_IN_FUTURE, Reason.BEFORE_HORIZON)

_ID = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_ORIGIN = re.compile(r"([a-zA-Z0-9._-]{1,249})/(\d{1,10})/(\d{1,18})", re.ASCII)


class Origin(Struct, frozen=True, order=True):
    """Where a record stood in an input topic: the name of the dead letter that it became."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class DeadLetter(Struct, frozen=True):
    """A record that could not be metered. Its origin (topic, partition, offset) is its identity."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    append_time_ms: int
    key: bytes | None
    value: bytes | None

    @property
    def origin(self) -> Origin:
        return Origin(self.topic, self.partition, self.offset)


class Stated(Struct, frozen=True):
    """Whose a refused record is and when it holds from, as far as its bytes tell; '' and None where they do not."""

    partner_id: str = ""
    customer_id: str = ""
    time_ms: int | None = None


def origin_of(text: str) -> Origin:
    """The origin that `topic/partition/offset` names; ValueError if it names none."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not topic/partition/offset")
    return Origin(match[1], int(match[2]), int(match[3]))


def redrive_headers(original: Origin) -> list[tuple[str, bytes]]:
    """The headers of a record that takes up a dead letter again."""
    return [(REDRIVES_HEADER, str(original).encode())]


def redriven(headers: Sequence[tuple[str, bytes | None]]) -> Origin | None:
    """The dead letter that a record takes up again; None if it is no redriven record.

    A header that names no origin is kept as one that no letter has, so that it is seen and does nothing.
    """
    for name, content in headers:
        if name == REDRIVES_HEADER:
            text = (content or b"").decode("utf-8", "replace")
            try:
                return origin_of(text)
            except ValueError:
                return Origin(text, 0, -1)
    return None


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """The Kafka headers of a dead letter: UTF-8 text each, `rtmeter-` before the member's name."""
    detail = letter.detail[:_MAX_DETAIL_CHARACTERS].encode("utf-8", "backslashreplace")
    values = [letter.reason, None, letter.topic, letter.partition, letter.offset, letter.append_time_ms]
    return [
        (f"rtmeter-{name}", detail if name == "detail" else str(value).encode())
        for name, value in zip(_HEADERS, values, strict=True)
    ]


def dead_letter_of(headers: Iterable[tuple[str, bytes | None]], key: bytes | None, value: bytes | None) -> DeadLetter:
    """The dead letter of a Kafka record; KeyError when a header is missing."""
    found = {name: content or b"" for name, content in headers}
    texts = {name: found[f"rtmeter-{name}"].decode() for name in _HEADERS}
    return DeadLetter(
        texts["reason"],
        texts["detail"],
        texts["topic"],
        int(texts["partition"]),
        int(texts["offset"]),
        int(texts["append_time_ms"]),
        key,
        value,
    )


def event_id_in(letter: DeadLetter) -> str:
    """The event's id, as far as the letter's bytes tell; '' where they do not."""
    text, document = _read(letter)
    found = document.get("id") if isinstance(document, dict) else _member(text, "id")
    return found if _is_id(found) else ""


def stated_in(letter: DeadLetter) -> Stated:
    """What a letter's bytes tell. Text that is no JSON is searched for the members: a comma too many hides nobody."""
    text, document = _read(letter)
    partner: Any
    customer: Any
    time: Any
    if isinstance(document, dict):
        data = document.get("data")
        members = data if isinstance(data, dict) else {}
        partner, customer, time = members.get("partnerOrgId"), members.get("customerOrgId"), document.get("time")
    else:
        partner, customer, time = (_member(text, name) for name in ("partnerOrgId", "customerOrgId", "time"))
    if not _is_id(customer) and letter.topic.endswith(PACKAGE_ASSIGNMENTS):
        customer = (letter.key or b"").decode("utf-8", "replace")
    return Stated(partner if _is_id(partner) else "", customer if _is_id(customer) else "", _time_ms(time))


def day_counted(letter: DeadLetter, stated: Stated) -> int:
    """The day, in days since the epoch, that misses the letter: of its time, or of its arrival if that is not known.

    Where the time is what it was refused for, it is the day of arrival too: otherwise a clock in 1970, or in the
    year 20266, would hide a letter from the month that misses it.
    """
    believed = stated.time_ms is not None and letter.reason not in _TIME_IS_WRONG
    return day_of_ms(stated.time_ms if believed else letter.append_time_ms)  # type: ignore[arg-type]


def _read(letter: DeadLetter) -> tuple[str, Any]:
    """A letter's bytes as text, and the JSON document that they are; None if they are none."""
    text = (letter.value or b"").decode("utf-8", "replace")
    try:
        return text, json.loads(text)
    except (ValueError, RecursionError):
        return text, None


def _member(text: str, name: str) -> str | None:
    match = re.search(rf'"{name}"\s*:\s*"([^"\\]*)"', text)
    return None if match is None else match[1]


def _is_id(found: Any) -> TypeGuard[str]:
    return isinstance(found, str) and _ID.fullmatch(found) is not None


def _time_ms(found: Any) -> int | None:
    try:
        return parse_time_ms(found) if isinstance(found, str) else None
    except ValueError:
        return None
