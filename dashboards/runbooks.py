"""The runbooks as a dashboard: whoever sees trouble reads what to do about it in the same window."""

import re
from pathlib import Path

from dashboards.parts import Dashboard, Kind, Panel, Row

FOLDER = Path(__file__).parents[1] / "docs" / "runbooks"
UID = "rtmeter-runbooks"
STEMS = tuple(sorted(file.stem for file in FOLDER.glob("*.md") if file.stem != "README"))


def address(stem: str) -> str:
    """Where Grafana shows a runbook by itself; all of them for ''."""
    return f"/d/{UID}" if not stem else f"/d/{UID}?viewPanel={STEMS.index(stem) + 1}"


def _panel(stem: str) -> Panel:
    heading, _, body = (FOLDER / f"{stem}.md").read_text(encoding="utf-8").partition("\n")
    # A link to another runbook leads to its panel; one to another page of the docs is left as text.
    linked = re.sub(
        r"\[([^\]]+)\]\(([^)]+)\)",
        lambda found: (
            f"[{found[1]}]({address(found[2].removesuffix('.md'))})"
            if found[2].removesuffix(".md") in STEMS
            else f"{found[1]} (`{found[2].removeprefix('../')}`)"
        ),
        body.strip(),
    )
    return Panel(
        title=heading.removeprefix("# "),
        tells=f"docs/runbooks/{stem}.md",
        kind=Kind.TEXT,
        text=linked,
        width=24,
        height=16,
    )


RUNBOOKS = Dashboard(
    uid=UID,
    title="rtmeter: Runbooks",
    tells="For each alert: what it means, what to look at, what to do. The links of the other dashboards lead here.",
    rows=(Row("", tuple(_panel(stem) for stem in STEMS)),),
)
