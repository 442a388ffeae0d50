"""deploy/compose.yaml as a value."""

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
FILE = DEPLOY / "compose.yaml"


def compose() -> dict[str, Any]:
    """The whole file, its anchors resolved."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in services().items() if service["image"].startswith("rtmeter:")}


def mounted() -> list[tuple[str, Path]]:
    """Each file or folder of the repository that a service gets, with the service's name."""
    found = []
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                found.append((name, DEPLOY / source))
    return found
