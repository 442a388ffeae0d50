"""The files that Grafana reads: what the generator makes, whole, and of a piece with metrics, alerts and runbooks."""

import itertools
import json
import math
import re
from typing import Any

import pytest

from dashboards import colours
from dashboards.__main__ import FOLDER, files
from dashboards.asking import PROFILE
from dashboards.every import ASKING, DASHBOARDS
from dashboards.grafana import CLICKHOUSE, PROMETHEUS, as_json, panels_of
from dashboards.page import picture_of
from dashboards.parts import Dashboard, Kind, Panel, PromQl, Sql
from dashboards.runbooks import STEMS, address
from schemas.metrics.every import METRICS, OF_ANY_PROCESS
from schemas.metrics.metric import HistogramMetric

GRAFANA = FOLDER.parent
PROVISIONING = GRAFANA / "provisioning"
PANELS = [(dashboard, panel) for dashboard in ASKING for panel in dashboard.panels()]
NAMES = [f"{dashboard.uid}: {panel.title}" for dashboard, panel in PANELS]
DOCUMENTS = {dashboard.uid: json.loads(as_json(dashboard)) for dashboard in DASHBOARDS}


def test_the_files_are_what_the_generator_makes() -> None:
    stale = [file for file, text in files().items() if file.read_text(encoding="utf-8") != text]
    assert stale == [], "stale: python -m dashboards"
    assert set(FOLDER.glob("*.json")) == {file for file in files() if file.suffix == ".json"}


def test_a_file_is_made_alike_each_time() -> None:
    assert files() == files()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.uid)
def test_panels_fill_their_rows_and_lie_on_nothing(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DOCUMENTS[dashboard.uid]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place.get("x", 0), place.get("x", 0) + place["w"])
            for y in range(place.get("y", 0), place.get("y", 0) + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells


def test_numbers_titles_and_addresses_are_given_once() -> None:
    assert len({dashboard.uid for dashboard in DASHBOARDS}) == len(DASHBOARDS)
    for dashboard in DASHBOARDS:
        panels = DOCUMENTS[dashboard.uid]["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        asking = [panel["title"] for panel in panels_of(DOCUMENTS[dashboard.uid])]
        assert len(set(asking)) == len(asking) == (len(list(dashboard.panels())) if dashboard in ASKING else 0)


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=NAMES)
def test_a_panel_says_what_it_tells_in_which_unit_and_what_to_do(dashboard: Dashboard, panel: Panel) -> None:
    assert len(panel.tells) > 60
    assert panel.tells.endswith((".", ":"))
    assert panel.unit
    assert set(panel.alerts) <= {"", *STEMS}
    (made,) = [one for one in panels_of(DOCUMENTS[dashboard.uid]) if one["title"] == panel.title]
    assert made["description"] == panel.tells
    assert made["fieldConfig"]["defaults"]["unit"] == panel.unit
    assert [link["url"] for link in made.get("links", [])] == [address(stem) for stem in panel.alerts]


def test_every_alert_has_a_panel_that_shows_what_it_is_about() -> None:
    assert {stem for _, panel in PANELS for stem in panel.alerts} - {""} == set(STEMS)


def test_the_address_of_a_runbook_is_that_of_its_panel() -> None:
    document = DOCUMENTS["rtmeter-runbooks"]
    for stem in STEMS:
        number = int(address(stem).rpartition("=")[2])
        (panel,) = [one for one in document["panels"] if one["id"] == number]
        assert panel["description"] == f"docs/runbooks/{stem}.md"
        assert "## What to do" in panel["options"]["content"]
        assert not re.search(r"\]\((?!/d/)", panel["options"]["content"]), "a link that leads nowhere in Grafana"


def names_in(expr: str) -> set[str]:
    return set(re.findall(r"\b(?:rtmeter|process)_[a-z_]+", expr))


KNOWN = (
    {metric.name for metric in METRICS if not isinstance(metric, HistogramMetric)}
    | {f"{m.name}_{part}" for m in METRICS if isinstance(m, HistogramMetric) for part in ("bucket", "count", "sum")}
    | set(OF_ANY_PROCESS)
)


def test_every_metric_that_is_asked_for_is_in_the_list() -> None:
    asked = {
        name for _, panel in PANELS for ask in panel.asks if isinstance(ask, PromQl) for name in names_in(ask.expr)
    }
    assert asked - KNOWN == set()
    assert names_in("sum(rtmeter_worker_rekords_total)") - KNOWN, "a wrong one would be found"


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=NAMES)
def test_a_series_is_called_by_labels_that_it_has(dashboard: Dashboard, panel: Panel) -> None:
    for ask in panel.asks:
        if isinstance(ask, PromQl):
            assert set(re.findall(r"\{\{(\w+)\}\}", ask.legend)) <= set(ask.labels)
            assert ask.legend or panel.kind is Kind.TABLE
    columns = {column for ask in panel.asks if isinstance(ask, Sql) for column in ask.columns}
    if columns:
        assert {shown.name for shown in panel.shown} <= columns


