"""A worker whose input has a hole stops with exit code 3 and says so: real Kafka would let it read on behind the hole."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.month import MONTH
from tests.pipeline.test_faults import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
WORKER_SECONDS = 60
LINES = len((MONTH / "events.jsonl").read_bytes().splitlines())


class Topics:
    """Topics of one partition with a prefix of their own, and `rtmeter` on them."""

    def __init__(self, servers: str, prefix: str, folder: Path) -> None:
        self._servers = servers
        self._prefix = prefix
        self._common = ["--bootstrap-servers", servers, "--topic-prefix", prefix]
        self._worker_log = folder / "worker.log"
        self.assignments = f"{prefix}package-assignments"
        self.entitlements = f"{prefix}entitlements"
        self.rtmeter("topics", "create", "--partitions", "1")
        self.emit()

    def emit(self) -> None:
        self.rtmeter("emit", "--raw", str(MONTH / "events.jsonl"))

    def rtmeter(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "rtmeter", *arguments, *self._common], check=True, capture_output=True, timeout=120
        )

    def start_worker(self) -> subprocess.Popen[bytes]:
        with self._worker_log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "rtmeter", "worker", "--no-close-days", *self._common], stdout=log, stderr=log
            )

    def worker_that_stops(self) -> str:
        """What a worker said that stopped by itself, with exit code 3."""
        return self.last_words(self.start_worker())

    def last_words(self, worker: subprocess.Popen[bytes]) -> str:
        try:
            assert worker.wait(WORKER_SECONDS) == 3, self._worker_log.read_text()
        finally:
            worker.kill()
            worker.wait()
        return self._worker_log.read_text().splitlines()[-1]

    def metered(self) -> int:
        """The offset that the worker has committed."""
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": f"{self._prefix}rtmeter-worker"})
        try:
            (committed,) = consumer.committed([TopicPartition(self.assignments, 0)], timeout=30)
            return committed.offset
        finally:
            consumer.close()

    def delete_before(self, offset: int) -> None:
        """What retention does: the records before an offset go."""
        admin = AdminClient({"bootstrap.servers": self._servers})
        for future in admin.delete_records([TopicPartition(self.assignments, 0, offset)]).values():
            future.result()


@pytest.fixture
def topics(kafka: str, topic_prefix: str, tmp_path: Path) -> Topics:
    return Topics(kafka, topic_prefix, tmp_path)


def test_a_worker_without_a_state_refuses_an_input_that_has_lost_its_beginning(topics: Topics) -> None:
    topics.delete_before(7)
    said = topics.worker_that_stops()
    assert f"{topics.assignments}[0] begins at offset 7" in said
    assert "rtmeter rebuild entitlements" in said


def test_a_worker_that_is_slower_than_retention_stops_instead_of_skipping(topics: Topics) -> None:
    worker = topics.start_worker()
    wait_until(lambda: topics.metered() == LINES, WORKER_SECONDS, "the month is metered")
    worker.send_signal(signal.SIGSTOP)
    try:
        # The first of these may wait in the frozen worker's socket; the second cannot.
        topics.emit()
        topics.emit()
        topics.delete_before(3 * LINES - 1)
    finally:
        worker.send_signal(signal.SIGCONT)
    said = topics.last_words(worker)
    assert f"{topics.assignments}[0] begins at offset {3 * LINES - 1}" in said
