"""The catalog and the usage at a cut from the raw events alone, by the core: what no table can have spoilt."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from billing.audit.raw_events import AsOf, RawEvent, events_of_partition, state_from_events
from billing.closing.invoices import Cut
from billing.closing.lines import Quantities, UsageKey
from billing.closing.period import Period
from billing.closing.prices import PriceBook
from billing.closing.usage import billed_owners, invoice_request
from billing.offline import usage_rows
from schemas.catalog import CatalogVersion, decode_catalog
from schemas.reasons import Refused
from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.core.account import Account
from streams.core.catalog import CatalogState
from streams.core.partition import PartitionState

_SPAN = """
SELECT min(offset), max(offset) + 1, uniqExact(offset) FROM raw_events
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset < {cut:Int64}
"""
# Whose record it is, is for the decoder to say. Passed over is only what is surely another org's: the engine reads one
# partnerOrgId in it that is another's, and there is no second one and no escape that could spell one.
_OF_ORGS = """
SELECT {partition:UInt32}, offset, toUnixTimestamp64Milli(append_time), key, value
FROM raw_events FINAL
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset < {cut:Int64}
  AND (JSONExtractString(ifNull(value, ''), 'data', 'partnerOrgId') IN {orgs:Array(String)}
       OR countSubstrings(ifNull(value, ''), 'partnerOrgId') != 1 OR position(ifNull(value, ''), '\\\\u') != 0)
ORDER BY offset
"""


class RawEventsMissing(Exception):
    """Raw events before a cut are not in the store: nothing can be recomputed. `rtmeter rebuild raw_events` brings them."""


class CatalogThen(Struct, frozen=True):
    """The catalog up to an offset: its entries, and all versions that it took."""

    state: CatalogState
    versions: tuple[CatalogVersion, ...]
    prices: PriceBook


def catalog_at(store: ReadableStore, names: TopicNames, before_offset: int) -> CatalogThen:
    """The catalog's first records, up to an offset; RawEventsMissing."""
    check_whole(store, names.catalog, 0, before_offset)
    state, versions = CatalogState(), []
    for event in events_of_partition(store, names.catalog, 0, as_of=AsOf(before_offset=before_offset)):
        try:
            version = decode_catalog(event.value, event.key, event.timestamp, event.offset)
            if state.add(version):
                versions.append(version)
        except Refused:
            continue  # a dead letter, which counts for nothing
    return CatalogThen(state, tuple(versions), PriceBook(versions))


def usage_recomputed(
    store: ReadableStore,
    names: TopicNames,
    cut: Cut,
    catalog: CatalogState,
    partner_id: str,
    periods: Sequence[Period],
) -> dict[Period, Quantities]:
    """Usage of some periods at a cut, by the core that `rtmeter meter` runs; RawEventsMissing.

    The state of the partner's customers is held in memory.
    """
    accounts: list[Account] = []
    orgs = [owner.org_id for owner in billed_owners(catalog, partner_id, periods[0])]
    for partition, length in sorted(cut.partitions.items()):
        check_whole(store, names.package_assignments, partition, length)
        accounts += state_at(store, names.package_assignments, partition, length, orgs).accounts.values()
    found = {}
    for period in periods:
        quantities: Quantities = {}
        for row in usage_rows(invoice_request(partner_id, period), accounts, catalog):
            key = UsageKey(row.owner_id, row.subscription_id, row.item)
            quantities[key] = quantities.get(key, 0) + row.quantity_microdays
        found[period] = {key: quantity for key, quantity in quantities.items() if quantity}
    return found


def state_at(store: ReadableStore, topic: str, partition: int, length: int, orgs: list[str]) -> PartitionState:
    """The state of some orgs' customers after a partition's first records; `check_whole` first."""
    return state_from_events(_events(store, topic, partition, length, orgs), topic, partition)


def check_whole(store: ReadableStore, topic: str, partition: int, length: int) -> None:
    """RawEventsMissing unless every raw event of a prefix is stored; retention may have cut its beginning."""
    ((first, end, rows),) = store.query(_SPAN, {"topic": topic, "partition": partition, "cut": length})
    if length and (not rows or end != length or rows != end - first):
        raise RawEventsMissing(
            f"of {topic}/{partition} {rows} raw events are stored before offset {length}, from {first} to {end}"
        )


def _events(store: ReadableStore, topic: str, partition: int, length: int, orgs: list[str]) -> Iterator[RawEvent]:
    parameters = {"topic": topic, "partition": partition, "cut": length, "orgs": orgs}
    for rows in store.stream_binary(_OF_ORGS, parameters):
        for row in rows:
            yield RawEvent(*row)
