"""Clients that nobody here wrote, each as its users use it, against a served API."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.billing.api.test_served import served
from tests.foreign import collection, environment

HERE = Path(__file__).parent
CONTRACT = HERE.parent / "data" / "contract" / "webex-wholesale-billing.openapi.json"
EXAMPLES = os.environ.get("RTMETER_SCHEMATHESIS_EXAMPLES", "50")

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="session")
def programs() -> Path:
    return environment.python_clients()


@contextmanager
def fresh_api(folder: Path, month_folder: Path) -> Iterator[dict[str, str]]:
    """An API without reports, over the store of the month; the environment that says where it is, and a token."""
    (folder / "store").symlink_to(month_folder / "store")
    limits = {"requests_per_minute": "1000000", "max_running_reports": "100000"}
    with served(folder, **limits) as url:
        token = subprocess.run(
            [sys.executable, "-m", "rtmeter", "token", "--org", "P-alpha", "--data-dir", str(folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        yield {**os.environ, "RTMETER_URL": url, "RTMETER_TOKEN": token}


@pytest.fixture
def api(tmp_path: Path, month_folder: Path) -> Iterator[dict[str, str]]:
    with fresh_api(tmp_path, month_folder) as found:
        yield found


def run(command: list[str | Path], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), env=environment, cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_webexpythonsdk(programs: Path, api: dict[str, str], tmp_path: Path) -> None:
    run([programs / "python", HERE / "webex_sdk.py"], api, tmp_path)


def test_a_client_generated_by_openapi_python_client(programs: Path, api: dict[str, str], tmp_path: Path) -> None:
    generate = [programs / "openapi-python-client", "generate", "--path", CONTRACT, "--meta", "none"]
    with_path = {**api, "PATH": f"{programs}:{api['PATH']}", "PYTHONPATH": str(tmp_path)}
    run([*generate, "--output-path", tmp_path / "wholesale"], with_path, tmp_path)
    run([programs / "python", HERE / "generated_client.py"], with_path, tmp_path)


def test_schemathesis_with_all_its_checks(programs: Path, api: dict[str, str], tmp_path: Path) -> None:
    said = run(
        [
            programs / "schemathesis",
            "--config-file",
            HERE / "schemathesis.toml",
            "run",
            CONTRACT,
            "--url",
            api["RTMETER_URL"] + "/v1",
            "--header",
            f"Authorization: Bearer {api['RTMETER_TOKEN']}",
            "--checks",
            "all",
            "--max-examples",
            EXAMPLES,
            "--seed",
            "1",
            "--no-color",
        ],
        api,
        tmp_path,
    )
    found = re.search(r"Tested: (\d+)", said)
    assert found is not None
    assert found[1] == "5", said[-3000:]


def test_newman_with_a_collection_converted_from_the_contract(api: dict[str, str], tmp_path: Path) -> None:
    node = environment.node_clients()
    if node is None:
        pytest.skip("npm is not installed: newman was not tried (Debian: apt install npm)")
    run([node / "openapi2postmanv2", "-s", CONTRACT, "-o", tmp_path / "converted.json"], api, tmp_path)
    ready = tmp_path / "collection.json"
    ready.write_text(collection.runnable((tmp_path / "converted.json").read_text()))
    said = run(
        [
            node / "newman",
            "run",
            ready,
            "--color",
            "off",
            "--bail",
            "--env-var",
            f"baseUrl={api['RTMETER_URL']}/v1",
            "--env-var",
            f"bearerToken={api['RTMETER_TOKEN']}",
        ],
        api,
        tmp_path,
    )
    assert re.search(r"assertions\s*│\s*5\s*│\s*0\s*│", said), said
