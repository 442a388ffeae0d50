"""Which offsets a worker tells the consumer group: step 5 of the ledger's protocol, for monitoring only. Pure."""

from collections.abc import Collection, Mapping


class GroupOffsets:
    """What was told already in the present generation, so that only news is.

    What was told counts only until the next rebalance: whoever owns a partition then tells it once more, because nobody
    knows what others told meanwhile.
    """

    def __init__(self) -> None:
        self._generation = -1
        self._told: dict[int, int] = {}

    def news(self, durable: Mapping[int, int], assigned: Collection[int], generation: int) -> dict[int, int]:
        """The durable offsets of assigned partitions that the group has not heard from this worker in this generation."""
        if generation != self._generation:
            self._generation = generation
            self._told.clear()
        return {
            partition: offset
            for partition, offset in durable.items()
            if partition in assigned and self._told.get(partition) != offset
        }

    def heard(self, offsets: Mapping[int, int], generation: int) -> None:
        """The group took these, when the worker had last heard of this generation."""
        if generation == self._generation:
            self._told.update(offsets)
