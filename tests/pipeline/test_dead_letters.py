"""Dead letters on a real Kafka, from the refusal to a report that misses nothing: listed, redriven, refused again,
dismissed; and a redriver that is killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from rtmeter.options import now_ms
from schemas.instants import day_number
from tests.pipeline.harness import FIRST, LAST, Installation

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

OCTOBER = ReportRequest(ReportType.USER, "north", None, day_number(FIRST), day_number(LAST))


def event(number: int, **changes: object) -> bytes:
    data = {"partnerOrgId": "north", "customerOrgId": "bakery", "subscriberId": f"s{number}", "userId": f"u{number}"}
    whole = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/provisioning",
        "type": "wholesale.package.assigned.v1",
        "time": f"2026-10-{10 + number}T00:00:00Z",
        "data": {**data, "package": "WEBEX_CALLING"},
    }
    return json.dumps({**whole, **changes}).encode()


GOOD = event(0)
WITHOUT_ID = event(1, id=None)
LOWER_CASE_TYPE = event(2, type="wholesale.package.Assigned.v1")
CUT_OFF = event(3)[:-2]
#: A correction that is none: its identity is taken.
CONFLICTING = event(2, id="e0", data={**json.loads(GOOD)["data"], "package": "WEBEX_MEETINGS"})


class Work:
    """An installation with three dead letters, all of October, and what an operator does with them."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder / "data")
        self.folder = folder

    def send(self, *lines: bytes) -> None:
        file = self.folder / "events.jsonl"
        file.write_bytes(b"\n".join(lines) + b"\n")
        self.installation.run("emit", "--raw", str(file))

    def letters(self, *options: str) -> dict[str, dict[str, str]]:
        """The listed letters by id."""
        listed = self.installation.run("dead-letters", "list", "--format", "json", *options).stdout
        return {letter["id"]: letter for letter in map(json.loads, listed.splitlines())}

    def id_of(self, reason: str) -> str:
        (found,) = self.letters("--reason", reason)
        return found

    def copy(self, line: bytes) -> str:
        file = self.folder / "copy.json"
        file.write_bytes(line + b"\n")
        return str(file)

    def redrive(self, *arguments: str, code: int = 0) -> str:
        done = self.installation.run("dead-letters", "redrive", *arguments, codes=(code,))
        return done.stdout.decode() + done.stderr.decode()

    def show(self, letter: str) -> str:
        return self.installation.run("dead-letters", "show", letter).stdout.decode()

    def report(self) -> tuple[bytes, str]:
        """October's report of the partner, and what is said about it."""
        period = ["--start", FIRST, "--end", LAST]
        done = self.installation.run("report", "--type", "USER", "--partner", "north", *period)
        return done.stdout, done.stderr.decode()

    def kill_after_the_send(self, *arguments: str) -> None:
        """Redrive, and be killed as soon as the copy is in the log."""
        command = [sys.executable, "-m", "rtmeter", "dead-letters", "redrive", *arguments]
        process = subprocess.Popen(command, env=self.installation.environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.readline()
        process.kill()
        process.wait(30)
        process.stderr.close()
        assert b": sent as " in said, said


@pytest.fixture
def work(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    monkeypatch.setenv("RTMETER_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("RTMETER_TOPIC_PREFIX", topic_prefix)
    made = Work(tmp_path)
    made.installation.run("topics", "create", "--partitions", "2")
    made.send(GOOD, WITHOUT_ID, LOWER_CASE_TYPE, CUT_OFF)
    made.installation.run("close-day", "--through", LAST)
    made.installation.drain()
    return made


def metered(*lines: bytes) -> bytes:
    return b"".join(Metered(lines, now_ms()).report(OCTOBER))


def test_letters_are_worked_through_until_the_report_misses_nothing(work: Work) -> None:
    found = work.letters()
    assert sorted(letter["reason"] for letter in found.values()) == ["not-cloudevent", "not-json", "unknown-type"]
    assert {letter["partnerOrgId"] for letter in found.values()} == {"north"}, "even of the line that was cut off"
    report, said = work.report()
    assert report == metered(GOOD)
    assert "3 open dead letters of this period" in said
    status = work.installation.run("status").stdout.decode()
    assert "missing in reports: rtmeter dead-letters list" in status
    without_id, lower_case, cut_off = map(work.id_of, ("not-cloudevent", "unknown-type", "not-json"))
    raw = work.installation.run("dead-letters", "show", cut_off, "--raw").stdout
    assert raw == CUT_OFF

    # What would change is what then changes.
    corrected = event(1)
    foretold = work.redrive(without_id, "--with", work.copy(corrected), "--dry-run")
    assert f"{without_id} would be metered" in foretold
    assert "in all +21 through" not in foretold, "it runs on after October"
    assert "closed days restated: 21" in foretold
    assert "kept back" in work.redrive(without_id, code=1), "the same bytes would be refused again"
    # Sent twice before anything is metered: the second one is a duplicate.
    for _ in range(2):
        work.redrive(without_id, "--with", work.copy(corrected))
    conflict = work.redrive(lower_case, "--with", work.copy(CONFLICTING), "--dry-run", code=1)
    assert "would be refused: identity-conflict" in conflict
    work.redrive(lower_case, "--with", work.copy(CONFLICTING))
    dismiss = ["dead-letters", "dismiss", cut_off, "--reason", "the sender sent it again", "--by", "billing desk"]
    work.installation.run(*dismiss)
    work.installation.drain()

    report, said = work.report()
    assert report == metered(GOOD, corrected)
    assert "1 open dead letter of this period" in said
    states = {letter: about["state"] for letter, about in work.letters("--all").items()}
    (newest,) = work.letters()
    assert states == {
        without_id: "redriven",
        lower_case: "refused-again",
        cut_off: "dismissed",
        newest: "open",
    }
    assert f"{lower_case} -> {newest}" in work.show(newest)
    assert f"{lower_case} -> {newest}" in work.show(lower_case)
    assert "by billing desk" in work.show(cut_off)
    for closed in (without_id, lower_case, cut_off):
        assert closed in work.redrive(closed, "--with", work.copy(corrected), code=1)
    assert b"is not dismissed" in work.installation.run(*dismiss, codes=(1,)).stderr

    # Whoever is killed once the copy is in the log has left nothing undone.
    good_copy = event(2)
    work.kill_after_the_send(newest, "--with", work.copy(good_copy))
    work.installation.drain()
    assert work.letters() == {}
    assert work.letters("--all").keys() == states.keys(), "a duplicate is no letter"
    report, said = work.report()
    assert report == metered(GOOD, corrected, good_copy)
    assert said == ""
