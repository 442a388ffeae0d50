"""Create the topics of `schemas/topics` on a broker, and refuse ones that would lose or reorder data.

Pure decisions first (`choose_partitions`, `differences`), then the shell that carries them out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType, TopicMetadata

from schemas.topics import Topic, TopicName, TopicNames, load_topics, prefixed

_REQUEST_SECONDS: Final = 30.0
_VISIBLE_SECONDS: Final = 30.0
_LOOK_AGAIN_SECONDS: Final = 0.05


class TopicMismatch(Exception):
    """An existing topic would lose or reorder data: stop now. The message says what to do."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic that is there: its name with prefix, its partitions, and whether this call made it."""

    name: TopicName
    partitions: int
    created: bool


def choose_partitions(existing: Mapping[TopicName, int], asked: int) -> int:
    """How many partitions the co-partitioned topics have, or get.

    `existing` holds the count of each of the four that is there. If there are any, theirs is kept:
    another count would move customers to other partitions than their earlier events. Raises
    TopicMismatch when they differ among themselves.
    """
    counts = set(existing.values())
    if len(counts) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in sorted(existing.items()))
        raise TopicMismatch(
            f"topics that need the same number of partitions differ: {listed}. "
            "Adding partitions would not mend it, for keys would move; choose another topic prefix, "
            "or delete the wrong topic if nothing was written to it yet."
        )
    return counts.pop() if counts else asked


def differences(topic: Topic, partitions: int, found_partitions: int, found: Mapping[str, str]) -> list[str]:
    """What about an existing topic would lose or reorder data; empty when nothing would.

    `partitions` is the count that it must have, `found` its settings on the broker. Larger limits and
    longer retention than asked are fine; settings that only cost time or space are not looked at.
    """
    wrong: list[str] = []
    if found_partitions != partitions:
        wrong.append(f"it has {found_partitions} partitions, not {partitions}")
    for setting, agrees in _AGREEMENT.items():
        wanted = topic.config.get(setting)
        if wanted is None:
            continue
        actual = found.get(setting)
        if actual is None or not agrees(wanted, actual):
            wrong.append(f"{setting} is {'not known' if actual is None else actual}, not {wanted}")
    return wrong


def _same_policies(wanted: str, actual: str) -> bool:
    return {part.strip() for part in wanted.split(",")} == {part.strip() for part in actual.split(",")}


def _same(wanted: str, actual: str) -> bool:
    return wanted == actual


def _at_least(wanted: str, actual: str) -> bool:
    return int(actual) >= int(wanted)


def _kept_as_long(wanted: str, actual: str) -> bool:
    """As `_at_least`, with Kafka's -1 for "no limit"."""
    if int(actual) == -1:
        return True
    return int(wanted) != -1 and int(actual) >= int(wanted)


_AGREEMENT: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "cleanup.policy": _same_policies,  # compacting facts, or deleting state, loses them
    "retention.ms": _kept_as_long,
    "retention.bytes": _kept_as_long,
    "message.timestamp.type": _same,  # the producer's clock would decide what is refused
    "max.message.bytes": _at_least,  # a record that does not fit is lost at the producer
    "min.compaction.lag.ms": _at_least,  # versions would vanish before readers saw them
}


def create_topics(
    bootstrap_servers: str, *, prefix: str = "", partitions: int = 12, replication_factor: int = 1
) -> list[TopicState]:
    """Make the five topics be there, as `schemas/topics` describes them; idempotent.

    Existing topics are verified and never altered. If the co-partitioned ones have another count than
    `partitions`, and all the same, theirs is kept, for missing ones too. Raises TopicMismatch when an
    existing topic would lose or reorder data, before anything is created; KafkaException when the
    broker does not answer or refuses; ValueError for a prefix or count that cannot be.

    The order of effects, and what a crash after each step leaves:
    1. look at what is there and verify it: nothing;
    2. create what is missing: some of the topics, which the next call completes with the same count;
    3. verify all, for another process may have created some meanwhile: all of them.
    """
    if partitions < 1:
        raise ValueError(f"partitions is {partitions}, below 1")
    topics = {prefixed(prefix, topic.base_name): topic for topic in load_topics().values()}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})

    before = _existing(admin, topics)
    _verify(admin, topics, before, partitions)
    count = choose_partitions(_co_partitioned(topics, before), partitions)
    missing = [
        NewTopic(
            name,
            num_partitions=count if topic.co_partitioned else topic.partitions,
            replication_factor=replication_factor,
            config=topic.config,
        )
        for name, topic in topics.items()
        if name not in before
    ]
    created: set[str] = set()
    if missing:
        futures = admin.create_topics(missing, request_timeout=_REQUEST_SECONDS)
        created = {name for name, future in futures.items() if _was_created(future)}
    after = _wait_until_visible(admin, topics)
    _verify(admin, topics, after, count)
    return [TopicState(name, after[name], name in created) for name in topics]


