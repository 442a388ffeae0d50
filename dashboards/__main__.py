"""`python -m dashboards` writes deploy/grafana/dashboards and docs/dashboards.md; a test says when they are stale."""

from pathlib import Path

from dashboards.every import DASHBOARDS
from dashboards.grafana import as_json
from dashboards.page import PAGE, page

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"


def files() -> dict[Path, str]:
    """Every file that is generated, with what it holds."""
    made = {FOLDER / f"{one.uid.removeprefix('rtmeter-')}.json": as_json(one) for one in DASHBOARDS}
    return {**made, PAGE: page()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
