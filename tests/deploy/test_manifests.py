"""What can be said of the manifests without a container: they are whole, pinned, least privileged, and hold no secret."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import chdb
import pytest

from rtmeter.kafka_jars import java_command, kafka_libs, kafka_version
from tests.deploy.compose import DEPLOY, REPOSITORY, compose, mounted, ours, services
from tests.metrics.promtool import PROMTOOL, needs_promtool

ONE_SHOT = {"topics", "migrate"}
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose here: apt install docker-compose")
def test_compose_takes_the_file(tmp_path: Path) -> None:
    copied = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copied)
    subprocess.run([sys.executable, copied / "make_secrets.py"], check=True, capture_output=True)
    done = subprocess.run(
        ["docker-compose", "--file", copied / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", services())
def test_a_service_is_pinned_and_limited(name: str) -> None:
    service = services()[name]
    tag = service["image"].rpartition(":")[2]
    assert re.search(r"\d|local", tag), "an image without a version is another one tomorrow"
    assert {"mem_limit", "cpus", "logging"} <= service.keys()
    if name in ONE_SHOT:
        assert service["restart"] == "on-failure"
    else:
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(set(services()) - ONE_SHOT - {"reconcile"}))
def test_a_service_that_stays_says_whether_it_is_well(name: str) -> None:
    assert services()[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", ours())
def test_our_containers_may_do_little(name: str) -> None:
    service = ours()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"].partition(":")[0] != "0"
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108


def test_no_secret_stands_in_the_file() -> None:
    for name, service in services().items():
        for setting, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|DSN|DATABASE_URL|LINK_KEYS|TOKEN|SECRET", setting):
                assert re.fullmatch("/run/secrets/[a-z_]+", value), f"{name}: {setting}"


def test_each_secret_is_made(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "make_secrets.py", tmp_path)
    make = [sys.executable, tmp_path / "make_secrets.py"]
    subprocess.run(make, check=True, capture_output=True)
    made = {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} <= made.keys()
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    subprocess.run(make, check=True, capture_output=True)
    assert made == {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}, "what is there stays"
    users = ET.fromstring(made["clickhouse_users.xml"])  # noqa: S314 - it is ours
    for entry in users.iter("query"):
        parsed(entry.text or "")


def test_each_service_uses_only_secrets_and_volumes_that_there_are() -> None:
    whole = compose()
    for service in services().values():
        for secret in service.get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in whole["secrets"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in whole["volumes"]


def test_each_mounted_file_is_there() -> None:
    assert len(mounted()) >= 4
    for name, path in mounted():
        assert path.exists(), name


def test_the_kafka_of_the_manifests_is_the_one_of_the_tests() -> None:
    assert services()["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


@pytest.mark.kafka
def test_kafka_takes_its_settings(tmp_path: Path) -> None:
    """Its storage tool reads them with the broker's own parser, and refuses what a broker would refuse."""

    def format_with(settings: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "server.properties").write_text(settings, encoding="utf-8")
        cluster = services()["kafka"]["environment"]["CLUSTER_ID"]
        tool = [java_command(), "-cp", f"{kafka_libs()}/*", "kafka.tools.StorageTool", "format"]
        return subprocess.run(
            [*tool, f"--cluster-id={cluster}", "--config", "server.properties"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    settings = (DEPLOY / "kafka" / "server.properties").read_text(encoding="utf-8")
    here = settings.replace("/var/lib/kafka/data", str(tmp_path / "data"))
    assert here != settings
    assert format_with(here.replace("BROKER:PLAINTEXT", "BROKER:NOTHING")).returncode != 0
    done = format_with(here)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_its_settings_and_rules(tmp_path: Path) -> None:
    settings = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    here = settings.replace("/etc/prometheus/rules", str(DEPLOY / "prometheus" / "rules"))
    assert here != settings
    (tmp_path / "prometheus.yml").write_text(here, encoding="utf-8")
    done = subprocess.run(
        [PROMTOOL, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = len(list((DEPLOY / "prometheus" / "rules").glob("*.yml")))
    assert f"{rules} rule files found" in done.stdout


def test_prometheus_reads_every_part_that_is_ours() -> None:
    settings = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    for name in set(ours()) - ONE_SHOT - {"reconcile"}:
        assert f"names: [{name}]" in settings


def test_grafana_gets_every_address_that_its_data_sources_ask_for() -> None:
    sources = (DEPLOY / "grafana" / "provisioning" / "datasources" / "rtmeter.yml").read_text(encoding="utf-8")
    grafana = services()["grafana"]
    given = {*grafana["environment"], *re.findall(r"(RTMETER_\w+)=", " ".join(grafana["entrypoint"]))}
    assert set(re.findall(r"\$\{(\w+)\}", sources)) <= given


def test_the_settings_of_clickhouse_are_xml_of_one_root() -> None:
    assert ET.parse(DEPLOY / "clickhouse" / "server.xml").getroot().tag == "clickhouse"  # noqa: S314 - it is ours


def parsed(statement: str) -> None:
    """The engine's parser takes it; who the users are only a server knows."""
    chdb.query(f"EXPLAIN AST {statement} TO somebody", "Null")


def test_the_image_is_built_in_two_stages_and_runs_as_nobody() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.search(r":\d+\.\d+\.\d+", stage) for stage in stages)
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE


def test_whatever_the_image_copies_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert source in kept


def test_the_image_has_what_the_project_has_and_no_more() -> None:
    """The pins of the image are those of the tests, without what only tests need."""
    of_image = pins(DEPLOY / "image" / "requirements.txt")
    of_tests = pins(REPOSITORY / "requirements.txt")
    assert of_image.items() <= of_tests.items()
    assert "pytest" not in of_image
    assert "confluent-kafka" in of_image


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE))
