"""The state of a partition from its log: the records of its `entitlements` partition, in log order.

Of each key the value of the highest revision counts. A value of revision r holds every fact below r, so the
highest one holds all that any other does; a stale value that a frozen owner wrote late has a lower revision
and changes nothing. Facts at or above the watermark are cut off: the next owner reads them from the input again.
"""

from schemas.entitlements import REVISION_BYTES, decode_key, decode_watermark
from streams.core.account import Account
from streams.core.partition import PartitionState


class Restore:
    """Feed it the whole log of a partition, then take the state.

    Values go to where they will rest at once: kept beside it, they would leave the memory of a whole log in holes.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self._state = PartitionState(topic, partition)
        self._watermark: bytes | None = None
        self._overwritten: set[bytes] = set()

    @property
    def overwritten(self) -> frozenset[bytes]:
        """Keys whose last value in the log is a stale one. Compaction would keep that one: write them again."""
        return frozenset(self._overwritten)

    def feed(self, key: bytes, value: bytes) -> None:
        """One record of the log."""
        account: Account | None = None
        subscriber_id = None
        owner = decode_key(key)
        if owner is None:
            known = self._watermark
        else:
            subscriber_id = owner.subscriber_id
            account = self._account(owner.partner_id, owner.customer_id)
            known = account.value_at_rest(subscriber_id)
        # The revision is big-endian and first, so that bytes compare as revisions do.
        if known is not None and value[:REVISION_BYTES] < known[:REVISION_BYTES]:
            self._overwritten.add(key)
            return
        if account is None:
            self._watermark = value
        else:
            account.put_at_rest(subscriber_id, value)
        if self._overwritten:
            self._overwritten.discard(key)

    def finish(self) -> PartitionState:
        """The state at the highest watermark of the log; empty, at offset 0, if there is none."""
        state = self._state
        if self._watermark is not None:
            state.watermark = decode_watermark(self._watermark)
        for account_key, account in list(state.accounts.items()):
            account.rebuild(state.next_offset)
            if account.is_empty():
                # All that is known about it lies beyond the watermark.
                del state.accounts[account_key]
        return state

    def _account(self, partner_id: str, customer_id: str) -> Account:
        accounts = self._state.accounts
        account = accounts.get((partner_id, customer_id))
        if account is None:
            account = Account(partner_id, customer_id)
            accounts[account.partner_id, account.customer_id] = account
        return account
