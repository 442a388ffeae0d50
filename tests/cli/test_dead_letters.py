"""`rtmeter dead-letters`, as far as it goes without a Kafka: what is listed and shown, dismissed, kept back, foreseen."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtmeter.cli import app
from rtmeter.pointed_json import pointed
from rtmeter.redrive import copy_of
from schemas.dead_letters import DeadLetter
from schemas.instants import parse_time_ms
from schemas.reasons import Reason, Refused
from schemas.topics import CATALOG, PACKAGE_ASSIGNMENTS
from tests.billing.letters_store import TOPIC
from tests.cli.test_commands import event, rtmeter
from tests.store_process import serving

NOW_MS = parse_time_ms("2026-11-15T00:00:00Z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this module's own: it dismisses."""
    made = tmp_path_factory.mktemp("letters-commands")
    with serving(made, [], module="tests.billing.letters_store"):
        yield made


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return rtmeter("dead-letters", *arguments, "--data-dir", str(folder), stdin=stdin)


def test_the_open_letters_are_listed_and_all_of_them_when_asked_for(folder: Path) -> None:
    listed = run(folder, "list", "--format", "json", "--reason", "bad-field")
    assert listed.returncode == 0
    letters = [json.loads(line) for line in listed.stdout.splitlines()]
    assert {letter["state"] for letter in letters} == {"open", "waiting"}
    first = next(letter for letter in letters if letter["id"] == f"{TOPIC}/0/10")
    assert first == {
        "id": f"{TOPIC}/0/10",
        "reason": "bad-field",
        "detail": "data.seats: is missing",
        "partnerOrgId": "A",
        "customerOrgId": "c",
        "time": "2026-10-03T00:00:00.000Z",
        "day": "2026-10-03",
        "arrived": "2026-11-15T00:00:00.000Z",
        "state": "open",
    }
    assert {letter["partnerOrgId"] for letter in letters} == {"A", "B", None}
    table = run(folder, "list", "--all", "--partner", "A", "--limit", "3")
    assert "3 of 14 dead letters, see --limit" in table.stderr.decode()
    assert table.stdout.count(TOPIC.encode()) + table.stdout.count(b"t.catalog") == 3


def test_everything_about_a_letter_is_shown(folder: Path) -> None:
    shown = run(folder, "show", f"{TOPIC}/0/30").stdout.decode()
    for said in (
        "refused again",
        "A member is missing",
        "who must act",
        f"{TOPIC}/0/30 -> {TOPIC}/0/60",
        "rtmeter-reason: bad-field",
        "key: c",
        '"data": {   <== data.seats: is missing',
    ):
        assert said in shown
    raw = run(folder, "show", f"{TOPIC}/0/30", "--raw").stdout
    assert json.loads(raw)["data"] == {"customerOrgId": "c", "partnerOrgId": "A"}


def test_what_is_dismissed_is_open_no_more_and_only_once(folder: Path) -> None:
    letter, closed = f"{TOPIC}/3/70", f"{TOPIC}/0/20"
    command = ("dismiss", letter, closed, "t.catalog/9/9", "--reason", "sent again", "--by", "billing desk")
    done = run(folder, *command)
    assert done.returncode == 1
    said = done.stderr.decode()
    assert f"{closed} is not dismissed: it was redriven" in said
    assert "t.catalog/9/9 is not dismissed: there is no such dead letter" in said
    assert "1 dead letters dismissed" in said
    assert run(folder, "list", "--format", "json", "--partner", "B").stdout == b""
    again = run(folder, *command)
    assert f"{letter} is not dismissed: it was dismissed" in again.stderr.decode()
    assert "dismissed\n            by billing desk" in run(folder, "show", letter).stdout.decode()


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        ("0/20", "it was redriven"),
        ("0/30", f"look at {TOPIC}/0/60"),
        ("1/10", "not judged yet"),
        ("0/10", 'specversion is not "1.0"'),
    ],
)
def test_what_cannot_be_redriven_is_kept_back_with_the_reason(folder: Path, offset: str, said: str) -> None:
    done = run(folder, "redrive", f"{TOPIC}/{offset}")
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert "0 copies sent, 1 letters kept back" in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "no-id"), "not topic/partition/offset"),
        (("show", "t/1/2"), "there is no dead letter t/1/2"),
        (("list", "--since", "yesterday"), "yesterday"),
        (("list", "--reason", "bad"), "bad"),
        (("redrive",), "name letters, or choose them"),
        (("redrive", "t/1/2", "--partner", "A"), "not both"),
        (("redrive", "t/1/2", "t/1/3", "--with", "-"), "for one letter"),
        (("redrive", "t/1/2", "--with", "/no/such/file"), "not a file"),
        (("redrive", "t/1/2", "--with", "-"), "there are 0"),
        (("redrive", "--partner", "A", "--again"), "letters that are named"),
        (("dismiss", "t/1/2", "--reason", " ", "--by", "me"), "says why"),
        (("dismiss", "t/1/2", "--by", "me"), "--reason"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["dead-letters", *arguments, "--data-dir", str(folder)])
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_a_dry_run_says_what_a_corrected_conflict_would_change(month_folder: Path, tmp_path: Path) -> None:
    """The month's letter is a second event under an id that was used; with an id of its own it is true as well."""
    letter = f"{PACKAGE_ASSIGNMENTS}/0/289"
    raw = run(month_folder, "show", letter, "--raw").stdout
    same = run(month_folder, "redrive", letter)
    assert "the same bytes are refused again" in same.stderr.decode()
    done = run(month_folder, "redrive", letter, "--with", "-", "--dry-run", stdin=raw)
    assert (done.returncode, b"would be refused: identity-conflict" in done.stdout) == (1, True)
    corrected = json.dumps({**json.loads(raw), "id": "one-of-its-own"}).encode()
    done = run(month_folder, "redrive", letter, "--with", "-", "--dry-run", stdin=corrected)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert f"{letter} would be metered" in said
    assert "customer c-7-1 of P-alpha" in said
    assert "WEBEX_SUITE" in said
    assert "closed days restated: 0" in said, "it holds from 10 November, and October is closed"
    assert "nothing was sent" in done.stderr.decode()


