"""The parts of deploy/compose.yaml as processes: a month through all of them, a report over the API, seen by Prometheus."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rtmeter.kafka_server import EmbeddedKafka
from tests import postgresql
from tests.deploy.compose import DEPLOY, ours
from tests.deploy.one_machine import Part
from tests.deploy.prometheus import needs_prometheus, prometheus
from tests.month import MONTH
from tests.network.clickhouse_http import clickhouse
from tests.pipeline.test_faults import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(postgresql.programs() is None, reason="no PostgreSQL here: apt install postgresql"),
]

SECONDS = 120
ONE_SHOT = ("topics", "migrate")
STAYING = ("worker-1", "worker-2", "sink", "api", "jobs", "reconcile")


class Machine:
    """All of it, running. Its parts by name."""

    def __init__(self, folder: Path, kafka: str, store: str, database: str) -> None:
        self._kafka = kafka
        self._store = store
        hosts = {"kafka:9092": kafka}
        secrets = {"clickhouse_dsn": store, "database_url": database, "link_keys": "first:" + "k" * 32}
        self.folder = folder
        self.parts = {name: Part(name, folder, hosts, secrets) for name in (*ONE_SHOT, *STAYING)}

    def start(self) -> None:
        for name in ONE_SHOT:
            self.parts[name].start().ends_well()
        for name in STAYING:
            self.parts[name].start()

    def rtmeter(self, *arguments: str, settings: dict[str, str] | None = None) -> bytes:
        """What a command on this machine prints."""
        environment = {
            **os.environ,
            "RTMETER_BOOTSTRAP_SERVERS": self._kafka,
            "RTMETER_CLICKHOUSE_DSN": self._store,
            **(settings or {}),
        }
        command = [sys.executable, "-m", "rtmeter", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def is_drained(self) -> bool:
        return b"to meter: 0, of all topics still to store: 0" in self.rtmeter("status")

    def report(self, kind: str, partner: str) -> bytes:
        """A report of the month, over the API."""
        token = self.rtmeter("token", "--org", partner, "--data-dir", str(self.folder / "volume")).decode().strip()
        api = {"RTMETER_API": f"http://127.0.0.1:{self.parts['api'].port}", "RTMETER_API_TOKEN": token}
        month = ("--start", "2026-10-01", "--end", "2026-10-31")
        return self.rtmeter("report", "--type", kind, "--partner", partner, *month, settings=api)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    with (
        # PostgreSQL is another user here, who may not enter the folders of the tests.
        tempfile.TemporaryDirectory(prefix="rtmeter-pg-") as database_folder,
        EmbeddedKafka(folder / "kafka") as broker,
        clickhouse(folder / "clickhouse") as port,
        postgresql.running(Path(database_folder)) as database,
        ExitStack() as parts,
    ):
        machine = Machine(folder, broker.start(), f"http://127.0.0.1:{port}", database)
        for part in machine.parts.values():
            parts.callback(part.kill)
        machine.start()
        yield machine


def test_every_service_of_ours_is_run_here() -> None:
    assert {name.partition("-")[0] for name in (*ONE_SHOT, *STAYING)} == ours().keys()


def test_a_month_goes_through_all_parts_and_comes_out_as_a_report(machine: Machine) -> None:
    machine.rtmeter("emit", "--raw", str(MONTH / "catalog.jsonl"), str(MONTH / "events.jsonl"))
    machine.rtmeter("close-day", "--through", "2026-10-31")
    wait_until(machine.is_drained, SECONDS, "everything is metered and stored")
    for kind in ("PARTNER", "CUSTOMER", "USER"):
        assert machine.report(kind, "P-beta") == (MONTH / "expected" / f"{kind}-P-beta.csv").read_bytes()


def test_the_health_checks_find_every_part_well(machine: Machine) -> None:
    for name in STAYING:
        if "healthcheck" in ours()[name.partition("-")[0]]:
            wait_until(machine.parts[name].is_well, SECONDS, f"{name} is well")


@needs_prometheus
def test_prometheus_reads_every_process_and_alerts_on_nothing(machine: Machine, tmp_path: Path) -> None:
    settings = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    settings = settings.replace("/etc/prometheus/rules", str(DEPLOY / "prometheus" / "rules")).replace("15s", "1s")
    seen = [name for name in STAYING if name != "reconcile"]
    for service in {name.partition("-")[0] for name in seen}:
        ports = [part.metrics_port for name, part in machine.parts.items() if name.partition("-")[0] == service]
        targets = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
        by_name = f"dns_sd_configs: [{{names: [{service}], type: A, port: 9100, refresh_interval: 1s}}]"
        assert by_name in settings
        settings = settings.replace(by_name, f"static_configs: [{{targets: [{targets}]}}]")
    (tmp_path / "prometheus.yml").write_text(settings, encoding="utf-8")
    with prometheus(tmp_path) as ask:
        wait_until(lambda: len(ask('up{job=~"rtmeter-.*"} == 1')) == len(seen), SECONDS, "all of them answer")
        wait_until(lambda: bool(ask("sum(rtmeter_worker_records_total) > 0")), SECONDS, "what was metered is known")
        assert ask('ALERTS{alertstate="firing"}') == []


def test_what_they_say_is_json_and_a_refused_event_is_named(machine: Machine) -> None:
    said = {name: part.lines() for name, part in machine.parts.items() if name in STAYING}
    refused = [line for name in ("worker-1", "worker-2") for line in said[name] if "refused" in line["message"]]
    assert refused
    assert all(line["reason"] == "identity-conflict" and line["event_id"] for line in refused)
    assert all({"partition", "offset"} <= line.keys() for line in refused)
    assert any(line.get("tracking_id") for line in said["api"])


def test_asked_to_stop_they_end_well(machine: Machine) -> None:
    assert {name: machine.parts[name].stop() for name in STAYING} == dict.fromkeys(STAYING, 0)
