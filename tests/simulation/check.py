"""Whether the store is what the oracle says: every current row, every refusal, every count."""

from typing import Any

from sinks.rows import STILL_RUNS
from tests.oracle.metering import grid
from tests.simulation.kafka import NAMES, Broker
from tests.simulation.store import MemoryStore, Row
from tests.simulation.world import World


class Difference(AssertionError):
    """The store or the log is not what it should be."""


def check_store(world: World, broker: Broker, store: MemoryStore, closed: dict[int, int], offsets: "Offsets") -> None:
    """Every current row is the oracle's. `closed`: the last closed day of each partition, -1 for none."""
    current = {name: list(table.final().values()) for name, table in store.tables.items()}
    _same("timelines", _timelines(current["timelines"]), world.expected.timelines)
    _same("people", _people(current["timelines"]), world.expected.people)
    _check_customers(world, current["customers"])
    _check_days(world, current["daily_usage"], closed)
    _check_inputs(broker, current["raw_events"])
    _check_refusals(world, broker, current["dead_letters"], offsets)
    _check_counts(world, broker, current["partition_progress"], closed, offsets)
    versions = {row[1] for row in current["catalog_versions"]}
    _same("catalog versions", versions, set(world.expected.catalog_versions))


class Offsets:
    """At which offset each record of the world stands in its log, and which offsets are day closes."""

    def __init__(self, partitions: int) -> None:
        self.of_sent: list[list[int]] = [[] for _ in range(partitions)]


def _same(what: str, got: Any, wanted: Any) -> None:
    if got != wanted:
        if isinstance(got, dict) and isinstance(wanted, dict):
            keys = [key for key in {**got, **wanted} if got.get(key) != wanted.get(key)]
            shown = "\n".join(f"  {key}: {got.get(key)} instead of {wanted.get(key)}" for key in keys[:5])
            raise Difference(f"{what}: {len(keys)} differ\n{shown}")
        raise Difference(f"{what}: {got} instead of {wanted}")


def _timelines(rows: list[Row]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    # The segments of a long subscriber in order; its newest intervals, in the row without one, come last.
    rows = sorted(rows, key=lambda row: (row[:3], row[-1] == "", row[-1]))
    for partner, customer, subscriber, *_, items, locations, starts, ends, start_ms, end_ms, _segment in rows:
        pieces: dict[tuple[str, str], list[tuple[int, int | None]]] = found.get((partner, customer, subscriber), {})
        for item, location, start, end, began, ended in zip(
            items, locations, starts, ends, start_ms, end_ms, strict=True
        ):
            runs = ended == STILL_RUNS
            if start != grid(began) or end != (STILL_RUNS if runs else grid(ended)):
                raise Difference(f"timeline of {subscriber}: {start} to {end} is not {began} ms to {ended} ms")
            pieces.setdefault((item, location), []).append((began, None if runs else ended))
        if pieces:
            found[partner, customer, subscriber] = pieces
    return found


def _people(rows: list[Row]) -> dict[Any, Any]:
    return {row[:3]: row[5:7] for row in rows if row[5:7] != ("", "")}


def _check_customers(world: World, rows: list[Row]) -> None:
    expected = world.expected
    found = {}
    orders = {}
    for partner, customer, _, partition, external, subscription, name, internal, _, *of_orders in rows:
        account = (partner, customer)
        if partition != world.partition_of[account]:
            raise Difference(f"customer {account} is in partition {partition}")
        attributes = {"externalId": external, "subscriptionId": subscription, "name": name, "internal": internal}
        found[account] = {key: value for key, value in attributes.items() if value}
        if of_orders[0]:
            orders[account] = sorted(zip(*of_orders, strict=True))
    wanted = {
        account: {key: value for key, value in attributes.items() if value}
        for account, attributes in expected.customers.items()
    }
    # A customer of whom only subscribers were told has no row, and one of whom only voided facts were told has an empty one.
    _same("customers", {a: v for a, v in found.items() if v}, {a: v for a, v in wanted.items() if v})
    _same("orders", orders, {account: sorted(placed) for account, placed in expected.orders.items()})


def _check_days(world: World, rows: list[Row], closed: dict[int, int]) -> None:
    found = {row[:5]: row[5:7] for row in rows}
    for (partner, customer, _, _, day), figures in found.items():
        last = closed[world.partition_of[partner, customer]]
        if day > last:
            raise Difference(f"day {day} of {partner}/{customer} has {figures}, but days are closed through {last}")
    wanted = {key: value for key, value in world.expected.days.items() if key[4] <= closed[world.partition_of[key[:2]]]}
    _same("days", {key: value for key, value in found.items() if value != (0, 0)}, wanted)


def _check_inputs(broker: Broker, rows: list[Row]) -> None:
    found = {row[:3]: row[3:] for row in rows}
    wanted = {
        (record.topic, record.partition, record.offset): (record.append_time_ms, record.key, record.value)
        for (topic, _), log in broker.logs.items()
        if topic in (NAMES.package_assignments, NAMES.catalog)
        for record in log
    }
    _same("raw events", found, wanted)


def _check_refusals(world: World, broker: Broker, rows: list[Row], offsets: Offsets) -> None:
    found = {row[:3]: (row[4], row[6], row[7]) for row in rows}
    wanted = {}
    for partition, refused in world.expected.refused.items():
        for index, reason in refused.items():
            sent = world.sent[partition][index]
            where = (NAMES.package_assignments, partition, offsets.of_sent[partition][index])
            wanted[where] = (reason, sent.key, sent.value)
    for index, reason in world.expected.catalog_refused.items():
        sent = world.catalog[index]
        wanted[NAMES.catalog, 0, index] = (reason, sent.key, sent.value)
    _same("dead letters", found, wanted)


def _check_counts(world: World, broker: Broker, rows: list[Row], closed: dict[int, int], offsets: Offsets) -> None:
    """Each partition's state has all of its input, and input = metered + duplicates + refused + day closes."""
    expected = world.expected
    wanted = {}
    for partition in range(world.partitions):
        end = broker.ends[NAMES.package_assignments, partition]
        if end:
            wanted[partition] = (
                end,
                closed[partition] if closed[partition] >= 0 else None,
                expected.metered[partition],
                expected.duplicates[partition],
                len(expected.refused[partition]),
                end - len(world.sent[partition]),
            )
    _same("progress", {row[0]: row[1:] for row in rows}, wanted)
