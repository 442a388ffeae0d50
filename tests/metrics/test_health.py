"""Ready and healthy, as decided from what was seen, and as answered over HTTP."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import TopicNames
from sinks.look import SinkLook
from sinks.metrics import SinkMetrics
from streams.health import BLIND_MS, STUCK_MS, Health, reader_health
from streams.lag import Lag
from streams.ledger import Ledger
from streams.metrics import WorkerMetrics
from streams.operator_port import OperatorAddress, serve_operator
from streams.topic_ends import TopicEnds
from streams.worker_look import WorkerLook
from tests.streams.test_ledger import MemoryLog, assigned, closed

NAMES = TopicNames.with_prefix("")
INPUT = NAMES.package_assignments


def decided(lags: Mapping[int, Lag], *, ready: bool = True, looked_ago_ms: int = 0) -> Health:
    return reader_health(
        1_000_000_000,
        ready=ready,
        waits_for="restoring",
        lags=lags,
        looked_ms=1_000_000_000 - looked_ago_ms,
        does="meter",
    )


STUCK = Lag(7, STUCK_MS, STUCK_MS)
BUSY = Lag(1_000_000, 10 * STUCK_MS, 5_000)
IDLE = Lag(0, 0, 0)


@pytest.mark.parametrize(
    ("lags", "ready", "looked_ago_ms", "healthy"),
    [
        ({0: IDLE, 1: BUSY}, True, 5_000, True),
        ({0: IDLE, 1: STUCK}, True, 0, False),
        ({0: Lag(7, STUCK_MS, STUCK_MS - 5_000)}, True, 4_000, True),
        ({0: Lag(7, STUCK_MS, STUCK_MS - 5_000)}, True, 5_000, False),
        ({0: STUCK}, False, 0, True),  # while others are restored it must stand still
        ({0: IDLE}, True, BLIND_MS, False),
        ({0: IDLE}, False, BLIND_MS, False),
        ({}, True, 0, True),
    ],
)
def test_unhealthy_is_who_stands_still_with_input_or_does_not_look(
    lags: dict[int, Lag], ready: bool, looked_ago_ms: int, healthy: bool
) -> None:
    health = decided(lags, ready=ready, looked_ago_ms=looked_ago_ms)
    assert (health.ready, health.healthy) == (ready, healthy)


def test_the_line_says_which_partition_and_for_how_long() -> None:
    assert decided({0: IDLE, 4: STUCK}).says == "1 partitions have records to meter and stand still, for 300 s: [4]"
    assert decided({}, ready=False).says == "restoring"


class Answers:
    """What the port says while `health` is this."""

    def __init__(self) -> None:
        self.health = Health(ready=False, healthy=True, says="restoring")
        self.metrics = WorkerMetrics()
        self.server = serve_operator(self.metrics.registry, lambda: self.health, OperatorAddress())

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def port() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.server.shutdown()
    answers.server.server_close()


def test_the_port_answers_metrics_health_and_readiness(port: Answers) -> None:
    assert port.ask("/readyz") == (503, "restoring\n")
    assert port.ask("/healthz") == (200, "restoring\n")
    port.health = Health(ready=True, healthy=False, says="stuck")
    assert port.ask("/readyz") == (200, "stuck\n")
    assert port.ask("/healthz") == (503, "stuck\n")
    status, exposition = port.ask("/metrics")
    assert status == 200
    assert "# TYPE rtmeter_worker_lag_seconds gauge" in exposition
    assert port.ask("/")[0] == 404


def test_a_port_that_is_taken_is_said(port: Answers) -> None:
    with pytest.raises(OSError, match=f"metrics cannot be served on 127.0.0.1:{port.server.server_port}"):
        serve_operator(port.metrics.registry, lambda: port.health, OperatorAddress(port.server.server_port))


class Ends(TopicEnds):
    """Ends that a test sets; None: the broker does not answer."""

    def __init__(self) -> None:
        self.ends: dict[tuple[str, int], int] | None = {}

    def read(self, keys: object) -> dict[tuple[str, int], int]:
        if self.ends is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self.ends


class Clock:
    ms = 1_000_000_000

    def __call__(self) -> int:
        return self.ms


def sample(metrics: WorkerMetrics | SinkMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_worker_s_look_says_lag_state_and_stand_still() -> None:
    log, metrics, ends, clock = MemoryLog(), WorkerMetrics(), Ends(), Clock()
    ledger = Ledger(log, NAMES, metrics)
    look = WorkerLook(INPUT, ledger, ends, metrics, clock)
    assert not look.health().ready
    ledger.own({0, 1}, 1)
    assert look.health().ready
    ledger.apply(0, 0, [assigned(0, "s"), assigned(1, "t")])
    ends.ends = {(INPUT, 0): 12, (INPUT, 1): 0}
    look.look()
    assert sample(metrics, "rtmeter_worker_lag_records", partition="0") == 10
    assert sample(metrics, "rtmeter_worker_lag_records", partition="1") == 0
    assert sample(metrics, "rtmeter_worker_subscribers") == 2
    assert sample(metrics, "rtmeter_worker_customers") == 1
    clock.ms += STUCK_MS
    ends.ends = None
    look.look()
    assert sample(metrics, "rtmeter_worker_look_failures_total") == 1
    assert sample(metrics, "rtmeter_worker_watermark_age_seconds", partition="0") == STUCK_MS / 1000
    assert not look.health().healthy
    assert "[0]" in look.health().says
    ledger.own({1}, 2)
    look.look()
    assert look.health().healthy
    assert sample(metrics, "rtmeter_worker_lag_records", partition="0") is None, "another worker says it now"


def test_a_partition_that_stands_still_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    ends, clock = Ends(), Clock()
    ledger = Ledger(MemoryLog(), NAMES, WorkerMetrics())
    look = WorkerLook(INPUT, ledger, ends, WorkerMetrics(), clock)
    ledger.own({0, 1}, 1)
    ends.ends = {(INPUT, 0): 12, (INPUT, 1): 0}
    for _ in range(3):
        look.look()
        clock.ms += 30_000
    told = [record for record in caplog.records if "nothing moves" in record.message]
    assert [(record.message, record.offset) for record in told] == [
        ("partition 0: records to meter, and nothing moves", 0)
    ]  # type: ignore[attr-defined]
    ledger.apply(0, 0, [assigned(0, "s")])
    look.look()
    clock.ms += 30_000
    look.look()
    assert sum("nothing moves" in record.message for record in caplog.records) == 2


def test_a_look_that_fails_otherwise_is_counted_and_in_the_end_unhealthy() -> None:
    metrics, clock = WorkerMetrics(), Clock()
    ledger = Ledger(MemoryLog(), NAMES, metrics)
    look = WorkerLook(INPUT, ledger, None, metrics, clock)  # type: ignore[arg-type]
    ledger.own({0}, 1)
    clock.ms += BLIND_MS
    look.look()
    assert sample(metrics, "rtmeter_worker_look_failures_total") == 1
    assert not look.health().healthy


def test_the_last_closed_day_is_the_midnight_that_ends_it() -> None:
    metrics = WorkerMetrics()
    ledger = Ledger(MemoryLog(), NAMES, metrics)
    ledger.own({0}, 1)
    look = WorkerLook(INPUT, ledger, Ends(), metrics, Clock())
    look.look()
    assert sample(metrics, "rtmeter_worker_closed_until_timestamp_seconds", partition="0") is None
    ledger.apply(0, 0, [assigned(0, "s"), closed(1, "2026-10-03")])
    metrics.owned(ledger.states())
    assert sample(metrics, "rtmeter_worker_closed_until_timestamp_seconds", partition="0") == 1_791_072_000  # 4 October


def test_a_batch_is_counted_by_what_became_of_its_records() -> None:
    metrics = WorkerMetrics()
    ledger = Ledger(MemoryLog(), NAMES, metrics)
    ledger.own({0}, 1)
    ledger.apply(0, 0, [assigned(n, "s", day=n % 5 + 1) for n in range(600)])
    assert sample(metrics, "rtmeter_worker_records_total") == 600
    assert sample(metrics, "rtmeter_worker_batch_records_count") == 1, "a batch is a fetch, not a run of it"
    assert sample(metrics, "rtmeter_worker_batch_records_sum") == 600
    for stage in ("unpack", "fold", "write"):
        assert (sample(metrics, "rtmeter_worker_batch_seconds_sum", stage=stage) or 0) > 0
    assert sample(metrics, "rtmeter_worker_batch_seconds_sum", stage="acknowledge") == 0


class SomeSink:
    assigned = True

    def positions(self) -> dict[tuple[str, int], int]:
        return {("daily-usage", 3): 40}

    def taken_ms(self) -> dict[tuple[str, int], int]:
        return {("daily-usage", 3): Clock.ms - 90_000}


def test_a_sink_s_look_says_lag_by_topic_and_partition() -> None:
    metrics, ends, clock = SinkMetrics(), Ends(), Clock()
    ends.ends = {("daily-usage", 3): 50}
    look = SinkLook(SomeSink(), ends, metrics, clock)
    look.look()
    assert sample(metrics, "rtmeter_sink_lag_records", topic="daily-usage", partition="3") == 10
    assert sample(metrics, "rtmeter_sink_lag_seconds", topic="daily-usage", partition="3") == 90
    assert look.health().healthy
    clock.ms += STUCK_MS
    look.look()
    assert not look.health().healthy