def uids(document: Any) -> set[str]:
    """Of every data source that is named anywhere."""
    if isinstance(document, dict):
        own = {document["uid"]} if set(document) == {"type", "uid"} else set()
        return own.union(*(uids(value) for value in document.values()))
    return set().union(*(uids(value) for value in document)) if isinstance(document, list) else set()


def test_the_data_sources_are_those_that_are_provisioned() -> None:
    provisioned = (PROVISIONING / "datasources" / "rtmeter.yml").read_text()
    found = dict(zip(re.findall(r"uid: (\S+)", provisioned), re.findall(r"type: (\S+)", provisioned), strict=True))
    assert found == {one.uid: one.type_val for one in (PROMETHEUS, CLICKHOUSE)}
    assert set().union(*(uids(document) for document in DOCUMENTS.values())) == set(found)
    named = set(re.findall(r"\$\{?(RTMETER_GRAFANA_[A-Z_]+)", provisioned))
    readme = (GRAFANA / "README.md").read_text()
    assert {name for name in named if f"`{name}`" not in readme} == set()


def test_what_the_tests_ask_with_is_what_grafana_s_user_has() -> None:
    script = (GRAFANA / "clickhouse-user.sql").read_text()
    found = dict(re.findall(r"^    ([a-z_]+) = (\d+)[,;]$", script, re.MULTILINE))
    assert found.pop("readonly") == "1"
    assert {name: int(value) for name, value in found.items()} == PROFILE


@pytest.mark.parametrize("dashboard", ASKING, ids=lambda one: one.uid)
def test_a_rendering_is_there_and_small(dashboard: Dashboard) -> None:
    picture = picture_of(dashboard)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000


#: What people see who lack one kind of cone, of linear RGB (Machado, Oliveira and Fernandes, 2009).
_SEEN_WITHOUT = {
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
#: So far apart, of 255 in each of three channels, that a bar beside another is seen.
_APART = 45


def seen(colour: str, cone: str) -> list[float]:
    """The colour as it is seen without a cone: red, green and blue, 0 to 255."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    mixed = [sum(weight * part for weight, part in zip(row, linear, strict=True)) for row in _SEEN_WITHOUT[cone]]
    held = [min(max(part, 0.0), 1.0) for part in mixed]
    return [255 * (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055) for part in held]


@pytest.mark.parametrize("cone", _SEEN_WITHOUT)
@pytest.mark.parametrize(
    "together", [colours.SERIES, (colours.GOOD, colours.LOOK, colours.BAD)], ids=["series", "state"]
)
def test_colours_are_told_apart_without_a_cone(cone: str, together: tuple[str, ...]) -> None:
    for one, other in itertools.combinations(together, 2):
        assert math.dist(seen(one, cone), seen(other, cone)) > _APART, f"{one} and {other}"


def test_a_red_and_a_green_that_look_alike_would_be_found() -> None:
    assert math.dist(seen("#BF1B00", "green"), seen("#5A6E00", "green")) < _APART
