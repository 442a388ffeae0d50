"""The API as a process: `rtmeter report` through it, what scripts in the wild do, and clients that are slow."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest

from rtmeter.installation import Installation
from tests.month import MONTH

START_SECONDS = 60
BODY_SECONDS = 2


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[str]:
    """`rtmeter api` on a data folder; its URL."""
    environment = {**os.environ, **{f"RTMETER_API_{name.upper()}": value for name, value in settings.items()}}
    log = (folder / "api.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "rtmeter", "api", "--port", "0", "--data-dir", str(folder)], env=environment, stderr=log
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (url := Installation(folder, None, "").running_api()) is None:
            assert process.poll() is None, (folder / "api.log").read_text()
            assert time.monotonic() < deadline, (folder / "api.log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        assert process.wait(60) == 0, (folder / "api.log").read_text()
        log.close()


@pytest.fixture(scope="module")
def api(month_folder: Path) -> Iterator[str]:
    with served(month_folder, body_seconds=str(BODY_SECONDS)) as url:
        yield url


@pytest.fixture(scope="module")
def token(month_folder: Path) -> str:
    command = [sys.executable, "-m", "rtmeter", "token", "--org", "P-alpha", "--data-dir", str(month_folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


class Script:
    """What a script with nothing but the standard library does."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/v1{path}", data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def report(self, report_id: str) -> dict[str, Any]:
        """Poll until it is there."""
        deadline = time.monotonic() + 60
        while True:
            status, report = self.ask("GET", f"/wholesale/billing/reports/{report_id}")
            assert status == 200
            if report["status"] != "IN_PROGRESS":
                return dict(report)
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def script(api: str, token: str) -> Script:
    return Script(api, token)


OCTOBER = {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-31"}


def test_a_script_creates_polls_and_downloads_without_a_token(script: Script) -> None:
    status, created = script.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "CUSTOMER"})
    assert status == 200
    report = script.report(created["id"])
    with urllib.request.urlopen(report["tempDownloadURL"], timeout=60) as answer:
        content = answer.read()
    assert content == (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
    # Column 11, counted as people do, is the quantity.
    quantities = [Decimal(row[10]) for row in list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]]
    frame = pd.read_csv(report["tempDownloadURL"], dtype=str, keep_default_na=False)
    assert sum(quantities) == sum(map(Decimal, frame["QUANTITY"])) > 0
    assert list(frame.columns[:4]) == ["PARTNER_NAME", "PARTNER_ORG_ID", "CUSTOMER_ORG_ID", "CUSTOMER_EXTERNAL_ID"]


def test_a_script_lists_without_parameters_and_compares_dates_as_text(script: Script) -> None:
    script.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "USER"})
    status, body = script.ask("GET", "/wholesale/billing/reports")
    assert status == 200
    found = [item for item in body["items"] if "2026-10-01" <= item["billingStartDate"] <= "2026-10-31"]
    assert found


def test_a_script_that_hears_409_finds_the_report_by_the_list(script: Script) -> None:
    _, created = script.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "PARTNER"})
    script.report(created["id"])
    status, error = script.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "PARTNER"})
    assert status == 409
    assert error["errors"][0]["errorCode"] == 2009
    _, body = script.ask("GET", "/wholesale/billing/reports?type=PARTNER&billingStartDate=2026-10-01&status=COMPLETED")
    assert [item["id"] for item in body["items"]] == [created["id"]]


@pytest.mark.parametrize("file", sorted((MONTH / "expected").iterdir()), ids=lambda file: file.stem)
def test_rtmeter_report_gives_the_same_bytes_through_the_api(api: str, month_folder: Path, file: Path) -> None:
    report_type, _, of = file.stem.partition("-")
    partner, _, sub_partner = of.partition("_")
    command = [sys.executable, "-m", "rtmeter", "report", "--type", report_type, "--partner", partner, "--start", "2026-10-01", "--end", "2026-10-31", "--data-dir", str(month_folder), *(["--sub-partner", sub_partner] if sub_partner else [])]  # fmt: skip
    through = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert through.returncode == 0, through.stderr.decode()
    assert through.stdout == file.read_bytes()
    given = subprocess.run(
        [*command, "--api", api],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "RTMETER_API_TOKEN": "x"},
    )
    assert given.returncode == 3
    assert b"401" in given.stderr