def partition_count(bootstrap_servers: str, names: TopicNames) -> int:
    """How many partitions each of the co-partitioned topics has; TopicMismatch if missing or unequal."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    found = _existing(admin, dict.fromkeys(names.co_partitioned))
    missing = [name for name in names.co_partitioned if name not in found]
    if missing:
        raise TopicMismatch(f"no such topic: {', '.join(missing)}. Create the topics first, or check the prefix.")
    return choose_partitions(found, 0)


def make_anew(bootstrap_servers: str, name: TopicName, topic: Topic) -> None:
    """Delete a topic with all that it holds, and create it again: as many partitions and replicas, the contract's settings.

    KafkaException if the broker refuses. A crash in between leaves no such topic: `create_topics` makes it.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    partitions = admin.list_topics(timeout=_REQUEST_SECONDS).topics[name].partitions
    replicas = len(partitions[0].replicas)
    admin.delete_topics([name], request_timeout=_REQUEST_SECONDS)[name].result()
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while name in admin.list_topics(timeout=_REQUEST_SECONDS).topics:
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{name} was deleted, and is still there"))
        time.sleep(_LOOK_AGAIN_SECONDS)
    anew = NewTopic(name, num_partitions=len(partitions), replication_factor=replicas, config=topic.config)
    admin.create_topics([anew], request_timeout=_REQUEST_SECONDS)[name].result()
    _wait_until_visible(admin, {name: topic})


def _existing(admin: AdminClient, wanted: Mapping[TopicName, object]) -> dict[TopicName, int]:
    """The number of partitions of those of `wanted` that are there."""
    # All topics, not one by name: a broker that creates topics by itself does so when asked for one.
    metadata = admin.list_topics(timeout=_REQUEST_SECONDS)
    return {name: len(metadata.topics[name].partitions) for name in wanted if name in metadata.topics}


def _co_partitioned(topics: Mapping[TopicName, Topic], found: Mapping[TopicName, int]) -> dict[TopicName, int]:
    return {name: count for name, count in found.items() if topics[name].co_partitioned}


def _was_created(future: Future[Any]) -> bool:
    """True when this call created it, False when it was there already; raises the broker's refusal."""
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
            return False
        raise
    return True


def _wait_until_visible(admin: AdminClient, topics: Mapping[TopicName, Topic]) -> dict[TopicName, int]:
    """Wait until every topic can be written: a creation is answered before all brokers know of it."""
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        seen = admin.list_topics(timeout=_REQUEST_SECONDS).topics
        absent = [name for name in topics if name not in seen or not _has_leaders(seen[name])]
        if not absent:
            return {name: len(seen[name].partitions) for name in topics}
        if time.monotonic() > deadline:
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, f"created, but not ready: {', '.join(sorted(absent))}")
            )
        time.sleep(_LOOK_AGAIN_SECONDS)


def _has_leaders(topic: TopicMetadata) -> bool:
    partitions = topic.partitions.values()
    return len(partitions) > 0 and all(partition.leader >= 0 for partition in partitions)


def _verify(
    admin: AdminClient, topics: Mapping[TopicName, Topic], found: Mapping[TopicName, int], partitions: int
) -> None:
    """Raise TopicMismatch with everything that is wrong with the topics of `found`, all at once."""
    if not found:
        return
    count = choose_partitions(_co_partitioned(topics, found), partitions)
    problems: list[str] = []
    for name, settings in _settings(admin, found).items():
        topic = topics[name]
        needed = count if topic.co_partitioned else topic.partitions
        problems += [f"{name}: {wrong}" for wrong in differences(topic, needed, found[name], settings)]
    if problems:
        raise TopicMismatch(
            "existing topics would lose or reorder data: " + "; ".join(problems) + ". "
            "Settings can be changed in place with kafka-configs; a partition count cannot: "
            "choose another topic prefix, or delete the topic if nothing was written to it yet."
        )


def _settings(admin: AdminClient, found: Mapping[TopicName, int]) -> dict[TopicName, dict[str, str]]:
    """The settings in force of each topic of `found`."""
    resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in found}
    futures = admin.describe_configs(list(resources.values()), request_timeout=_REQUEST_SECONDS)
    return {
        name: {setting: str(entry.value) for setting, entry in futures[resource].result().items()}
        for name, resource in resources.items()
    }
