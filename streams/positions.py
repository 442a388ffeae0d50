"""Where a worker reads on: which of the fetched records follow on, and which must be fetched once more.

Pure: the transport fetches and seeks, this says what to make of it.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from schemas.decode import AssignmentRecord


class Batch(Struct):
    """What one fetch gave of one partition. `first_offset`: where the fetch began to read."""

    partition: int
    first_offset: int
    records: list[AssignmentRecord]


class Positions:
    """The next offset to read of each owned partition; every record below it was handed over."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        # Partitions of which a fetch was thrown away: the consumer stands behind it, and must go back.
        self._astray: set[int] = set()

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Read exactly these partitions, each from this offset on: what the ledger said when it took them over."""
        self._next = dict(offsets)
        self._astray.clear()

    def take(self, partition: int, records: Sequence[AssignmentRecord], *, current: bool) -> Batch | None:
        """The fetched records (at least one) as a batch that follows on, or None: they are thrown away.

        `current`: whether what was fetched is still this consumer's to read. Offsets may have holes between
        `first_offset` and the first record, and from record to record; nothing was there.
        """
        if not current or partition not in self._next or partition in self._astray:
            self._astray.add(partition)
            return None
        first_offset = self._next[partition]
        self._next[partition] = records[-1].offset + 1
        return Batch(partition, first_offset, list(records))

    def take_astray(self) -> dict[int, int]:
        """The partitions to seek again, each with its offset; they count as sought from now on."""
        astray = {partition: self._next[partition] for partition in sorted(self._astray) if partition in self._next}
        self._astray.clear()
        return astray
