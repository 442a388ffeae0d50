"""Where topics end, asked of the broker: it answers though whoever reads them stands still."""

from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec


class TopicEnds:
    """One client for many questions; it connects with the first one."""

    def __init__(self, bootstrap_servers: str, request_seconds: float) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        self._request_seconds = request_seconds

    def read(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Of each (topic, partition) the offset that its next record will have; KafkaException if that can't be told."""
        if not keys:
            return {}
        futures = self._admin.list_offsets(
            {TopicPartition(*key): OffsetSpec.latest() for key in keys}, request_timeout=self._request_seconds
        )
        try:
            return {
                (part.topic, part.partition): future.result(self._request_seconds).offset
                for part, future in futures.items()
            }
        except TimeoutError:
            # Our wait and the client's own are as long: mostly ours ends first, and it is no KafkaException.
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
