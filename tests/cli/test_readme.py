"""The README's "Meter your own events" works as it is written."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = re.search(r"^## Meter your own events$(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
assert SECTION is not None
BLOCKS = [
    "\n".join(line.strip() for line in block.strip().splitlines())
    for block in re.findall(r"```\n(.*?)```", SECTION[1], re.DOTALL)
]


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_five_steps_give_the_report_that_they_show(tmp_path: Path) -> None:
    *steps, shown = BLOCKS
    assert len(steps) == 5
    environment = {**os.environ, "RTMETER_DATA_DIR": str(tmp_path / "data")}
    output = b""
    for step in steps:
        for command in step.splitlines():
            done = subprocess.run(
                command, shell=True, cwd=ROOT, env=environment, capture_output=True, timeout=180, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
            output = done.stdout
    assert output.decode().replace("\r\n", "\n").strip() == shown


def test_the_command_without_kafka_gives_the_same(tmp_path: Path) -> None:
    assert SECTION is not None
    (command,) = re.findall(r"`(\.venv/bin/rtmeter meter .*?)`", SECTION[1], re.DOTALL)
    done = subprocess.run(command.replace("\n", " "), shell=True, cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().replace("\r\n", "\n").strip() == BLOCKS[-1]


def test_every_make_target_of_the_documents_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in ROOT.glob("*.md"):
        named = set(re.findall(r"`?make ([a-z-]+)", document.read_text()))
        assert named <= targets, document


def test_every_file_that_the_documents_name_is_there() -> None:
    for document in ROOT.glob("*.md"):
        for path in re.findall(
            r"`((?:schemas|streams|sinks|billing|rtmeter|deploy|tests|bench|examples)/[\w./-]+)`", document.read_text()
        ):
            assert (ROOT / path).exists(), f"{document.name}: {path}"
