"""What was known then: the cut of a partition, and the catalog, at a time or an offset."""

from msgspec import Struct

from billing.audit.raw_events import NOW, AsOf, events_of_partition
from schemas.catalog import decode_catalog
from schemas.reasons import Refused
from schemas.topics import TopicNames
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState

_LAST_BEFORE = """
SELECT offset, toUnixTimestamp64Milli(append_time) FROM raw_events
WHERE topic = {topic:String} AND partition = {partition:UInt32}
  AND offset < {before_offset:Int64} AND append_time <= fromUnixTimestamp64Milli({until_ms:Int64})
ORDER BY topic DESC, partition DESC, offset DESC LIMIT 1
"""


class LastRecord(Struct, frozen=True):
    """The last record of a partition that was known then. The first one has offset 0."""

    offset: int
    arrived_ms: int


def last_known(store: ReadableStore, topic: str, partition: int, as_of: AsOf) -> LastRecord | None:
    """The last record of a partition that is in the store and was known then; None if there was none."""
    bounds = {"before_offset": as_of.before_offset, "until_ms": as_of.until_ms}
    rows = store.query(_LAST_BEFORE, {"topic": topic, "partition": partition, **bounds})
    return LastRecord(*rows[0]) if rows else None


def catalog_then(store: ReadableStore, names: TopicNames, as_of: AsOf, last: LastRecord | None) -> CatalogState:
    """The catalog as it had arrived by then: at an offset, by the arrival of the last record before it."""
    if as_of == NOW:
        return load_catalog(store)
    by_time = as_of.until_ms != NOW.until_ms
    until_ms = as_of.until_ms if by_time or last is None else last.arrived_ms
    catalog = CatalogState()
    for event in events_of_partition(store, names.catalog, 0, as_of=AsOf(until_ms=until_ms)):
        try:
            catalog.add(decode_catalog(event.value, event.key, event.timestamp, event.offset))
        except Refused:
            continue  # it is among the dead letters, and counts for nothing
    return catalog
