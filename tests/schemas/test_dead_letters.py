"""What a dead letter's bytes tell, and the link of a redriven record."""

import pytest

from schemas.dead_letters import (
    REDRIVES_HEADER,
    DeadLetter,
    Origin,
    Stated,
    day_counted,
    dead_letter_of,
    headers_of,
    origin_of,
    redrive_headers,
    redriven,
    stated_in,
)
from schemas.instants import day_number, parse_time_ms
from tests.schemas.examples import refused

ARRIVED_MS = parse_time_ms("2026-11-15T12:00:00Z")
TIME = "2026-10-01T00:00:00Z"


def letter(value: bytes | None, key: bytes | None = b"k", topic: str = "x.package-assignments") -> DeadLetter:
    return DeadLetter("bad-field", "", topic, 3, 41, ARRIVED_MS, key, value)


@pytest.mark.parametrize(
    ("value", "stated"),
    [
        (b'{"time":"%s","data":{"partnerOrgId":"p","customerOrgId":"c"}}', Stated("p", "c", parse_time_ms(TIME))),
        # No JSON: a comma too many, an end that is missing, several events in one record.
        (b'{"time": "%s", "data":{"partnerOrgId":"p","customerOrgId":"c",}}', Stated("p", "c", parse_time_ms(TIME))),
        (b'{"data":{"partnerOrgId" : "p","customerOrgId":"c"},"time":"%s"', Stated("p", "c", parse_time_ms(TIME))),
        (b'[{"time":"%s","data":{"partnerOrgId":"p","customerOrgId":"c"}}]', Stated("p", "c", parse_time_ms(TIME))),
        (b'\xff{"partnerOrgId":"p"', Stated("p", "k")),
        # Not said, or not as it should be: the key may tell the customer, nothing tells the partner.
        (b'{"data":{}}', Stated("", "k")),
        (b'{"data":{"partnerOrgId":5,"customerOrgId":["c"]},"time":5}', Stated("", "k")),
        (b'{"data":{"partnerOrgId":"","customerOrgId":"a\\u0007b"},"time":"soon"}', Stated("", "k")),
        (b'{"data":{"partnerOrgId":"\\ud800"}}', Stated("", "k")),
        (b'{"data":{"partnerOrgId":"' + b"x" * 129 + b'"}}', Stated("", "k")),
        (b'{"data":"partnerOrgId"}', Stated("", "k")),
        (b"[" * 100_000, Stated("", "k")),
        (b"", Stated("", "k")),
        (None, Stated("", "k")),
    ],
)
def test_what_the_bytes_tell_is_found_and_nothing_else(value: bytes | None, stated: Stated) -> None:
    value = None if value is None else value.replace(b"%s", TIME.encode())
    assert stated_in(letter(value)) == stated


def test_only_the_key_of_an_assignment_is_a_customer() -> None:
    assert stated_in(letter(b"{}", b"partner/p", "x.catalog")) == Stated()
    assert stated_in(letter(b"{}", None)) == Stated()
    assert stated_in(letter(b"{}", b"\xff\x00")) == Stated()


@pytest.mark.parametrize("example", list(refused()), ids=lambda example: example.name)
def test_no_refused_example_upsets_the_search(example: object) -> None:
    stated = stated_in(letter(example.value, example.key))  # type: ignore[attr-defined]
    assert all(text.isprintable() or len(text) <= 128 for text in (stated.partner_id, stated.customer_id))


def test_a_letter_is_missed_from_its_time_on_or_from_its_arrival_if_that_is_not_believed() -> None:
    early = letter(b'{"time":"2026-10-01T00:00:00Z"}')
    assert day_counted(early, stated_in(early)) == day_number("2026-10-01")
    arrival = day_number("2026-11-15")
    assert day_counted(letter(b"{}"), Stated()) == arrival
    for reason in ("too-far-in-future", "before-horizon"):
        wrong = DeadLetter(reason, "", "t", 0, 0, ARRIVED_MS, None, b'{"time":"1970-01-01T00:00:00Z"}')
        assert day_counted(wrong, stated_in(wrong)) == arrival


def test_the_link_of_a_redriven_record_comes_back() -> None:
    origin = Origin("x.package-assignments", 3, 41)
    assert redriven([("other", b"1"), *redrive_headers(origin)]) == origin
    assert str(origin) == "x.package-assignments/3/41"
    assert origin_of(str(origin)) == origin
    assert redriven([]) is None
    assert redriven([("other", b"1")]) is None


@pytest.mark.parametrize(
    "text", ["", "t", "t/1", "t/1/2/3", "t/-1/2", "t/1/x", "t/ 1/2", "a b/1/2", "t/1/2\n", "t/١/2"]
)
def test_a_link_that_names_no_letter_names_one_that_nobody_has(text: str) -> None:
    with pytest.raises(ValueError):
        origin_of(text)
    assert redriven([(REDRIVES_HEADER, text.encode())]) == Origin(text, 0, -1)
    assert redriven([(REDRIVES_HEADER, None)]) == Origin("", 0, -1)


def test_a_letter_that_came_of_a_redriven_record_reads_as_any_other() -> None:
    """Its chain is found by where it stood: letters of before and after have the same headers."""
    made = letter(b"{}")
    assert dead_letter_of(headers_of(made), made.key, made.value) == made
    assert dead_letter_of([*headers_of(made), *redrive_headers(made.origin)], made.key, made.value) == made
