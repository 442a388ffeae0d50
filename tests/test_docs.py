"""docs/: the examples run as they stand, and what is listed is what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from billing.api.errors import ErrorCode
from billing.api.settings import ApiSettings
from billing.jobs.runner import FailureCode
from tests.billing.api.test_served import served
from tests.month import MONTH
from tests.store_process import serving

DOCS = Path(__file__).parents[1] / "docs"
API = (DOCS / "api.md").read_text()


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", API, re.MULTILINE | re.DOTALL))


def test_the_examples_of_the_api_run_as_they_stand(tmp_path: Path) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    work.mkdir()
    with serving(data, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"]), served(data) as url:
        token = subprocess.run(
            [sys.executable, "-m", "rtmeter", "token", "--org", "P-alpha", "--data-dir", str(data)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        environment = {**os.environ, "RTMETER_URL": url, "RTMETER_TOKEN": token}
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", blocks("bash")],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert shell.returncode == 0, shell.stderr
        assert (work / "report.csv").read_bytes() == (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
        assert '"subPartners"' in shell.stdout
        # Twice: the second time there is a completed one, and the script finds it.
        for _ in range(2):
            python = subprocess.run(
                [sys.executable, "-c", blocks("python")],
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert python.returncode == 0, python.stderr
            assert re.fullmatch(r"[0-9.]+ licence-days in \d+ rows\n", python.stdout)


def test_every_error_code_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d{4}) \|", API, re.MULTILINE)}
    assert explained == {*ErrorCode, *FailureCode}


@pytest.mark.parametrize("name", ApiSettings.model_fields)
def test_every_setting_is_described_as_the_code_describes_it(name: str) -> None:
    field = ApiSettings.model_fields[name]
    default = "" if field.is_required() else f"`{field.default}`"
    line = f"| `RTMETER_API_{name.upper()}` | {default} | {field.description} |"
    assert line in (DOCS / "api-settings.md").read_text().splitlines()


def test_no_setting_is_described_that_is_not_there() -> None:
    described = set(re.findall(r"^\| `RTMETER_API_(\w+)`", (DOCS / "api-settings.md").read_text(), re.MULTILINE))
    assert described == {name.upper() for name in ApiSettings.model_fields}
