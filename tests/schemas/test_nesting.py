"""How deep a record may be nested is decided by the record alone, so that a replay judges it as the first time."""

import pytest

from schemas.decode import decode_assignment
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
