"""Which offsets a worker tells the consumer group: step 5 of the ledger's protocol, for monitoring only. Pure."""

from collections.abc import Collection, Mapping


class GroupOffsets:
    """What was told already, so that only news is."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}

    def news(self, durable: Mapping[int, int], assigned: Collection[int]) -> dict[int, int]:
        """The durable offsets of assigned partitions that the group has not heard from this worker."""
        return {
            partition: offset
            for partition, offset in durable.items()
            if partition in assigned and self._told.get(partition) != offset
        }

    def heard(self, offsets: Mapping[int, int]) -> None:
        """The group took these."""
        self._told.update(offsets)
