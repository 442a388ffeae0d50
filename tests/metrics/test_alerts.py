"""The alerts: each fires when it should and not when all is well, names a metric that there is, and has its runbook."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from rtmeter.cli import app
from schemas.metrics.every import METRICS
from tests.metrics.promtool import PROMTOOL, needs_promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
CASES = ROOT / "deploy" / "prometheus" / "tests"
RUNBOOKS = ROOT / "docs" / "runbooks"
SLUGS = sorted(file.stem for file in RULES.glob("*.yml"))
HEADINGS = ["## What it means", "## What to look at", "## What to do"]
#: Each way in which it goes wrong that must be told.
WAYS = {
    "worker-lag",
    "watermark-stuck",
    "day-not-closed",
    "refusals-rising",
    "dead-letters-ageing",
    "sink-failing",
    "reconcile-difference",
    "service-without-price",
    "report-queue-ageing",
}


def alerts_of(rules: str) -> list[str]:
    return re.findall(r"- alert: (\w+)$", rules, re.MULTILINE)


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\brtmeter_[a-z_]+", text))


KNOWN = {metric.name for metric in METRICS} | {
    f"{metric.name}_{part}" for metric in METRICS for part in ("bucket", "count", "sum")
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def test_every_way_it_goes_wrong_has_a_rule_a_test_and_a_runbook() -> None:
    assert set(SLUGS) >= WAYS
    assert {file.stem for file in CASES.glob("*.yml")} == set(SLUGS)
    assert {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"} == set(SLUGS)


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", *(RULES / f"{slug}.yml" for slug in SLUGS))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("slug", SLUGS)
def test_an_alert_fires_when_it_should_and_not_when_all_is_well(slug: str) -> None:
    done = promtool("test", "rules", CASES / f"{slug}.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def _never(rules: str) -> str:
    return re.sub(r"expr: \|\n(?: +.*\n)+?(?= +for:)", "expr: vector(0) > 1\n", rules)


def _always(rules: str) -> str:
    return re.sub(r"expr: \|\n(?: +.*\n)+?(?= +for:)", "expr: vector(1)\n", re.sub(r"for: \w+", "for: 0m", rules))


@needs_promtool
@pytest.mark.parametrize("broken", [_never, _always])
@pytest.mark.parametrize("slug", SLUGS)
def test_a_rule_that_never_or_always_fires_is_caught(slug: str, broken: object, tmp_path: Path) -> None:
    for folder in ("rules", "tests"):
        shutil.copytree(ROOT / "deploy" / "prometheus" / folder, tmp_path / folder)
    rules = (RULES / f"{slug}.yml").read_text()
    changed = broken(rules)  # type: ignore[operator]
    assert changed.count("vector(") >= rules.count("- alert:")
    (tmp_path / "rules" / f"{slug}.yml").write_text(changed)
    assert promtool("check", "rules", tmp_path / "rules" / f"{slug}.yml").returncode == 0
    assert promtool("test", "rules", tmp_path / "tests" / f"{slug}.yml").returncode == 1


@pytest.mark.parametrize("slug", SLUGS)
def test_each_alert_is_tried_both_ways(slug: str) -> None:
    checks = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", (CASES / f"{slug}.yml").read_text())
    for alert in alerts_of((RULES / f"{slug}.yml").read_text()):
        assert {silent == "" for name, silent in checks if name == alert} == {True, False}, alert


@pytest.mark.parametrize(
    "file", [*RULES.glob("*.yml"), *CASES.glob("*.yml"), *RUNBOOKS.glob("*.md")], ids=lambda f: f.name
)
def test_every_metric_that_is_named_is_in_the_list(file: Path) -> None:
    named = metrics_in(file.read_text())
    assert named <= KNOWN
    if file.parent == RULES and file.stem != "process-down":
        assert named


def test_names_are_looked_up_whole() -> None:
    assert metrics_in("rate(rtmeter_worker_record_total[5m])") - KNOWN == {"rtmeter_worker_record_total"}


@pytest.mark.parametrize("slug", SLUGS)
def test_each_alert_names_its_runbook_and_says_what_is_wrong(slug: str) -> None:
    rules = (RULES / f"{slug}.yml").read_text()
    number = len(alerts_of(rules))
    assert number
    assert re.findall(r"runbook: (\S+)$", rules, re.MULTILINE) == [f"docs/runbooks/{slug}.md"] * number
    for needed in ("summary: ", "description: ", "severity: "):
        assert rules.count(needed) == number
    page = (RUNBOOKS / f"{slug}.md").read_text()
    assert all(alert in page.splitlines()[0] for alert in alerts_of(rules))
    assert re.findall(r"^## .*$", page, re.MULTILINE) == HEADINGS
    assert "rtmeter " in page
    assert f"]({slug}.md)" in (RUNBOOKS / "README.md").read_text()


def test_each_alert_is_named_once() -> None:
    alerts = [alert for slug in SLUGS for alert in alerts_of((RULES / f"{slug}.yml").read_text())]
    assert len(set(alerts)) == len(alerts)


def commands_in(page: str) -> list[str]:
    """Lines of code blocks that begin with rtmeter."""
    blocks = re.findall(r"^ *```\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip().startswith("rtmeter ")]


def usage_error(line: str) -> str | None:
    """What the command line has against a command, without doing it."""
    command = typer.main.get_command(app)
    arguments = shlex.split(line)[1:]
    context = typer.Context(command, info_name="rtmeter")
    try:
        while isinstance(command, TyperGroup):
            if not arguments:
                return "which command?"
            name, found, arguments = command.resolve_command(context, arguments)
            assert found is not None
            command, context = found, typer.Context(found, info_name=name, parent=context)
        command.parse_args(context, arguments)
    except typer._click.ClickException as error:
        return error.format_message()
    return None


COMMANDS = sorted({(file.stem, line) for file in RUNBOOKS.glob("*.md") for line in commands_in(file.read_text())})


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda text: text)
def test_every_command_of_a_runbook_is_one(page: str, line: str) -> None:
    assert usage_error(line) is None


@pytest.mark.parametrize(
    "line", ["rtmeter reconsile", "rtmeter rebuild --swich", "rtmeter dead-letters", "rtmeter close-day"]
)
def test_a_command_that_is_none_is_found(line: str) -> None:
    assert usage_error(line) is not None


def test_links_of_runbooks_lead_somewhere() -> None:
    for file in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
