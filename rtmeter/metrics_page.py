"""`python -m rtmeter.metrics_page` writes docs/metrics.md from the list of metrics; a test says when it is stale."""

from pathlib import Path

from schemas.metrics.every import METRICS, OF_ANY_PROCESS
from schemas.metrics.metric import CounterMetric, HistogramMetric, Label, Metric, Process

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

_HEAD = """# Metrics

<!-- Written by `python -m rtmeter.metrics_page` from schemas/metrics: change it there. -->

Every process serves its metrics for Prometheus on `/metrics` of its metrics port (`--metrics-port`, `RTMETER_METRICS_PORT`). These
are all there are: a process makes its metrics from the list that this page is written from. Counters start at zero with their process.
Alerts on them are in `deploy/prometheus/rules`, and each has a page in [runbooks](runbooks/README.md).
"""
_PROCESSES = {
    Process.WORKER: "`rtmeter worker`. A partition has one owner at a time, so sums over workers are of the whole.",
    Process.SINK: "`rtmeter sink`.",
    Process.API: "`rtmeter api`.",
    Process.JOBS: "`rtmeter jobs`, and `rtmeter api` where it makes reports too. What the stores say (queue, dead letters, reconcile, "
    "prices) every such process exports alike: take `max` over instances, not `sum`.",
}


def page() -> str:
    """The page as the list has it now."""
    parts = [_HEAD]
    for process, where in _PROCESSES.items():
        parts.append(f"\n## {process}\n{where}\n\n| metric | type | unit | labels | what it is | what it tells |\n")
        parts.append("|---|---|---|---|---|---|\n")
        parts += [_row(metric) for metric in METRICS if metric.process is process]
    parts.append(
        "\n## Labels\nNone of them can grow with customers or subscribers, and none names a partner: usage is metered for partners that no\n"
    )
    parts.append("catalog knows, so a sender could make as many as it likes.\n\n| label | its values |\n|---|---|\n")
    parts += [f"| `{label.name}` | {_values(label)} |\n" for label in _labels()]
    standard = ", ".join(f"`{name}`" for name in OF_ANY_PROCESS)
    parts.append(f"\n## Of any process\nAs the client library of Prometheus has them: {standard}.\n")
    return "".join(parts)


def _row(metric: Metric) -> str:
    match metric:
        case CounterMetric():
            kind = "counter"
        case HistogramMetric():
            kind = "histogram"
        case _:
            kind = "gauge"
    labels = ", ".join(f"`{label.name}`" for label in metric.labels) or "-"
    return f"| `{metric.name}` | {kind} | {metric.unit} | {labels} | {metric.help} | {metric.tells} |\n"


def _labels() -> list[Label]:
    by_name = {label.name: label for metric in METRICS for label in metric.labels}
    return [by_name[name] for name in sorted(by_name)]


def _values(label: Label) -> str:
    return (
        f"{label.bounded_by}: {', '.join(f'`{value}`' for value in label.values)}" if label.values else label.bounded_by
    )


if __name__ == "__main__":
    PAGE.write_text(page())
