"""How far the pipeline has come cannot always be told: whoever asks must hear so in the way that he expects."""

import pytest
from confluent_kafka import KafkaException

from streams.topic_ends import TopicEnds


def test_a_broker_that_does_not_answer_is_a_kafka_exception() -> None:
    """`rtmeter up` waits for the next reading then. A TimeoutError of the future went through and ended it."""
    with pytest.raises(KafkaException):
        TopicEnds("127.0.0.1:9", 1.0).read([("topic", 0)])
