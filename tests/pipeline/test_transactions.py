"""Of transactions what was committed is metered, and what was aborted never was; their marks are nothing that is behind."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.routing import route_of
from sinks.store import open_for_reading
from tests.month import MONTH
from tests.pipeline.harness import Installation

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def send(producer: Producer, topic: str, lines: list[bytes]) -> None:
    producer.begin_transaction()
    for line in lines:
        producer.produce(topic, line, route_of(line).key, 0)


def test_a_drain_ends_behind_the_marks_and_aborted_events_do_not_count(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    installation = Installation(
        tmp_path / "data", {"RTMETER_BOOTSTRAP_SERVERS": kafka, "RTMETER_TOPIC_PREFIX": topic_prefix}
    )
    installation.run("topics", "create", "--partitions", "1")
    topic = f"{topic_prefix}package-assignments"
    lines = (MONTH / "events.jsonl").read_bytes().splitlines()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(30)
    for first in range(0, len(lines), 40):
        send(producer, topic, lines[first : first + 40])
        producer.commit_transaction(30)
        send(producer, topic, lines[:30])
        producer.flush()
        producer.abort_transaction(30)
    installation.drain()
    # Before another one there is nothing but marks that the first has seen.
    installation.drain()
    assert b"to meter: 0, of all topics still to store: 0" in installation.run("status").stdout
    store = open_for_reading(None, installation.data_dir / "store")
    try:
        assert store.query("SELECT count() FROM raw_events") == [(len(lines),)]
        assert store.query("SELECT sum(metered + duplicates + refused) FROM partition_progress FINAL") == [
            (len(lines),)
        ]
    finally:
        store.close()
