"""The virtual environment of the Quix Streams peer, which cannot share ours: it needs an older confluent-kafka."""

import shutil
import subprocess
import sys
from pathlib import Path

_REQUIREMENTS = Path(__file__).with_name("peers") / "quix-requirements.txt"
_FOLDER = Path(__file__).with_name(".venv-quix")
_INSTALL_SECONDS = 600


def version() -> str:
    """The version that is asked for."""
    return _REQUIREMENTS.read_text(encoding="utf-8").rpartition("==")[2].strip()


def python() -> Path:
    """The environment's Python."""
    return _FOLDER / "bin" / "python"


def ensure() -> None:
    """Make the environment, unless it is there as asked for. subprocess.CalledProcessError when pip fails."""
    wanted = _REQUIREMENTS.read_text(encoding="utf-8")
    # Written last: an environment without it is one whose making was cut short.
    installed = _FOLDER / "installed-requirements.txt"
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(_FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(_FOLDER)], check=True, timeout=_INSTALL_SECONDS)
    subprocess.run(
        [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(_REQUIREMENTS)],
        check=True,
        timeout=_INSTALL_SECONDS,
    )
    installed.write_text(wanted, encoding="utf-8")
