"""What the API says about itself: requests by route, and whether it can answer."""

import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from billing.api.app import guarded
from billing.api.readiness import Readiness
from billing.metrics import ApiMetrics, JobMetrics
from schemas.metrics.metric import Process
from sinks.store import StoreUnavailable
from streams.instruments import Instruments
from tests.billing.api.test_served import served
from tests.billing.api.world import PUBLIC_URL, REPORTS, World


def requests_of(registry: CollectorRegistry) -> dict[tuple[str, str, str], float]:
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "rtmeter_api_requests_total"
    }


def test_requests_are_counted_by_route_and_never_by_what_clients_make_up(world: World) -> None:
    instruments = Instruments(Process.API)
    client = TestClient(guarded(world.app, ApiMetrics(instruments).answered), PUBLIC_URL)
    headers = {"Authorization": f"Bearer {world.token('P-alpha')}"}
    for report_id in ("one", "two", "three"):
        client.get(f"{REPORTS}/{report_id}", headers=headers)
        client.get(f"/no/such/path/{report_id}")
    client.get(REPORTS)
    client.request("MADEUP", "/no/such/path")
    assert requests_of(instruments.registry) == {
        ("/wholesale/billing/reports/{report_id}", "GET", "404"): 3,
        ("none", "GET", "404"): 3,
        ("/wholesale/billing/reports", "GET", "401"): 1,
        ("none", "other", "404"): 1,
    }
    taken = instruments.registry.get_sample_value("rtmeter_api_request_seconds_count", {"route": "none"})
    assert taken == 4


def test_ready_is_who_has_both_stores(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.client.get("/readyz").text == "both stores answer\n"
    services = world.app.state.services

    def gone() -> Any:
        raise StoreUnavailable("password=secret at 10.0.0.1")

    broken = Readiness(world.register, gone, lambda: world.now_ms)
    monkeypatch.setattr(services, "readiness", broken)
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the store does not answer\n"), "and says no more to the world"
    assert world.client.get("/healthz").status_code == 200


def test_a_process_without_its_register_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise OSError("no such host")

    monkeypatch.setattr(world.register, "ping", gone)
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the relational store does not answer\n")


def test_the_stores_are_asked_every_two_seconds_at_most(world: World) -> None:
    asked = []

    def opened() -> Any:
        asked.append(world.now_ms)
        raise StoreUnavailable("down")

    readiness = Readiness(world.register, opened, lambda: world.now_ms)
    for _ in range(10):
        readiness.health()
    assert len(asked) == 1
    world.now_ms += 2_000
    assert not readiness.health().ready
    assert len(asked) == 2


def test_reports_are_counted_by_type_and_outcome(world: World) -> None:
    instruments = Instruments(Process.JOBS)
    world.jobs._observer = JobMetrics(instruments)
    world.completed("P-alpha")
    assert instruments.registry.get_sample_value("rtmeter_report_seconds_count", {"type": "CUSTOMER"}) == 1
    outcomes = {
        sample.labels["outcome"]: sample.value
        for family in instruments.registry.collect()
        for sample in family.samples
        if sample.name == "rtmeter_reports_total" and sample.labels["type"] == "CUSTOMER"
    }
    assert outcomes == {"completed": 1, "failed": 0, "given back": 0, "lost": 0}


def test_a_served_api_exports_requests_reports_and_figures(month_folder: Path) -> None:
    with served(month_folder) as url:
        with urllib.request.urlopen(f"{url}/readyz", timeout=60) as answer:
            assert answer.status == 200
        ports = re.findall(r"metrics on (http://127.0.0.1:\d+)/metrics", (month_folder / "api.log").read_text())
        with urllib.request.urlopen(f"{ports[-1]}/metrics", timeout=60) as answer:
            said = answer.read().decode()
        with urllib.request.urlopen(f"{ports[-1]}/readyz", timeout=60) as answer:
            assert answer.status == 200
    assert 'rtmeter_api_requests_total{method="GET",route="/readyz",status="200"} 1.0' in said
    assert "rtmeter_reports_total" in said
    assert "rtmeter_report_queue_age_seconds" in said
