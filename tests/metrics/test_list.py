"""The list of metrics: nothing else is exported, nothing in it is missing, and its page is not stale."""

import ast
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from rtmeter.metrics_page import PAGE, page
from schemas.metrics import billing, sink, worker
from schemas.metrics.every import METRICS, OF_ANY_PROCESS
from schemas.metrics.metric import CounterMetric, GaugeMetric, HistogramMetric, Metric, Process, Unit
from sinks.metrics import SinkMetrics
from streams.instruments import Instruments
from streams.metrics import WorkerMetrics
from tests.metrics.promtool import PROMTOOL, needs_promtool

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "streams", "sinks", "billing", "rtmeter")
REGISTRIES = {
    (Process.WORKER,): lambda: WorkerMetrics().registry,
    (Process.SINK,): lambda: SinkMetrics().registry,
    (Process.API,): lambda: Instruments(Process.API).registry,
    (Process.JOBS,): lambda: Instruments(Process.JOBS).registry,
    (Process.API, Process.JOBS): lambda: Instruments(Process.API, Process.JOBS).registry,
}


def exported(registry: CollectorRegistry) -> set[str]:
    return {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}


def listed(processes: Iterable[Process]) -> set[str]:
    return {metric.name for metric in METRICS if metric.process in processes} | set(OF_ANY_PROCESS)


@pytest.mark.parametrize("processes", REGISTRIES, ids="+".join)
def test_a_process_exports_what_the_list_says_and_nothing_else(processes: tuple[Process, ...]) -> None:
    assert exported(REGISTRIES[processes]()) == listed(processes)


def test_a_metric_beside_the_list_would_be_found() -> None:
    registry = WorkerMetrics().registry
    Gauge("rtmeter_worker_by_the_way", "Not in the list", registry=registry)
    assert exported(registry) - listed([Process.WORKER]) == {"rtmeter_worker_by_the_way"}


def test_another_process_s_metric_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        Instruments(Process.SINK).counter(worker.RECORDS)


def makers(source: str) -> list[str]:
    """The metrics that a module makes by itself."""
    kinds = ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum")
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client")
        for alias in node.names
        if alias.name in kinds
    }
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return sorted(imported & called)


def test_no_module_but_one_makes_metrics() -> None:
    found = {
        str(file.relative_to(ROOT)): made
        for folder in OURS
        for file in (ROOT / folder).rglob("*.py")
        if (made := makers(file.read_text()))
    }
    assert found == {"streams/instruments.py": ["Counter", "Gauge", "Histogram"]}


def test_every_module_of_metrics_is_in_the_list() -> None:
    modules = {file.stem for file in (ROOT / "schemas" / "metrics").glob("*.py")}
    assert modules == {"__init__", "metric", "every", "worker", "sink", "billing"}
    for module in (worker, sink, billing):
        assert {value for value in vars(module).values() if isinstance(value, Metric)} == set(module.METRICS)


def test_names_are_given_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"rtmeter_[a-z]+(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == isinstance(metric, CounterMetric)
    assert metric.name.removesuffix("_total").endswith("_timestamp_seconds") == (metric.unit is Unit.TIMESTAMP)
    assert metric.name.removesuffix("_total").endswith("_seconds") == (metric.unit in (Unit.SECONDS, Unit.TIMESTAMP))
    assert metric.help
    assert metric.tells.endswith((".", ":"))
    assert not metric.help.endswith(".")
    assert isinstance(metric, CounterMetric | GaugeMetric | HistogramMetric)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_label_grows_with_the_business(metric: Metric) -> None:
    for label in metric.labels:
        assert label.bounded_by
        assert not {"customer", "subscriber", "partner", "org", "id", "key", "user"} & set(label.name.split("_"))


def test_counters_of_known_labels_begin_at_zero() -> None:
    exposition = generate_latest(WorkerMetrics().registry).decode()
    assert 'rtmeter_worker_refused_total{reason="identity-conflict"} 0.0' in exposition


def test_the_page_is_the_list() -> None:
    assert PAGE.read_text() == page(), "stale: python -m rtmeter.metrics_page"


@needs_promtool
@pytest.mark.parametrize("processes", REGISTRIES, ids="+".join)
def test_promtool_has_nothing_to_say_about_what_is_exported(processes: tuple[Process, ...]) -> None:
    exposition = generate_latest(REGISTRIES[processes]())
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=exposition, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
