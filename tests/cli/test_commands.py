"""The command line: help, exit codes, and what goes wrong in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MONTH = Path(__file__).parents[1] / "data" / "month"
COMMANDS = (
    ("up",),
    ("topics", "create"),
    ("worker",),
    ("sink",),
    ("emit",),
    ("close-day",),
    ("report",),
    ("api",),
    ("jobs",),
    ("token",),
    ("migrate",),
    ("rebuild",),
    ("backup",),
    ("restore",),
    ("meter",),
    ("explain",),
    ("status",),
    ("reconcile",),
    ("close-month",),
    ("verify-close",),
    ("approve",),
    ("invoice",),
    ("period",),
    ("preview",),
    ("dead-letters", "list"),
    ("dead-letters", "show"),
    ("dead-letters", "dismiss"),
    ("dead-letters", "redrive"),
    ("demo",),
)
OCTOBER = ("--start", "2026-10-01", "--end", "2026-10-31")


def rtmeter(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "rtmeter", *arguments], input=stdin, capture_output=True, timeout=120, check=False
    )


def event(**changes: object) -> bytes:
    data = {"partnerOrgId": "p", "customerOrgId": "c", "subscriberId": "s", "package": "WEBEX_CALLING", "userId": "u"}
    whole = {
        "specversion": "1.0",
        "id": "1",
        "source": "/test",
        "type": "wholesale.package.assigned.v1",
        "time": "2026-10-01T00:00:00Z",
        "data": data,
    }
    return json.dumps({**whole, **changes}).encode() + b"\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    done = rtmeter(*command, "--help")
    assert done.returncode == 0
    assert f"Example: rtmeter {' '.join(command)}" in " ".join(done.stdout.decode().split())


def test_meter_writes_the_report_of_files(tmp_path: Path) -> None:
    out = tmp_path / "report.csv"
    done = rtmeter(
        "meter",
        *[str(MONTH / "catalog.jsonl"), str(MONTH / "events.jsonl"), "--type", "USER", "--partner", "P-beta"],
        *OCTOBER,
        *["--received-at", "2026-11-15T00:00:00Z", "--output", str(out)],
    )
    assert done.returncode == 1, "the month has two identity conflicts"
    assert done.stderr.decode().count("identity-conflict") == 2
    assert out.read_bytes() == (MONTH / "expected" / "USER-P-beta.csv").read_bytes()
    assert not done.stdout


def test_meter_reads_standard_input() -> None:
    done = rtmeter("meter", "-", "--type", "PARTNER", "--partner", "p", *OCTOBER, stdin=event())
    assert done.returncode == 0
    assert done.stdout.splitlines()[1] == b",p,,WEBEX_CALLING,,,2026-10-01,2026-10-31,31"


def test_the_append_time_decides_what_is_too_far_in_the_future() -> None:
    arguments = ("meter", "-", "--type", "PARTNER", "--partner", "p", "--start", "2026-09-01", "--end", "2026-09-30")
    late = rtmeter(*arguments, "--received-at", "2026-10-01T00:00:00Z", stdin=event(time="2026-10-01T00:05:00.001Z"))
    assert late.returncode == 1
    assert b"too-far-in-future" in late.stderr
    good = rtmeter(*arguments, "--received-at", "2026-10-01T00:00:00Z", stdin=event(time="2026-10-01T00:05:00Z"))
    assert good.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("meter", "-", "--type", "PARTNER", "--partner", "p", "--start", "2026-10-31", "--end", "2026-10-01"),
            "after",
        ),
        (("meter", "-", "--type", "PARTNER", "--partner", "p", "--start", "1", "--end", "2026-10-01"), "YYYY-MM-DD"),
        (("meter", "-", "--type", "WRONG", "--partner", "p", *OCTOBER), "WRONG"),
        (
            ("meter", "-", "--type", "PARTNER", "--partner", "p", "--start", "2026-10-01", "--end", "2999-01-01"),
            "not over",
        ),
        (("meter", "-", "--type", "USER", "--partner", "p", "--sub-partner", "q", *OCTOBER), "not a sub-partner"),
        (("report", "--type", "USER", "--partner", "p", "--start", "2010-01-01", "--end", "2010-01-02"), "5 years"),
        (("close-day", "--through", "2999-01-01"), "not over"),
        (("emit", "no-such-file"), "not a file"),
        (("emit",), "FILE"),
        (("no-such-command",), "no-such-command"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(arguments: tuple[str, ...], said: str) -> None:
    done = rtmeter(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "--type", "USER", "--partner", "p", *OCTOBER), "rtmeter up"),
        (("meter", "/no/such/file", "--type", "USER", "--partner", "p", *OCTOBER), "/no/such/file"),
    ],
)
def test_what_fails_is_exit_code_3_and_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "data")) if arguments[0] == "report" else ()
    done = rtmeter(*arguments, *options)
    assert done.returncode == 3
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_emit_keeps_bad_lines_back_and_lists_them(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    common = ("--bootstrap-servers", kafka, "--topic-prefix", topic_prefix)
    assert rtmeter("topics", "create", "--partitions", "3", *common).returncode == 0
    file = tmp_path / "events.jsonl"
    file.write_bytes(event() + b"{}\n" + event(id="2", type="wholesale.no.such.v1") + b"\n" + event(id="3"))
    done = rtmeter("emit", str(file), *common)
    assert done.returncode == 1
    said = done.stderr.decode()
    assert f"{file} line 2: not-cloudevent" in said
    assert f"{file} line 3: unknown-type" in said
    assert "4 lines: 2 records sent, 2 lines refused" in said

    raw = rtmeter("emit", "--raw", str(file), *common)
    assert raw.returncode == 0
    assert "4 lines: 4 records sent, 0 lines refused" in raw.stderr.decode()


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_emit_without_topics_says_so(kafka: str, topic_prefix: str) -> None:
    done = rtmeter("emit", "-", "--bootstrap-servers", kafka, "--topic-prefix", topic_prefix, stdin=event())
    assert done.returncode == 3
    assert "Create the topics first" in done.stderr.decode()
