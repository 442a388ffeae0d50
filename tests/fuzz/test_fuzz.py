"""Byte strings that nobody would send are refused with a reason, or taken for what they say."""

import json
from typing import Any

import pytest

import tests.fuzz.judged as judged_module
from schemas.decode import Decoded, SubscriberEvent, decode_assignments
from schemas.facts import SubscriberFact
from schemas.reasons import Reason, Refused
from tests.fuzz.judged import APPENDED_MS, judge, judge_many, written_again
from tests.streams.strategies import Record

DATA = {"partnerOrgId": "p", "customerOrgId": "c", "subscriberId": "s", "package": "A", "userId": "u"}
WHOLE = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "wholesale.package.assigned.v1",
    "time": "2026-10-01T00:00:00Z",
    "data": DATA,
}


def event(**changes: Any) -> bytes:
    return json.dumps({**WHOLE, **changes}).encode("utf-8", "surrogatepass")


def at(time: str) -> bytes:
    return event(time=time)


def of(**data: Any) -> bytes:
    return event(data={**DATA, **data})


def nested(depth: int) -> bytes:
    return event().replace(b'"data"', b'"extra": ' + b"[" * depth + b"]" * depth + b', "data"', 1)


ASTRAL = "\U0001f600"
#: Each with what comes of it.
NASTY: dict[str, tuple[bytes, str]] = {
    "10 MB of one string": (of(subscriberId="x" * 10_000_000), "too-large"),
    "10 MB that are no JSON": (b"\x00" * 10_000_000, "too-large"),
    "10 MB of brackets": (b"[" * 10_000_000, "too-large"),
    "a mebibyte of brackets": (b"[" * 1_048_576, "not-json"),
    "a mebibyte of quotes": (b'"' * 1_048_576, "not-json"),
    "a mebibyte of backslashes": (b'"' + b"\\" * 1_048_575, "not-json"),
    "a number of a million digits": (event(extra=1).replace(b'"extra": 1', b'"extra": ' + b"1" * 1_000_000), "taken"),
    "nested 63 deep": (nested(63), "taken"),
    "nested 64 deep": (nested(64), "not-json"),
    "nested 5,000 deep": (nested(5_000), "not-json"),
    "a name twice, the last one counts": (event().replace(b'"id": "1"', b'"id": "1", "id": "2"'), "taken"),
    "a name twice, the last one bad": (event().replace(b'"id": "1"', b'"id": "1", "id": 2'), "not-cloudevent"),
    "data twice, the last one empty": (event()[:-1] + b', "data": {}}', "bad-field"),
    "a lone surrogate in an id": (of(subscriberId="a\ud800"), "bad-field"),
    "a lone surrogate in an unknown member": (event(extra="\ud800"), "taken"),
    "a lone surrogate as raw bytes": (of(subscriberId="s").replace(b'"s"', b'"\xed\xa0\x80"'), "not-json"),
    "an overlong slash": (event().replace(b'"/s"', b'"\xc0\xaf"'), "not-json"),
    "a byte order mark": (b"\xef\xbb\xbf" + event(), "not-json"),
    "UTF-16": (event().decode().encode("utf-16"), "not-json"),
    "a NUL at the end": (event() + b"\x00", "not-json"),
    "two documents": (event() + event(), "not-json"),
    "nothing": (b"", "not-json"),
    "a space": (b" ", "not-json"),
    "NaN": (event(extra=1).replace(b'"extra": 1', b'"extra": NaN'), "not-json"),
    "1e999 where a number is unknown": (event(extra=1).replace(b'"extra": 1', b'"extra": 1e999'), "taken"),
    "seats of 400 digits": (
        event(type="wholesale.setup-assist.ordered.v1", data={"partnerOrgId": "p", "customerOrgId": "c", "orderId": "o", "locationId": "L", "seats": 10**400}),
        "bad-field",
    ),
    "seats of 1.0": (
        event(type="wholesale.setup-assist.ordered.v1", data={"partnerOrgId": "p", "customerOrgId": "c", "orderId": "o", "locationId": "L", "seats": 1.5}),
        "bad-field",
    ),
    "the year 0001": (at("0001-01-01T00:00:00Z"), "before-horizon"),
    "the year 0001, west of Greenwich": (at("0001-01-01T00:00:00+23:59"), "before-horizon"),
    "the year 9999": (at("9999-12-31T23:59:59.999Z"), "too-far-in-future"),
    "the year 9999, east of Greenwich": (at("9999-12-31T23:59:59.999-23:59"), "too-far-in-future"),
    "the year 10000": (at("10000-01-01T00:00:00Z"), "bad-field"),
    "a leap second": (at("2016-12-31T23:59:60Z"), "bad-field"),
    "24:00:00": (at("2026-10-01T24:00:00Z"), "bad-field"),
    "a fraction of 10,000 digits": (at("2026-10-01T00:00:00." + "9" * 10_000 + "Z"), "taken"),
    "a fraction without digits": (at("2026-10-01T00:00:00.Z"), "bad-field"),
    "full-width digits": (at("２026-10-01T00:00:00Z"), "bad-field"),
    "ids of 128 astral characters": (of(subscriberId=ASTRAL * 128, userId=ASTRAL * 128), "taken"),
    "an id of 129 astral characters": (of(subscriberId=ASTRAL * 129), "bad-field"),
    "an id of a combining mark": (of(subscriberId="\u0301"), "taken"),
    "an id with a DEL": (of(subscriberId="a\x7f"), "bad-field"),
    "an id with a C1 control": (of(subscriberId="a\x85"), "bad-field"),
    "a package of 64 characters": (of(package="A" * 64), "taken"),
    "a package of 65 characters": (of(package="A" * 65), "bad-field"),
    "a package with a dotless i": (of(package="webex_call\u0131ng"), "bad-field"),
    "a document that is a string": (json.dumps(event().decode()).encode(), "not-cloudevent"),
}  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_nasty_records_come_to_what_they_should(name: str, place: int) -> None:
    value, outcome = NASTY[name]
    assert judge(value) == outcome
    records = [Record(n, APPENDED_MS, None, event(id=f"n{n}")) for n in range(2)]
    records.insert(place, Record(9, APPENDED_MS, None, value))
    found = list(decode_assignments(records, check_key=False))
    judged = found.pop(place)
    assert (judged.reason if isinstance(judged, Refused) else "taken") == outcome
    assert [one.fact.id for one in found if isinstance(one, SubscriberEvent)] == ["n0", "n1"]


