"""The input as it came, read back from the store, and the state that it gives: the base of every audit."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from sinks.store import ReadableStore
from streams.core.account import Account
from streams.core.partition import PartitionState

_EVENTS = """
SELECT partition, offset, toUnixTimestamp64Milli(append_time), key, value
FROM raw_events FINAL
WHERE topic = {{topic:String}} AND {condition}
  AND offset < {{before_offset:Int64}} AND append_time <= fromUnixTimestamp64Milli({{until_ms:Int64}})
ORDER BY partition, offset
"""
_ALL = 2**63 - 1
#: The last instant that the column holds, in ms.
_LAST_MS = 10_413_791_999_999
#: More would only take memory: an audit writes nothing of what a run makes.
RECORDS_PER_RUN = 10_000


class AsOf(Struct, frozen=True):
    """What was known: the input before an offset of its partition, that had arrived by a time. Default: all of it."""

    before_offset: int = _ALL
    until_ms: int = _LAST_MS


NOW = AsOf()


class RawEvent(Struct, frozen=True):
    """One record of an input topic. `timestamp`: its append time in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def events_of_customer(store: ReadableStore, topic: str, customer_id: str, as_of: AsOf = NOW) -> Iterator[RawEvent]:
    """Every record under the key of a customer, whoever its partner, refused ones included, in order."""
    return _read(store, topic, "key = {customer:String}", {"customer": customer_id}, as_of)


def events_of_partition(
    store: ReadableStore, topic: str, partition: int, first_offset: int = 0, as_of: AsOf = NOW
) -> Iterator[RawEvent]:
    """Every record of a partition from an offset on, in order."""
    condition = "partition = {partition:UInt32} AND offset >= {first:Int64}"
    return _read(store, topic, condition, {"partition": partition, "first": first_offset}, as_of)


def account_from_events(events: Iterable[RawEvent], topic: str, partner_id: str, customer_id: str) -> Account | None:
    """The account that the core makes of a customer's records; None if none of them was metered for the partner."""
    return state_from_events(events, topic).accounts.get((partner_id, customer_id))


def state_from_events(events: Iterable[RawEvent], topic: str, partition: int = 0) -> PartitionState:
    """The state that the core makes of some of a partition's records, in order: of a customer's, the whole customer.

    `partition` is only for what the state would write, and not of any account.
    """
    state = PartitionState(topic, partition)
    for _ in state.apply_in_runs(events, RECORDS_PER_RUN):
        pass
    return state


def _read(
    store: ReadableStore, topic: str, condition: str, parameters: dict[str, object], as_of: AsOf
) -> Iterator[RawEvent]:
    bounds = {"topic": topic, "before_offset": as_of.before_offset, "until_ms": as_of.until_ms}
    for rows in store.stream_binary(_EVENTS.format(condition=condition), {**parameters, **bounds}):
        for row in rows:
            yield RawEvent(*row)
