"""docs/dead-letters.md: its examples run as they stand and show what they say; its reasons are those of the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from billing.refusal_help import HELP
from schemas.reasons import Reason

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dead-letters.md").read_text()
WITHOUT_A_PACKAGE = b'{"specversion":"1.0","id":"4","source":"/provisioning","type":"wholesale.package.assigned.v1","time":"2026-10-05T12:00:00Z","data":{"partnerOrgId":"northwind","customerOrgId":"bakery","subscriberId":"s-2","userId":"u-2"}}'
REMOVED = b'{"specversion":"1.0","id":"5","source":"/provisioning","type":"wholesale.package.removed.v1","time":"2026-10-15T12:00:00Z","data":{"partnerOrgId":"northwind","customerOrgId":"bakery","subscriberId":"s-2"}}'
CUT_OFF = WITHOUT_A_PACKAGE[:-1]


def shape(text: str) -> str:
    """The words of an output, without the lines of tables and the times of now."""
    text = re.sub(r"arrived   \S+", "arrived TIME", text)
    text = re.sub(r"through \d{4}-\d\d-\d\d", "through DAY", text)
    return " ".join(word for word in text.split() if not re.fullmatch(r"[━─┃│┏┓┗┛┡┩├┤└┘╇┳┬┴┼╈╋]+", word))


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_examples_run_and_show_what_they_say(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """On the broker of all tests: so its topics have a prefix here, and the letters' names with them."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "rtmeter").write_text(f'#!/bin/sh\nexec {sys.executable} -m rtmeter "$@"\n')
    (binaries / "rtmeter").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "RTMETER_DATA_DIR": str(tmp_path / "data"),
        "RTMETER_BOOTSTRAP_SERVERS": kafka,
        "RTMETER_TOPIC_PREFIX": topic_prefix,
    }
    shutil.copy(ROOT / "examples" / "events.jsonl", tmp_path)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b"\n".join([WITHOUT_A_PACKAGE, REMOVED, CUT_OFF, b""]))

    def run(text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        return done.stdout

    run(
        "rtmeter topics create; rtmeter emit --raw events.jsonl; rtmeter close-day --through 2026-10-31; rtmeter up --drain"
    )
    shown = ""
    page = PAGE.replace("package-assignments/", f"{topic_prefix}package-assignments/")
    for language, block in re.findall(r"^```(bash|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "bash":
            shown = run(block)
        else:
            assert shape(block) in shape(shown)
    report = "rtmeter report --type USER --partner northwind --start 2026-10-01 --end 2026-10-31"
    assert "s-2" in run(report)
    assert "dead letter" not in run(f"{report} 2>&1")


def test_every_reason_is_explained_as_the_code_explains_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(tuple(f"| {reason} |" for reason in Reason))]
    assert rows == [f"| {reason} | {told.meaning} | {told.who} | {told.what} |" for reason, told in HELP.items()]
    assert list(HELP) == list(Reason), "in the order in which they are tried"
