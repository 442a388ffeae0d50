"""The jars of a Kafka broker in the user's cache, fetched once with Maven.

`python -m rtmeter.kafka_jars` fetches them ahead of time; it is what `make setup` runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

_POM: Final = Path(__file__).resolve().parent.parent / "deploy" / "kafka" / "pom.xml"
_POM_NAMESPACE: Final = {"m": "http://maven.apache.org/POM/4.0.0"}
_SHOWN_MAVEN_LINES: Final = 15


class KafkaUnavailable(Exception):
    """No broker can be had on this machine as it is: stop, and show the message to the user."""


def kafka_version() -> str:
    """The Kafka version that `deploy/kafka/pom.xml` names; KafkaUnavailable without that file."""
    try:
        root = ET.parse(_POM).getroot()  # noqa: S314 - our own file
    except (OSError, ET.ParseError) as error:
        raise KafkaUnavailable(f"{_POM} names the Kafka version but cannot be read: {error}") from error
    version = root.findtext("m:properties/m:kafka.version", namespaces=_POM_NAMESPACE)
    if not version:
        raise KafkaUnavailable(f"{_POM} has no <kafka.version>")
    return version.strip()


def java_command() -> str:
    """The java to run the broker with: JAVA_HOME's, else the one on PATH; KafkaUnavailable without."""
    home = os.environ.get("JAVA_HOME")
    if home and os.access(Path(home, "bin", "java"), os.X_OK):
        return str(Path(home, "bin", "java"))
    found = shutil.which("java")
    if found is None:
        raise KafkaUnavailable("java was not found: install a Java runtime, 17 or newer, or set JAVA_HOME")
    return found


def kafka_libs() -> Path:
    """The folder that holds the jars, and nothing else.

    The first call of a Kafka version runs Maven, which takes up to a minute or so and says so on
    standard error. Raises KafkaUnavailable when java or mvn is missing, or Maven fails.

    The order of effects, and what a crash after each step leaves:
    1. take the lock (freed with the process): nothing;
    2. Maven copies into a temporary folder beside the goal: a stray folder, which the next call removes;
    3. rename to the final name: all of it. So a folder of the final name is always complete.
    """
    version = kafka_version()
    folder = _cache_folder() / f"kafka-{version}"
    libs = folder / "libs"
    if libs.is_dir():
        return libs
    java_command()  # without it the jars are no use: say so before a minute of downloading
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "fetch.lock"):
        if libs.is_dir():  # another process fetched them while this one waited
            return libs
        for stray in folder.glob("fetching-*"):
            shutil.rmtree(stray, ignore_errors=True)
        fetching = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder))
        try:
            _fetch(version, fetching)
            fetching.chmod(0o755)  # mkdtemp's 0700 would outlive the rename
            fetching.rename(libs)
        finally:
            shutil.rmtree(fetching, ignore_errors=True)
    return libs


def _cache_folder() -> Path:
    """The folder of rtmeter in the user's cache. A relative XDG_CACHE_HOME is invalid, hence ignored."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    return base / "rtmeter"


def _fetch(version: str, into: Path) -> None:
    """Let Maven copy the jars into `into`; KafkaUnavailable when it cannot."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable(f"mvn was not found: install Maven, which fetches the jars of Kafka {version}")
    print(f"Fetching Kafka {version} with Maven (once; about 60 MB) ...", file=sys.stderr, flush=True)
    run = subprocess.run(
        [
            maven, "--batch-mode", "--no-transfer-progress", "--file", str(_POM),
            "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )  # fmt: skip
    if run.returncode != 0 or not any(into.glob("kafka_*.jar")):
        said = "\n".join(run.stdout.splitlines()[-_SHOWN_MAVEN_LINES:])
        raise KafkaUnavailable(f"Maven could not fetch Kafka {version} (exit code {run.returncode}):\n{said}")
    print(f"Kafka {version} is there.", file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; wait for whoever has it. The kernel frees it with the process."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(kafka_libs())
    except KafkaUnavailable as problem:
        sys.exit(f"error: {problem}")
