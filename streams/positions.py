"""Where a worker reads on: which of the fetched records follow on, and which must be fetched once more.

Pure: the transport fetches and seeks, this says what to make of it.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from schemas.decode import AssignmentRecord


class Batch(Struct):
    """What one fetch gave of one partition: all that its input has from `first_offset` up to before `next_offset`.

    There may be holes between the records, and around them; nothing was there. `records` may be read once only.
    """

    partition: int
    first_offset: int
    next_offset: int
    records: Iterable[AssignmentRecord]


class Positions:
    """The next offset to read of each owned partition; every record below it was handed over.

    A consumer fetches on while it is told to seek. So a fetch counts only if it began where its partition is read on: what
    was fetched from before a seek is thrown away, whenever it arrives, and the consumer is sent back once more.
    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        # Partitions of which the consumer may stand elsewhere: a fetch was thrown away, and it stands behind that.
        self._astray: set[int] = set()

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Read exactly these partitions, each from this offset on: what the ledger said when it took them over.

        The consumer is to be sought *after* this: of what it fetches between the seek and this, nobody would hear.
        """
        self._next = dict(offsets)
        self._astray.clear()

    def take(
        self, partition: int, records: Iterable[AssignmentRecord], first_offset: int, next_offset: int, *, current: bool
    ) -> Batch | None:
        """The fetched records as a batch that follows on, or None: they are thrown away.

        `first_offset`: where the consumer stood, `next_offset`: where it stands now. `current`: whether what was fetched
        is this consumer's to read.
        """
        if not current or partition in self._astray or self._next.get(partition) != first_offset:
            self._astray.add(partition)
            return None
        self._next[partition] = next_offset
        return Batch(partition, first_offset, next_offset, records)

    def take_astray(self) -> dict[int, int]:
        """The partitions to seek again, each with its offset; they count as sought from now on."""
        astray = {partition: self._next[partition] for partition in sorted(self._astray) if partition in self._next}
        self._astray.clear()
        return astray

    def sought(self, offsets: Mapping[int, int]) -> None:
        """The consumer was sent to these offsets; a partition that meanwhile is read on elsewhere is astray again."""
        self._astray.update(partition for partition, offset in offsets.items() if self._next.get(partition) != offset)

    def not_sought(self, partitions: Iterable[int]) -> None:
        """Nobody knows where the consumer stands in these."""
        self._astray.update(partitions)
