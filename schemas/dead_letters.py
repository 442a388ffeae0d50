"""The dead-letter topic: the refused record's key and bytes untouched, why and whence in the headers."""

from collections.abc import Iterable

from msgspec import Struct

_HEADERS = ("reason", "detail", "topic", "partition", "offset", "append_time_ms")
#: A detail quotes from the record; the header must not become a second copy of it.
_MAX_DETAIL_CHARACTERS = 500


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
