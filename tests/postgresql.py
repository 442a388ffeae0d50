"""A PostgreSQL for one test: Debian's programs, in a temporary folder, on a Unix socket alone."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_TO_START = 30


def programs() -> Path | None:
    """The folder of the newest installed PostgreSQL's programs; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a new, empty database."""
    where = programs()
    assert where is not None
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    user = None
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        user = _unprivileged()
        for path in (folder, data):
            os.chown(path, user, -1)
    common = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
    initdb = [where / "initdb", "--pgdata", data, "--auth", "trust", "--username", "test", "--no-sync"]
    subprocess.run(initdb, check=True, timeout=120, **common)
    server = subprocess.Popen(
        [where / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        stderr=(folder / "log").open("wb"),
        **common,
    )
    try:
        _wait_until_ready(where, folder, server)
        yield f"postgresql+psycopg://test@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(30)


def _wait_until_ready(where: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while subprocess.run([where / "pg_isready", "-q", "-h", folder], check=False, timeout=10).returncode != 0:
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)


def _unprivileged() -> int:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise AssertionError("there is no unprivileged user to run PostgreSQL as")
