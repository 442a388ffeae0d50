"""What must hold at the end, whatever was killed: the bytes of the reports, and every record accounted for."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition
from msgspec import Struct

from billing.export import export_csv
from billing.meter import Metered
from billing.queries import PROGRESS
from rtmeter.options import now_ms
from schemas.topics import TopicNames
from sinks.store import ReadableStore
from tests.pipeline.harness import requests


class Accounts(Struct, frozen=True):
    """How the records add up."""

    sent: int
    in_topic: int
    raw_rows: int
    metered: int
    duplicates: int
    refused: int
    day_closes: int
    dead_letters: int


class ChecksFailed(AssertionError):
    """A number is wrong. The message says which."""


def check(
    store: ReadableStore, bootstrap_servers: str, names: TopicNames, catalog: Iterable[bytes], sent: Counter[bytes]
) -> Accounts:
    """All checks; ChecksFailed with everything that is wrong. `sent`: digests of the lines that were sent."""
    topic = lines_of_topic(bootstrap_servers, names.package_assignments)
    events = [line for part in topic for line in part]
    wrong: list[str] = []
    # Day-closed records are the pipeline's own.
    in_topic = Counter(digest(line) for line in events if b"rtmeter.day.closed.v1" not in line)
    if in_topic != sent:
        wrong.append(f"the topic holds {in_topic.total()} of {sent.total()} lines sent, or other ones")
    catalog = list(catalog)
    metered = Metered([*catalog, *events], now_ms())
    for request in requests():
        if b"".join(export_csv(store, request)) != b"".join(metered.report(request)):
            wrong.append(
                f"the {request.report_type} report of {request.partner_id} differs (internal {request.internal})"
            )
    progress = store.query(PROGRESS)
    totals = [sum(row[n] for row in progress) for n in range(3, 7)]
    ((raw_rows,),) = store.query("SELECT count() FROM raw_events FINAL WHERE topic = {t:String}", _of(names))
    letters = list(
        store.stream_binary(
            "SELECT partition, offset, value FROM dead_letters FINAL WHERE topic = {t:String} ORDER BY partition, offset",
            _of(names),
        )
    )
    kept = [(partition, offset, value) for rows in letters for partition, offset, value in rows]
    found = Accounts(sent.total(), len(events), raw_rows, *totals, len(kept))
    if sum(totals) != len(events):
        wrong.append(f"metered + duplicates + refused + day closes is {sum(totals)}, of {len(events)} records")
    if raw_rows != len(events):
        wrong.append(f"{raw_rows} raw rows of {len(events)} records: {_about_raw_rows(store, names)}")
    refused_by_meter = sum(line.number > len(catalog) for line in metered.refused)
    if not len(kept) == found.refused == refused_by_meter:
        wrong.append(f"{len(kept)} dead letters; {found.refused} were refused, {refused_by_meter} by the meter")
    if any((value or b"") != topic[partition][offset] for partition, offset, value in kept):
        wrong.append("a dead letter holds other bytes than its record")
    if wrong:
        raise ChecksFailed("; ".join(wrong))
    return found


def digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=12).digest()


def lines_of_topic(bootstrap_servers: str, topic: str) -> list[list[bytes]]:
    """The values of each partition, by offset from 0 on."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "rtmeter-chaos-reader", "enable.auto.commit": False}
    )
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        lines: list[list[bytes]] = []
        for partition in partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            consumer.assign([TopicPartition(topic, partition, 0)])
            of_partition: list[bytes] = []
            while len(of_partition) < end:
                of_partition += [
                    message.value() or b"" for message in consumer.consume(10_000, timeout=1.0) if not message.error()
                ]
            lines.append(of_partition)
        return lines
    finally:
        consumer.close()


def _about_raw_rows(store: ReadableStore, names: TopicNames) -> str:
    """Which raw rows there are, how far the sink says that it is, and what became of the table's parts."""
    questions = {
        "partition, rows, first, last": "SELECT partition, uniqExact(offset), min(offset), max(offset) FROM raw_events "
        "WHERE topic = {t:String} GROUP BY partition ORDER BY partition",
        "partition, position": "SELECT partition, revision FROM sink_positions FINAL WHERE topic = {t:String} ORDER BY partition",
        "parts": "SELECT name, rows, active FROM system.parts WHERE table = 'raw_events' ORDER BY name",
        "detached parts": "SELECT name, reason FROM system.detached_parts WHERE table = 'raw_events' ORDER BY name",
    }
    return "; ".join(f"{what}: {store.query(question, _of(names))}" for what, question in questions.items())


def _of(names: TopicNames) -> dict[str, object]:
    return {"t": names.package_assignments}