def test_twenty_thousand_spoilt_examples_are_taken_or_refused_with_a_reason() -> None:
    outcomes = judge_many(20_000, seed=5).outcomes
    assert set(outcomes) >= {"taken", *set(Reason) - {Reason.KEY_MISMATCH, Reason.IDENTITY_CONFLICT, Reason.TOO_LARGE}}


def test_the_fuzzer_sees_a_decoder_that_judges_by_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    real = decode_assignments

    def wrong(records: Any, *, check_key: bool) -> list[Decoded | Refused]:
        found = list(real(records, check_key=check_key))
        return [Refused(Reason.NOT_JSON, "x")] * len(found) if any(isinstance(one, Refused) for one in found) else found

    monkeypatch.setattr(judged_module, "decode_assignments", wrong)
    with pytest.raises(AssertionError):
        judge_many(200, seed=5)


def test_the_fuzzer_sees_a_meaning_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(found: Decoded) -> bytes:
        if isinstance(found, SubscriberEvent):
            fact = found.fact
            kept = SubscriberFact(fact.time_ms, None, *[getattr(fact, name) for name in fact.__struct_fields__[2:]])
            found = SubscriberEvent(found.partner_id, found.customer_id, found.subscriber_id, kept)
        return written_again(found)

    monkeypatch.setattr(judged_module, "written_again", lossy)
    with pytest.raises(AssertionError, match="written down again"):
        judge_many(3_000, seed=5)
