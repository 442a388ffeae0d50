"""Where the foreign clients are installed: in the user's cache, once per list of versions, each pinned by hash."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).parent
_INSTALL_SECONDS = 900


def python_clients() -> Path:
    """The folder of the programs: python, schemathesis, openapi-python-client."""
    requirements = _HERE / "requirements.txt"

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(requirements)], folder)

    return _installed("foreign-python", [requirements], install) / "bin"


def node_clients() -> Path | None:
    """The folder of the programs: newman, openapi2postmanv2. None if there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    files = [_HERE / "package.json", _HERE / "package-lock.json"]

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder)
        _run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], folder)

    return _installed("foreign-node", files, install) / "node_modules" / ".bin"


def _installed(name: str, lists: list[Path], install: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in lists)).hexdigest()[:12]
    folder = _cache() / f"{name}-{digest}"
    # Written last: a folder without it is one whose making was cut short.
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        install(folder)
        done.touch()
    return folder


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder if folder.exists() else None, check=True, timeout=_INSTALL_SECONDS)


def _cache() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return base / "rtmeter"
