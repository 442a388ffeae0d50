"""A Prometheus for one test: Debian's, on a free port of loopback."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.deploy.one_machine import free_port

_START_SECONDS = 60

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no Prometheus here: apt install prometheus"
)


@contextmanager
def prometheus(folder: Path) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """A server with the folder's `prometheus.yml`: a function that answers PromQL with the series that it finds now."""
    port = free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def ask(query: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={quote(query)}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                ask("1")
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, (folder / "prometheus.log").read_text()
                assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
                time.sleep(0.1)
        yield ask
    finally:
        server.terminate()
        server.wait(30)