def letter(value: bytes | None, reason: Reason = Reason.BAD_FIELD, partition: int = 5) -> DeadLetter:
    return DeadLetter(reason, "", TOPIC, partition, 1, NOW_MS, b"wrong", value)


def test_a_copy_goes_where_its_event_belongs() -> None:
    """So the same bytes are enough where the key or the topic was wrong."""
    good = event().strip()
    copy = copy_of(letter(good, Reason.KEY_MISMATCH), None, NOW_MS)
    assert (copy.topic, copy.key, copy.value, copy.partition) == (PACKAGE_ASSIGNMENTS, b"c", good, None)
    partner = {"partnerOrgId": "p", "name": "P", "provisioningState": "active"}
    entry = event(type="wholesale.partner.upserted.v1", data=partner).strip()
    copy = copy_of(letter(entry, Reason.UNKNOWN_TYPE), None, NOW_MS)
    assert (copy.topic, copy.key) == (CATALOG, b"partner/p")
    close = event(type="rtmeter.day.closed.v1", data={"day": "2026-10-31"}).strip()
    copy = copy_of(letter(close, Reason.TOO_FAR_IN_FUTURE), None, NOW_MS)
    assert (copy.topic, copy.key, copy.partition) == (PACKAGE_ASSIGNMENTS, None, 5), "each partition closes by itself"


def test_a_copy_that_would_be_refused_is_not_made() -> None:
    for value, corrected, reason in (
        (None, None, Reason.NOT_JSON),
        (b"{", None, Reason.NOT_JSON),
        (event(), b"{}", Reason.NOT_CLOUDEVENT),
        (event(), event(time="2026-11-15T00:05:00.001Z"), Reason.TOO_FAR_IN_FUTURE),
    ):
        with pytest.raises(Refused) as refused:
            copy_of(letter(value), corrected, NOW_MS)
        assert refused.value.reason == reason
    with pytest.raises(Refused, match="refused again"):
        copy_of(letter(event(), Reason.IDENTITY_CONFLICT), None, NOW_MS)


@pytest.mark.parametrize(
    ("value", "reason", "detail", "line"),
    [
        (b'{"data":{"seats":0}}', "bad-field", "data.seats: Expected `int` >= 1", '    "seats": 0   <=='),
        (b'{"data":{"services":[{"a":1}]}}', "bad-field", "data.services[0].sku: is missing", "      {   <=="),
        (b'{"data":{}}', "bad-field", "data.seats: is missing", '  "data": {}   <=='),
        (b'{"id":5}', "not-cloudevent", "id is not a string", '  "id": 5   <=='),
        (b'{"id":"1"}', "not-cloudevent", "time is missing", "{   <=="),
        (b"[1]", "not-cloudevent", "the value is not a JSON object", "[   <=="),
        (b'{"type":"x"}', "unknown-type", "type 'x'", '  "type": "x"   <=='),
        (b'{"time":"1999"}', "before-horizon", "time 1999 ...", '  "time": "1999"   <=='),
        (b'{"data":{"customerOrgId":"c"}}', "key-mismatch", "b'k' is not", '    "customerOrgId": "c"   <=='),
        (b'{"id":"1",}', "not-json", "...", '  {"id":"1",}'),
        (b"\xff", "not-json", "...", "\\xff"),
    ],
)
def test_the_member_that_is_wrong_is_pointed_out(value: bytes, reason: str, detail: str, line: str) -> None:
    lines = pointed(value, reason, detail)
    assert any(shown.startswith(line) for shown in lines), lines


def test_what_is_shown_cannot_command_a_terminal() -> None:
    for value in (b'{"id":"\\u001b[2J\xc2\x9b\xe2\x80\xae","data":[{}]}', b"\x1b[2J{", b"[" * 90_000):
        lines = pointed(value, "bad-field", "id: \x1b[2J")
        assert all(line.isprintable() for line in lines)
