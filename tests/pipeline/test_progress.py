"""How far the pipeline has come cannot always be told: whoever asks must hear so in the way that he expects."""

import pytest
from confluent_kafka import KafkaException

from rtmeter import progress
from rtmeter.progress import ProgressReader
from schemas.topics import TopicNames


def test_a_broker_that_does_not_answer_is_a_kafka_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rtmeter up` waits for the next reading then. A TimeoutError of the future went through and ended it."""
    monkeypatch.setattr(progress, "_REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(progress, "partition_count", lambda *_: 1)
    nobody = ProgressReader("127.0.0.1:9", TopicNames.with_prefix(""), "")
    with pytest.raises(KafkaException):
        nobody._ends()
