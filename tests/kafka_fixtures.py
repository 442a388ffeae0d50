"""One real broker for all tests of a run that want one; each test keeps to topics of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from rtmeter.kafka_server import EmbeddedKafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker that all tests of this process share."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.start()


@pytest.fixture
def topic_prefix() -> str:
    """A topic prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}."
