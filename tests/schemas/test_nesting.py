"""How deep a record may be nested is decided by the record alone, so that a replay judges it as the first time."""

import pytest

from schemas.decode import decode_assignment
from schemas.json_text import MAX_NESTING, MAX_VALUE_BYTES
from schemas.reasons import Refused

_EVENT = (
    b'{"specversion":"1.0","id":"1","source":"/","type":"wholesale.subscriber.removed.v1","time":"2026-10-01T00:00:00Z",'
    b'"data":{"partnerOrgId":"P","customerOrgId":"C","subscriberId":"s"},"unknown":'
)


def judged(value: bytes, frames: int) -> str:
    """What the decoder says when its caller stands so many calls deep."""
    if frames:
        return judged(value, frames - 1)
    try:
        decode_assignment(value, None, 4_102_444_800_000, 0, check_key=False)
    except Refused as refused:
        return str(refused.reason)
    return "taken"


@pytest.mark.parametrize("escape", [b"", b'"\\n",'], ids=["fast way", "slow way"])
@pytest.mark.parametrize("depth", [10, 60, 200, 500, 800, 950, 100_000])
def test_how_deep_the_caller_stands_decides_nothing(depth: int, escape: bytes) -> None:
    value = _EVENT + b"[" * depth + escape + b"1" + b"]" * depth + b"}"
    assert len({judged(value, frames) for frames in (0, 50, 150, 300, 500)}) == 1


@pytest.mark.timeout(60)
def test_a_string_that_is_not_closed_is_read_once() -> None:
    """A megabyte of escaped quotation marks behind many brackets: hours, if each is tried as the start of a string."""
    value = b"[" * (MAX_NESTING + 1) + b'"' + b'\\"' * 500_000
    assert len(value) < MAX_VALUE_BYTES
    assert judged(value, 0) == "not-json"


@pytest.mark.parametrize("text", [b"[", b'\\"', b"\\\\", b'\\\\\\"[', b"{\\u005b"], ids=repr)
def test_brackets_in_a_string_are_no_nesting(text: bytes) -> None:
    nested = b"[" * (MAX_NESTING - 1) + b'"' + text * (MAX_NESTING + 1) + b'"' + b"]" * (MAX_NESTING - 1)
    assert judged(_EVENT + nested + b"}", 0) == "taken"
    assert judged(_EVENT + b"[" + nested + b"]}", 0) == "not-json"
