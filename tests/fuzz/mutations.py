"""Examples of the contract, spoilt: bits, bytes, tokens, numbers, times, characters, nesting, names that come twice."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

TOKENS = [
    b'{"', b'"}', b"[", b"]", b"{", b"}", b",", b":", b'"', b"null", b"true", b"false", b"NaN", b"Infinity", b"-0", b"1e999",
    b"1e-999", b"00", b"0x1", b"\\", b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u007f", b"\xff", b"\xc0\xaf",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\x00", b"\x7f", b"/*", b"//", b"\r\n", b"\xe2\x80\xa8", b"'",
]  # fmt: skip
NUMBERS = [
    0,
    -1,
    1,
    1_000_000,
    1_000_001,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    10**400,
    1.0,
    1.5,
    1e300,
]
TIMES = [
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-06-30T23:59:60Z",
    "2026-10-31T24:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-10-31t00:00:00z", "2026-10-31 00:00:00Z",
    "2026-10-31T00:00:00", "2026-10-31T00:00:00+23:59", "2026-10-31T00:00:00-24:00", "2026-10-31T00:00:00.Z", "20261031T000000Z",
    "2026-10-31T00:00:00." + "9" * 400 + "Z", "2026-10-31T00:00Z", "１026-10-31T00:00:00Z", "1999-12-31T23:59:59.999Z",
    "2000-01-01T00:00:00Z", "", "now", "2026-W44-6T00:00:00Z", "2026-304T00:00:00Z", "-2026-10-31T00:00:00Z",
]  # fmt: skip
TEXTS = [
    "", " ", "\x00", "\x1f", "\x7f", "\x80", "\x9f", "\ud800", "\udfff", "a\ud83d", "😀" * 128, "😀" * 129, "x" * 256, "x" * 257,
    "x" * 100_000, "\u2028", "\ufeff", "e\u0301", "=1+1", "null", "WEBEX_CALLING", "webex_calling", "Webex_Calling", "A" * 64, "A" * 65,
]  # fmt: skip
_ODD: list[Any] = [None, True, False, [], {}, [[]], {"a": {}}, *NUMBERS, *TEXTS]


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus, changed one to four times."""
    value = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        value = rng.choice(_CHANGES)(rng, value, corpus)
    return value


def _bit(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    if not value:
        return value
    place = rng.randrange(len(value))
    return value[:place] + bytes([value[place] ^ (1 << rng.randrange(8))]) + value[place + 1 :]


def _cut(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    return value[: rng.randrange(len(value) + 1)]


def _without(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(value) + 1)
    return value[:start] + value[start + rng.randrange(1, 12) :]


def _token(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(value) + 1)
    return value[:place] + rng.choice(TOKENS) + value[place:]


def _splice(rng: random.Random, value: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return value[: rng.randrange(len(value) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeat(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(value) + 1)
    part = value[start : start + rng.randrange(1, 40)]
    return value[:start] + part * rng.choice((2, 3, 50)) + value[start:]


def _nest(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    depth = rng.choice((1, 30, 62, 63, 64, 65, 200, 5_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nested = opening * depth + b"1" + closing * depth
    if rng.random() < 0.2:
        return nested
    return value.replace(b'"data"', b'"extra":' + nested + b',"data"', 1)


def _member(rng: random.Random, value: bytes, _: Sequence[bytes]) -> bytes:
    """A member of the document with another value, another name, gone, or there twice."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if not isinstance(document, dict):
        return value
    place = document.get("data") if rng.random() < 0.6 and isinstance(document.get("data"), dict) else document
    assert isinstance(place, dict)
    names = list(place)
    if not names:
        return value
    name = rng.choice(names)
    how = rng.randrange(5)
    if how == 0:
        place[name] = rng.choice(_ODD)
    elif how == 1:
        del place[name]
    elif (how == 2 and name in ("time", "day")) or (how == 2 and rng.random() < 0.3):
        place["time" if "time" in place else name] = rng.choice(TIMES)
    elif how == 3:
        place[rng.choice(TEXTS)[:50]] = place.pop(name)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if how == 4:
        twice = json.dumps({name: rng.choice(_ODD)}).encode("utf-8", "surrogatepass")[1:-1]
        text = text[:-1] + b"," + twice + b"}"
    return text


_CHANGES: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _bit,
    _cut,
    _without,
    _token,
    _splice,
    _repeat,
    _nest,
    _member,
    _member,
    _member,
    _member,
)