def test_rtmeter_report_says_what_the_api_says(api: str, month_folder: Path) -> None:
    command = [sys.executable, "-m", "rtmeter", "report", "--type", "USER", "--partner", "P-beta", "--sub-partner", "S-one", "--start", "2026-10-01", "--end", "2026-10-31", "--data-dir", str(month_folder)]  # fmt: skip
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 2
    assert "not a sub-partner" in refused.stderr


SLOW = 60


def test_slow_clients_do_not_hold_workers(api: str, token: str, script: Script) -> None:
    """Bodies that drip, answers that nobody reads: others are answered meanwhile, and the slow ones are ended."""
    _, created = script.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "USER"})
    link = urlsplit(script.report(created.get("id") or _running(script))["tempDownloadURL"])
    address = (urlsplit(api).hostname, urlsplit(api).port)
    head = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
    with ExitStack() as clients:
        dripping, deaf = [], []
        for _ in range(SLOW):
            client = clients.enter_context(socket.create_connection(address, timeout=60))
            client.sendall(f"POST /v1/wholesale/billing/reports HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())  # fmt: skip
            dripping.append(client)
        for _ in range(SLOW):
            client = clients.enter_context(socket.create_connection(address, timeout=60))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.sendall(f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            deaf.append(client)
        for _ in range(20):
            assert script.ask("GET", "/wholesale/billing/reports")[0] == 200
        for client in dripping:
            answer = _to_the_end(client)
            assert answer.startswith(b"HTTP/1.1 408"), answer[:100]
            assert b'"errorCode":2020' in answer
        assert script.ask("GET", "/wholesale/billing/reports")[0] == 200


def _to_the_end(client: socket.socket) -> bytes:
    """What a server sends until it closes the connection."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def _running(script: Script) -> str:
    _, body = script.ask("GET", "/wholesale/billing/reports?type=USER")
    return str(body["items"][0]["id"])


def test_the_log_has_a_line_per_request_and_no_link(api: str, script: Script, month_folder: Path) -> None:
    log = (month_folder / "api.log").read_text()
    assert "GET /v1/wholesale/billing/reports 200" in log
    assert "/v1/downloads/" in log
    assert "signature=" not in log
    assert "Bearer" not in log


def test_a_store_that_is_away_is_said_and_nothing_is_lost(month_folder: Path, tmp_path: Path) -> None:
    """No store at all: creates are taken and wait, what needs the store answers 503."""
    with served(tmp_path) as url:
        command = [sys.executable, "-m", "rtmeter", "token", "--org", "P-alpha", "--data-dir", str(tmp_path)]
        own = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        away = Script(url, own)
        status, error = away.ask("GET", "/wholesale/subPartners")
        assert status == 503
        assert error["errors"][0]["errorCode"] == 2031
        status, created = away.ask("POST", "/wholesale/billing/reports", {**OCTOBER, "type": "PARTNER"})
        assert status == 200
        time.sleep(1)
        assert away.ask("GET", f"/wholesale/billing/reports/{created['id']}")[0] == 503


def test_wrong_settings_are_all_named_and_nothing_starts(tmp_path: Path) -> None:
    environment = {**os.environ, "RTMETER_API_LINK_KEYS": "short", "RTMETER_API_LINK_SECONDS": "0"}
    command = [sys.executable, "-m", "rtmeter", "api", "--port", "0", "--data-dir", str(tmp_path)]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 3
    assert "RTMETER_API_LINK_KEYS" in refused.stderr
    assert "RTMETER_API_LINK_SECONDS" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [
            sys.executable,
            "-m",
            "rtmeter",
            "api",
            "--port",
            str(taken.getsockname()[1]),
            "--data-dir",
            str(tmp_path),
        ]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 3
    assert "choose another --port" in refused.stderr
