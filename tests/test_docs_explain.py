"""docs/explain.md: its commands give what it shows, and what it lists is what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from billing.audit.explanation import Agreement, Effect, Explanation
from tests.store_process import serving

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "explain.md").read_text()
#: A command, and the text that is shown as its answer.
EXECUTED = re.findall(r"```bash\n(.*?)```.*?```text\n(.*?)```", TEXT, re.DOTALL)


def test_each_command_of_the_page_gives_what_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "RTMETER_DATA_DIR": str(data), "COLUMNS": "80", "PATH": programs}
    assert len(EXECUTED) == TEXT.count("```bash") == 3
    with serving(data, [ROOT / "examples" / "catalog.jsonl", ROOT / "examples" / "events.jsonl"]):
        for command, shown in EXECUTED:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            given = "\n".join(line.rstrip() for line in done.stdout.splitlines())
            assert given.startswith(shown.rstrip("\n"))
            assert shown.count("\n") > 5 or len(shown) < 200, "a whole page, or a short answer"


@pytest.mark.parametrize(("heading", "listed"), [("What an event did", Effect), ("What the tables say", Agreement)])
def test_the_page_lists_what_there_is(heading: str, listed: type[Effect] | type[Agreement]) -> None:
    section = re.search(rf"^## {heading}$(.*?)(^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section[1], re.MULTILINE)) == {each.value for each in listed}


def test_the_page_lists_every_member_of_the_json() -> None:
    section = TEXT[TEXT.index("## For programs") :]
    first_cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    names = {re.sub(r"_(\w)", lambda match: match[1].upper(), name) for name in Explanation.__struct_fields__}
    assert documented == names
