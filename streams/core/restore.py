"""The state of a partition from its log: the records of its `entitlements` partition, in log order.

Of each key the value of the highest revision counts. A value of revision r holds every fact below r, so the
highest one holds all that any other does; a stale value that a frozen owner wrote late has a lower revision
and changes nothing. Facts at or above the watermark are cut off: the next owner reads them from the input again.

Of the watermarks the one of the highest claim counts, and not the highest: a former owner may have been further when
it was frozen. Its values are in the log, but compaction drops them once the present owner, still behind, has written
those keys again; then its watermark would say that facts are there which are not.
"""

from schemas.entitlements import REVISION_BYTES, Watermark, decode_key, decode_watermark
from streams.core.long_subscriber import PAGING, Paging
from streams.core.partition import PartitionState


class Restore:
    """Feed it the whole log of a partition, then take the state.

    Values go to where they will rest at once: kept beside it, they would leave the memory of a whole log in holes.
    """

    def __init__(self, topic: str, partition: int, *, paging: Paging = PAGING) -> None:
        self._state = PartitionState(topic, partition, paging=paging)
        self._watermark: Watermark | None = None
        self._overwritten: set[bytes] = set()

    @property
    def overwritten(self) -> frozenset[bytes]:
        """Keys whose last value in the log is a stale one. Compaction would keep that one: write them again."""
        return frozenset(self._overwritten)

    def feed(self, key: bytes, value: bytes) -> None:
        """One record of the log."""
        owner = decode_key(key)
        if owner is None:
            self._feed_watermark(decode_watermark(value))
            return
        account = self._state.account(owner.partner_id, owner.customer_id)
        known = account.value_at_rest(owner.subscriber_id, owner.part, owner.name)
        # The revision is big-endian and first, so that bytes compare as revisions do.
        if known is not None and value[:REVISION_BYTES] < known[:REVISION_BYTES]:
            self._overwritten.add(key)
            return
        account.put_at_rest(owner.subscriber_id, value, owner.part, owner.name)
        if self._overwritten:
            self._overwritten.discard(key)

    def _feed_watermark(self, watermark: Watermark) -> None:
        known = self._watermark
        if known is None or (watermark.claim, watermark.next_offset) >= (known.claim, known.next_offset):
            self._watermark = watermark

    def finish(self) -> PartitionState:
        """The state at the watermark of the log that counts; empty, at offset 0, if there is none.

        LogIncomplete if facts that were in the log are missing from it.
        """
        state = self._state
        if self._watermark is not None:
            state.watermark = self._watermark
        for account_key, account in list(state.accounts.items()):
            account.rebuild(state.next_offset)
            if account.is_empty():
                # All that is known about it lies beyond the watermark.
                del state.accounts[account_key]
        return state
