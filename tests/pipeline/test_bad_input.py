"""Bad records on a real Kafka, first, middle and last in a record batch: refused, kept byte for byte, neighbours metered."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from rtmeter.options import now_ms
from schemas.dead_letters import DeadLetter, dead_letter_of
from schemas.decode import decode_assignment
from schemas.entitlements import WATERMARK_KEY, decode_watermark
from schemas.reasons import Reason, Refused
from schemas.topics import TopicNames
from streams.log import KafkaLog
from streams.topics import create_topics
from tests.schemas.examples import Example, refused

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

CATALOG_TYPES = ("wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1")
BATCH = 3
WORKER_SECONDS = 90


def cases() -> Iterator[Example]:
    """The refused examples that a record appended now is refused for as well."""
    for example in refused():
        if example.type in CATALOG_TYPES:
            continue
        if example.reason == Reason.IDENTITY_CONFLICT:
            yield example
            continue
        try:
            decode_assignment(example.value, example.key, now_ms(), 0)
        except Refused as refusal:
            if refusal.reason == example.reason:
                yield example


def neighbour(number: int) -> tuple[bytes, bytes]:
    value = (
        f'{{"specversion":"1.0","id":"n{number}","source":"/neighbours","type":"wholesale.package.assigned.v1",'
        f'"time":"2026-10-01T00:00:00Z","data":{{"partnerOrgId":"p","customerOrgId":"c",'
        f'"subscriberId":"s{number}","package":"WEBEX_CALLING","userId":"u"}}}}'
    )
    return b"c", value.encode()


def test_bad_records_are_kept_and_their_neighbours_metered(kafka: str, topic_prefix: str) -> None:
    names = TopicNames.with_prefix(topic_prefix)
    create_topics(kafka, prefix=topic_prefix, partitions=1)
    examples = list(cases())
    assert len({example.name for example in examples}) >= 60

    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1000, "message.max.bytes": 2_097_152, "log_level": 2})
    sent: list[tuple[bytes | None, bytes, str | None]] = []

    def send_batch(records: list[tuple[bytes | None, bytes, str | None]]) -> None:
        """One record batch: nothing leaves before the flush."""
        for key, value, _ in records:
            producer.produce(names.package_assignments, value, key, 0)
        producer.flush()
        sent.extend(records)

    number = 0
    for example in examples:
        if example.after:
            send_batch([(example.key, value, None) for value in example.after])
        for position in range(BATCH):
            batch: list[tuple[bytes | None, bytes, str | None]] = []
            for place in range(BATCH):
                if place == position:
                    batch.append((example.key, example.value, example.reason))
                else:
                    batch.append((*neighbour(number), None))
                    number += 1
            send_batch(batch)

    letters = _meter(kafka, names, len(sent))
    assert [(letter.offset, letter.reason, letter.key, letter.value) for letter in letters] == [
        (offset, reason, key, value) for offset, (key, value, reason) in enumerate(sent) if reason is not None
    ]
    watermark = max(
        (
            decode_watermark(value)
            for _, key, value in KafkaLog(kafka).read(names.entitlements, 0)
            if key == WATERMARK_KEY
        ),
        key=lambda mark: mark.next_offset,
    )
    assert watermark.refused == len(letters)
    assert watermark.metered + watermark.duplicates + watermark.refused == len(sent)
    assert watermark.metered >= number


def _meter(kafka: str, names: TopicNames, records: int) -> list[DeadLetter]:
    """Run a worker until it has metered so many records; the dead letters, by offset of their origin."""
    prefix = names.catalog.removesuffix("catalog")
    worker = subprocess.Popen(
        [sys.executable, "-m", "rtmeter", "worker", "--bootstrap-servers", kafka, "--topic-prefix", prefix],
        stderr=subprocess.PIPE,
    )
    group = Consumer({"bootstrap.servers": kafka, "group.id": f"{prefix}rtmeter-worker", "log_level": 2})
    try:
        deadline = time.monotonic() + WORKER_SECONDS
        while _metered(group, names) < records:
            assert time.monotonic() < deadline, "the worker did not meter everything in time"
            assert worker.poll() is None, worker.communicate()[1].decode()
            time.sleep(0.2)
    finally:
        group.close()
        worker.terminate()
        worker.communicate(timeout=30)
    reader = Consumer(
        {"bootstrap.servers": kafka, "group.id": f"{prefix}test", "enable.partition.eof": True, "log_level": 2}
    )
    try:
        reader.assign([TopicPartition(names.dead_letters, 0, 0)])
        found = []
        while True:
            for message in reader.consume(1000, timeout=1.0):
                if message.error() is not None:
                    return sorted(found, key=lambda letter: letter.offset)
                found.append(dead_letter_of(message.headers() or [], message.key(), message.value()))  # type: ignore[arg-type]
    finally:
        reader.close()


def _metered(group: Consumer, names: TopicNames) -> int:
    try:
        return int(group.committed([TopicPartition(names.package_assignments, 0)], timeout=10)[0].offset)
    except KafkaException:
        return 0  # the group's coordinator is still loading
