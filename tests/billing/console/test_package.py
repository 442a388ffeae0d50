"""The console's pages and files are part of what is installed."""

import tomllib
from pathlib import Path

BILLING = Path(__file__).parents[3] / "billing"


def test_every_template_and_static_file_is_in_the_install() -> None:
    project = tomllib.loads((BILLING.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["billing"]
    installed = {path for pattern in patterns for path in BILLING.glob(pattern)}
    wanted = {
        path
        for folder in ("templates", "static")
        for path in (BILLING / "console" / folder).rglob("*")
        if path.is_file()
    }
    assert wanted
    assert installed == wanted
