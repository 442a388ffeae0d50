"""deploy/compose.yaml without containers: the same commands and environment, on free ports of this machine.

A container has files at /run/secrets and hosts called kafka, clickhouse, postgres; here both stand in for what they name.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.compose import REPOSITORY, ours

_STOP_SECONDS = 90
_VOLUME = "/var/lib/rtmeter"


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets for every part."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    return dict(setting.split("=", 1) for setting in shlex.split(line) if not setting.startswith("PATH="))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Part:
    """One process of a service."""

    def __init__(self, name: str, folder: Path, hosts: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        """`hosts`: what stands in the file, and what it is here. `secrets`: content of each."""
        self.name = name
        self.metrics_port = free_port()
        self.port = free_port()
        self._service = ours()[name.partition("-")[0]]
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._here = {**hosts, _VOLUME: str(folder / "volume"), "0.0.0.0": "127.0.0.1", "8080": str(self.port)}
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Part":
        command = [self._as_here(word) for word in self._service["command"]]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rtmeter", *command], env=self._environment(), stdout=log, stderr=log
            )
        return self

    def ends_well(self, seconds: float = 120) -> None:
        """As `service_completed_successfully`."""
        assert self._process is not None
        assert self._process.wait(seconds) == 0, self._log.read_text()

    def is_well(self) -> bool:
        """What the container's health check says."""
        kind, _, *arguments = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        words = [word.replace("9100", str(self.metrics_port)) for word in arguments]
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0

    def stop(self) -> int:
        """Its exit code, as the container's stop would have it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """Its log; ValueError where a line is no JSON object."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def _environment(self) -> dict[str, str]:
        settings = {**image_environment(), **(self._service.get("environment") or {})}
        settings["RTMETER_METRICS_PORT"] = str(self.metrics_port)
        here = {name: self._as_here(_default(value)) for name, value in settings.items()}
        for name, value in here.items():
            if name.endswith("_FILE"):
                secret = self._folder / f"{self.name}-{Path(value).name}"
                secret.write_text(self._secrets[Path(value).name] + "\n", encoding="utf-8")
                here[name] = str(secret)
        return {**os.environ, **here}

    def _as_here(self, text: str) -> str:
        for there, here in self._here.items():
            text = text.replace(there, here)
        return text


def _default(value: str) -> str:
    """`${NAME:-default}` as where NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
