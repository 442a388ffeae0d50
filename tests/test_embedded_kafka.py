"""The broker for development and tests, and the topics on it: facts about real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from rtmeter import kafka_jars
from rtmeter.kafka_server import EmbeddedKafka, KafkaUnavailable, running_bootstrap
from schemas.topics import (
    CATALOG,
    DAILY_USAGE,
    DEAD_LETTERS,
    ENTITLEMENTS,
    PACKAGE_ASSIGNMENTS,
    TopicName,
    TopicNames,
    load_topics,
)
from streams.topics import TopicMismatch, choose_partitions, create_topics, differences, partition_count

pytest_plugins = ["tests.kafka_fixtures"]

REPOSITORY = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024


# The topic files


def test_the_topic_files_say_what_the_contract_says() -> None:
    topics = load_topics()
    day_ms = 86_400_000
    assert set(topics) == {PACKAGE_ASSIGNMENTS, CATALOG, ENTITLEMENTS, DAILY_USAGE, DEAD_LETTERS}
    assert {name for name, topic in topics.items() if not topic.co_partitioned} == {CATALOG}
    assert {topic.partitions for topic in topics.values() if topic.co_partitioned} == {12}
    assert topics[CATALOG].partitions == 1
    assert topics[CATALOG].config["retention.ms"] == "-1"
    assert topics[PACKAGE_ASSIGNMENTS].config["message.timestamp.type"] == "LogAppendTime"
    assert int(topics[PACKAGE_ASSIGNMENTS].config["retention.ms"]) >= 400 * day_ms
    assert int(topics[DEAD_LETTERS].config["retention.ms"]) >= 400 * day_ms
    assert topics[DEAD_LETTERS].config["max.message.bytes"] == str(2 * MIB)
    assert topics[DAILY_USAGE].config["retention.ms"] == str(30 * day_ms)
    assert topics[ENTITLEMENTS].config["cleanup.policy"] == "compact"
    assert int(topics[ENTITLEMENTS].config["min.compaction.lag.ms"]) >= day_ms
    assert topics[ENTITLEMENTS].config["max.message.bytes"] == str(16 * MIB)


@pytest.mark.parametrize("prefix", ["with space.", "a/b", "é", "x" * 249])
def test_a_prefix_that_kafka_would_refuse_is_refused_early(prefix: str) -> None:
    with pytest.raises(ValueError):
        TopicNames.with_prefix(prefix)


@pytest.mark.parametrize(
    ("base", "setting", "value", "fits"),
    [
        (PACKAGE_ASSIGNMENTS, "retention.ms", "-1", True),
        (PACKAGE_ASSIGNMENTS, "retention.ms", "86400000", False),
        (CATALOG, "retention.ms", "34560000000", False),
        (PACKAGE_ASSIGNMENTS, "retention.bytes", "1000000", False),
        (PACKAGE_ASSIGNMENTS, "cleanup.policy", "compact,delete", False),
        (PACKAGE_ASSIGNMENTS, "message.timestamp.type", "CreateTime", False),
        (DAILY_USAGE, "message.timestamp.type", "LogAppendTime", True),
        (PACKAGE_ASSIGNMENTS, "max.message.bytes", "1048588", False),
        (PACKAGE_ASSIGNMENTS, "max.message.bytes", "4194304", True),
        (ENTITLEMENTS, "cleanup.policy", "delete", False),
        (ENTITLEMENTS, "min.compaction.lag.ms", "0", False),
        (ENTITLEMENTS, "min.compaction.lag.ms", "172800000", True),
        (ENTITLEMENTS, "segment.ms", "604800000", True),
    ],
)
def test_a_topic_differs_only_where_data_would_be_lost_or_reordered(
    base: str, setting: str, value: str, fits: bool
) -> None:
    topic = load_topics()[base]
    assert (differences(topic, 12, 12, {**topic.config, setting: value}) == []) is fits


def test_the_count_on_the_broker_wins_over_the_count_asked_for() -> None:
    one, other = TopicName("one"), TopicName("other")
    assert choose_partitions({}, 12) == 12
    assert choose_partitions({one: 3, other: 3}, 12) == 3
    with pytest.raises(TopicMismatch, match="one has 3, other has 12"):
        choose_partitions({one: 3, other: 12}, 12)


# Topics on a broker


@pytest.mark.kafka
def test_topics_are_created_as_their_files_describe_them(kafka: str, topic_prefix: str) -> None:
    made = create_topics(kafka, prefix=topic_prefix)

    assert all(state.created for state in made)
    assert {state.name: state.partitions for state in made} == {
        topic_prefix + topic.name: topic.partitions for topic in load_topics().values()
    }
    for topic in load_topics().values():
        on_broker = settings_of(kafka, topic_prefix + topic.name)
        assert topic.config.items() <= on_broker.items()
    assert partition_count(kafka, TopicNames.with_prefix(topic_prefix)) == 12


@pytest.mark.kafka
def test_creating_topics_twice_changes_nothing(kafka: str, topic_prefix: str) -> None:
    first = create_topics(kafka, prefix=topic_prefix, partitions=3)
    again = create_topics(kafka, prefix=topic_prefix, partitions=3)

    assert not any(state.created for state in again)
    assert [(state.name, state.partitions) for state in again] == [(state.name, state.partitions) for state in first]


@pytest.mark.kafka
def test_topics_that_are_there_keep_their_count_and_missing_ones_get_it(kafka: str, topic_prefix: str) -> None:
    create_by_hand(kafka, topic_prefix, PACKAGE_ASSIGNMENTS, partitions=5)

    made = create_topics(kafka, prefix=topic_prefix, partitions=12)

    assert partition_count(kafka, TopicNames.with_prefix(topic_prefix)) == 5
    assert [state.name for state in made if not state.created] == [topic_prefix + PACKAGE_ASSIGNMENTS]


@pytest.mark.kafka
def test_unequal_counts_are_refused_before_anything_is_created(kafka: str, topic_prefix: str) -> None:
    create_by_hand(kafka, topic_prefix, PACKAGE_ASSIGNMENTS, partitions=5)
    create_by_hand(kafka, topic_prefix, DAILY_USAGE, partitions=6)

    with pytest.raises(TopicMismatch, match=r"has 5.*has 6|has 6.*has 5"):
        create_topics(kafka, prefix=topic_prefix)
    assert topics_with(kafka, topic_prefix) == {topic_prefix + PACKAGE_ASSIGNMENTS, topic_prefix + DAILY_USAGE}


@pytest.mark.kafka
def test_a_topic_that_would_lose_data_is_refused_with_what_differs(kafka: str, topic_prefix: str) -> None:
    create_by_hand(kafka, topic_prefix, ENTITLEMENTS, partitions=12, **{"cleanup.policy": "delete"})
    create_by_hand(kafka, topic_prefix, CATALOG, partitions=2)

    with pytest.raises(TopicMismatch) as refusal:
        create_topics(kafka, prefix=topic_prefix)
    assert f"{topic_prefix}entitlements: cleanup.policy is delete, not compact" in str(refusal.value)
    assert f"{topic_prefix}catalog: it has 2 partitions, not 1" in str(refusal.value)
    assert settings_of(kafka, topic_prefix + ENTITLEMENTS)["cleanup.policy"] == "delete"


@pytest.mark.kafka
def test_counting_partitions_of_topics_that_are_not_there_is_refused(kafka: str, topic_prefix: str) -> None:
    with pytest.raises(TopicMismatch, match="no such topic"):
        partition_count(kafka, TopicNames.with_prefix(topic_prefix))


@pytest.mark.kafka
def test_topics_take_records_as_large_as_the_contract_needs(kafka: str, topic_prefix: str) -> None:
    names = TopicNames.with_prefix(topic_prefix)
    create_topics(kafka, prefix=topic_prefix, partitions=1)
    send(kafka, names.package_assignments, [b"x" * (MIB + 1)])
    send(kafka, names.catalog, [b"x" * (MIB + 1)])
    send(kafka, names.entitlements, [b"x" * (16 * MIB - 1024)])
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        send(kafka, names.package_assignments, [b"x" * (3 * MIB)])


# The broker's process


@pytest.mark.kafka
def test_a_killed_broker_starts_again_with_its_records_at_its_address(tmp_path: Path) -> None:
    sent = [b"%d" % number for number in range(1000)]
    with EmbeddedKafka(tmp_path) as broker:
        address = broker.start()
        create_topics(address, partitions=1)
        send(address, PACKAGE_ASSIGNMENTS, sent)

        broker.kill()
        assert not broker.alive()
        assert running_bootstrap(tmp_path) is None

        assert broker.start() == address
        assert received(address, PACKAGE_ASSIGNMENTS, len(sent)) == sent


@pytest.mark.kafka
def test_a_broker_listens_on_loopback_only_and_in_a_session_of_its_own(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path) as broker:
        assert broker.pid is not None
        listening = listening_addresses(broker.pid)
        assert len(listening) == 2
        assert {host for host, _ in listening} == {"127.0.0.1"}
        assert os.getsid(broker.pid) == broker.pid  # the terminal's Ctrl-C goes to another session


@pytest.mark.kafka
def test_a_folder_has_one_broker_that_others_find_and_that_stop_ends(tmp_path: Path) -> None:
    assert running_bootstrap(tmp_path) is None
    broker = EmbeddedKafka(tmp_path)
    # Started from a thread that ends at once: the broker is tied to the process, not to the thread.
    starter = threading.Thread(target=broker.start)
    starter.start()
    starter.join()
    try:
        pid = broker.pid
        assert broker.alive()
        assert pid is not None
        assert running_bootstrap(tmp_path) == broker.start()
        with pytest.raises(KafkaUnavailable, match="in use by another broker"):
            EmbeddedKafka(tmp_path).start()
        assert broker.alive()
        assert broker.pid == pid
    finally:
        broker.stop()
    assert is_gone(pid)
    assert running_bootstrap(tmp_path) is None
    broker.stop()  # twice is harmless


@pytest.mark.kafka
def test_a_broker_that_died_by_itself_can_be_stopped_and_started(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path) as broker:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not broker.alive(), "the death is noticed")
        broker.start()
        assert broker.pid != first
        second = broker.pid
        assert second is not None
        os.kill(second, signal.SIGKILL)
        broker.stop()
        assert is_gone(second)


@pytest.mark.kafka
def test_a_broker_ends_with_its_owner_even_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "a folder, with commas"
    with owner_in_another_process(folder) as (owner, pid):
        assert running_bootstrap(folder) is not None
        owner.kill()
        owner.wait()
        wait_until(lambda: is_gone(pid), "the broker ends")
    with EmbeddedKafka(folder) as successor:
        assert successor.alive()


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_so_with_its_log(tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path)
    broker.start()
    broker.stop()
    (tmp_path / "log" / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=77\n")
    with pytest.raises(KafkaUnavailable, match=r"ended while starting(.|\n)*node"):
        broker.start()
    assert not broker.alive()


@pytest.mark.kafka
def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path)
    with pytest.raises(KafkaUnavailable, match=r"did not answer within 0\.2 s"):
        broker.start(timeout=0.2)
    assert broker.pid is not None
    assert is_gone(broker.pid)


# The jars


def test_without_java_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(KafkaUnavailable, match="java was not found"):
        EmbeddedKafka(tmp_path / "data").start()


def test_without_maven_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "bin" / "java", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(KafkaUnavailable, match="mvn was not found"):
        kafka_jars.kafka_libs()
    assert list((tmp_path / "cache").rglob("libs")) == []


def test_two_processes_at_once_fetch_the_jars_once(tmp_path: Path) -> None:
    # A stand-in for Maven that notes each run and copies one jar into -DoutputDirectory.
    write_program(tmp_path / "bin" / "java", "exit 0")
    write_program(
        tmp_path / "bin" / "mvn",
        f'echo run >> "{tmp_path}/runs"; sleep 0.3; for last; do :; done; echo jar > "${{last#*=}}/kafka_0.jar"',
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAVA_HOME": "",
    }
    command = [sys.executable, "-m", "rtmeter.kafka_jars"]
    both = [subprocess.Popen(command, cwd=REPOSITORY, env=environment) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert (tmp_path / "runs").read_text() == "run\n"
    assert len(list((tmp_path / "cache").rglob("libs/kafka_0.jar"))) == 1
    assert list((tmp_path / "cache").rglob("fetching-*")) == []


def test_a_failed_fetch_leaves_no_folder_that_looks_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "bin" / "java", "exit 0")
    write_program(tmp_path / "bin" / "mvn", "echo no such artifact; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(KafkaUnavailable, match="no such artifact"):
        kafka_jars.kafka_libs()
    assert list((tmp_path / "cache").rglob("libs")) == []


@pytest.mark.parametrize("cache_home", ["", "relative"])
def test_an_invalid_cache_home_falls_back_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: str
) -> None:
    libs = tmp_path / ".cache" / "rtmeter" / f"kafka-{kafka_jars.kafka_version()}" / "libs"
    libs.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    assert kafka_jars.kafka_libs() == libs


# What the tests above look with


def settings_of(bootstrap: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # by name: its requests fail once it is collected
    found = admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in found.items()}


def topics_with(bootstrap: str, prefix: str) -> set[str]:
    listed = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=30).topics
    return {name for name in listed if name.startswith(prefix)}


def create_by_hand(bootstrap: str, prefix: str, base: str, *, partitions: int, **settings: str) -> None:
    topic = NewTopic(prefix + base, partitions, 1, config={**load_topics()[base].config, **settings})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[prefix + base].result(30)
    wait_until(lambda: prefix + base in topics_with(bootstrap, prefix), f"{base} is there")


def send(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Write `values` to partition 0 and wait for each; KafkaException when one is refused."""
    refused: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 20 * MIB, "delivery.timeout.ms": 30_000})
    for value in values:
        # With a key, for a compacted topic takes no record without.
        producer.produce(topic, value, b"key", partition=0, on_delivery=lambda error, _: refused.append(error))
    producer.flush(30)
    assert len(refused) == len(values)
    for error in refused:
        if error is not None:
            raise KafkaException(error)


def received(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The first `count` values of partition 0; fewer when they do not come in time."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(values) < count and time.monotonic() < deadline:
        values += [message.value() for message in consumer.consume(count - len(values), 0.5) if not message.error()]
    consumer.close()
    return values


def wait_until(holds: Callable[[], bool], what: str, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a dead one that nobody has reaped yet counts as gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Host and port of each socket on which the process listens; an IPv6 one as its raw hex host."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a living process closes descriptors between the listing and the look
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # 0A: LISTEN
                host, port = fields[1].split(":")
                dotted = ".".join(str(byte) for byte in reversed(bytes.fromhex(host))) if table == "tcp" else host
                found.add((dotted, int(port, 16)))
    return found


def write_program(path: Path, shell: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{shell}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@contextmanager
def owner_in_another_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that owns a broker in `folder` and would keep it for ever; and that broker's process id."""
    code = (
        "import pathlib, signal, sys\n"
        "from rtmeter.kafka_server import EmbeddedKafka\n"
        "broker = EmbeddedKafka(pathlib.Path(sys.argv[1]))\n"
        "broker.start()\n"
        "print(broker.pid, flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            yield owner, int(owner.stdout.readline())
        finally:
            owner.kill()
