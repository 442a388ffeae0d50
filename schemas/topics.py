"""The Kafka topics: one file per topic under `schemas/topics`, read here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NewType

import msgspec

BaseTopicName = NewType("BaseTopicName", str)
"""A topic's name in the contract, without the configured prefix."""

TopicName = NewType("TopicName", str)
"""A topic's name on the broker, prefix included."""

PACKAGE_ASSIGNMENTS: Final = BaseTopicName("package-assignments")
CATALOG: Final = BaseTopicName("catalog")
ENTITLEMENTS: Final = BaseTopicName("entitlements")
DAILY_USAGE: Final = BaseTopicName("daily-usage")
DEAD_LETTERS: Final = BaseTopicName("package-assignments-dead-letters")

_TOPIC_FILES: Final = Path(__file__).parent / "topics"
_LONGEST_TOPIC_NAME: Final = 249  # Kafka's limit
_PREFIX_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._-]*")


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One topic as its file describes it.

    `partitions` is the default of a fresh installation, not a fact about a running one: there the
    broker's count holds. `co_partitioned` topics always have equally many, so that everything about
    a customer is in the same partition of each. `config` holds Kafka's topic settings as strings.
    """

    name: str
    owner: str
    purpose: str
    key: str
    value: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int
    co_partitioned: bool
    config: dict[str, str]

    @property
    def base_name(self) -> BaseTopicName:
        """The name without prefix, typed."""
        return BaseTopicName(self.name)


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The five names on the broker, prefix included."""

    package_assignments: TopicName
    catalog: TopicName
    entitlements: TopicName
    daily_usage: TopicName
    dead_letters: TopicName

    @classmethod
    def with_prefix(cls, prefix: str) -> TopicNames:
        """The names with `prefix` put before each, nothing in between ("" for none).

        Raises ValueError when the result is not a name that Kafka takes.
        """
        return cls(
            package_assignments=prefixed(prefix, PACKAGE_ASSIGNMENTS),
            catalog=prefixed(prefix, CATALOG),
            entitlements=prefixed(prefix, ENTITLEMENTS),
            daily_usage=prefixed(prefix, DAILY_USAGE),
            dead_letters=prefixed(prefix, DEAD_LETTERS),
        )

    @property
    def co_partitioned(self) -> tuple[TopicName, TopicName, TopicName, TopicName]:
        """The four that always have the same number of partitions."""
        return (self.package_assignments, self.entitlements, self.daily_usage, self.dead_letters)


def prefixed(prefix: str, name: BaseTopicName) -> TopicName:
    """`prefix` and `name` as one topic name; ValueError when Kafka would not take it."""
    if not _PREFIX_CHARACTERS.fullmatch(prefix):
        raise ValueError(f"topic prefix {prefix!r}: only letters, digits, '.', '_' and '-' are allowed")
    whole = prefix + name
    if len(whole) > _LONGEST_TOPIC_NAME:
        raise ValueError(f"topic name {whole!r} has {len(whole)} characters, over {_LONGEST_TOPIC_NAME}")
    return TopicName(whole)


def load_topics() -> dict[str, Topic]:
    """Every topic of `schemas/topics`, by its name without prefix.

    Raises ValueError (msgspec's own for a file of the wrong shape) when a file is not a topic, or is
    named otherwise than the topic that it describes.
    """
    topics: dict[str, Topic] = {}
    for path in sorted(_TOPIC_FILES.glob("*.toml")):
        topic = msgspec.toml.decode(path.read_bytes(), type=Topic)
        if topic.name != path.stem:
            raise ValueError(f"{path.name} describes {topic.name!r}: a topic's file bears its name")
        topics[topic.name] = topic
    return topics
