"""The state of a partition from its log: the records of its `entitlements` partition, in log order.

Of each key the value of the highest revision counts. A value of revision r holds every fact below r, so the
highest one holds all that any other does; a stale value that a frozen owner wrote late has a lower revision
and changes nothing. Facts at or above the watermark are cut off: the next owner reads them from the input again.
"""

from schemas.entitlements import (
    REVISION_BYTES,
    WATERMARK_KEY,
    RecordKey,
    decode_customer,
    decode_key,
    decode_subscriber,
    decode_watermark,
    encode_record,
    revision_of,
)
from streams.core.account import Account
from streams.core.customer import fold_customer
from streams.core.partition import PartitionState


class Restore:
    """Feed it the whole log of a partition, then take the state."""

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._latest: dict[bytes, bytes] = {}
        self._overwritten: set[bytes] = set()

    @property
    def overwritten(self) -> frozenset[bytes]:
        """Keys whose last value in the log is a stale one. Compaction would keep that one: write them again."""
        return frozenset(self._overwritten)

    def feed(self, key: bytes, value: bytes) -> None:
        """One record of the log."""
        known = self._latest.get(key)
        # The revision is big-endian and first, so that bytes compare as revisions do.
        if known is None or value[:REVISION_BYTES] >= known[:REVISION_BYTES]:
            self._latest[key] = value
            if self._overwritten:
                self._overwritten.discard(key)
        else:
            self._overwritten.add(key)

    def finish(self) -> PartitionState:
        """The state at the highest watermark of the log; empty, at offset 0, if there is none."""
        state = PartitionState(self._topic, self._partition)
        watermark_value = self._latest.pop(WATERMARK_KEY, None)
        if watermark_value is not None:
            state.watermark = decode_watermark(watermark_value)
        length = state.watermark.next_offset
        cut: set[tuple[str, str]] = set()
        while self._latest:
            key, value = self._latest.popitem()
            owner = decode_key(key)
            assert owner is not None
            account_key = (owner.partner_id, owner.customer_id)
            account = state.accounts.get(account_key)
            if account is None:
                account = state.accounts[account_key] = Account(*account_key)
            if revision_of(value) > length:
                cut.add(account_key)
                _put_cut_back(account, owner, value, length)
            else:
                account.put_at_rest(owner.subscriber_id, value)
        for account_key, account in state.accounts.items():
            account.rebuild(length if account_key in cut else None)
        return state


def _put_cut_back(account: Account, owner: RecordKey, value: bytes, length: int) -> None:
    """Put a record at rest without what lies beyond the watermark; `Account.rebuild` folds it anew."""
    if owner.subscriber_id is None:
        facts = [fact for fact in decode_customer(value).facts if fact.offset < length]
        if facts:
            account.put_at_rest(None, encode_record(length, fold_customer(facts)))
        return
    record = decode_subscriber(value)
    record.facts = [fact for fact in record.facts if fact.offset < length]
    if record.facts:
        account.put_at_rest(owner.subscriber_id, encode_record(length, record))
