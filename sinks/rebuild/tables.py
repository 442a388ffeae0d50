"""The tables as the engine describes them, and their twins beside them."""

import re

from msgspec import Struct

from schemas.topics import CATALOG, DAILY_USAGE, DEAD_LETTERS, ENTITLEMENTS, PACKAGE_ASSIGNMENTS, BaseTopicName
from sinks.migrations import Placement, statements
from sinks.store import ReadableStore, Store, StoreUnavailable

#: Which topics' records make a table's rows.
FED_BY: dict[str, tuple[BaseTopicName, ...]] = {
    "raw_events": (PACKAGE_ASSIGNMENTS, CATALOG),
    "redrives": (PACKAGE_ASSIGNMENTS, CATALOG),
    "catalog_versions": (CATALOG,),
    "dead_letters": (DEAD_LETTERS,),
    "customers_history": (ENTITLEMENTS,),
    "customers": (ENTITLEMENTS,),
    "timelines_history": (ENTITLEMENTS,),
    "timelines": (ENTITLEMENTS,),
    "daily_usage_history": (DAILY_USAGE,),
    "daily_usage": (DAILY_USAGE,),
    "partition_progress": (ENTITLEMENTS,),
}
#: What is no copy of anything: what was applied to this store, and where its sinks go on.
NOT_REBUILT = ("schema_migrations", "sink_positions")
#: What follows from the raw events alone: all but these themselves, and the headers of their records.
FROM_RAW_EVENTS = tuple(table for table in FED_BY if table not in ("raw_events", "redrives"))

HISTORY = "_history"
_REBUILT = "__rebuilt"
_REPLACED = "__replaced"
_CREATED = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")


class Shape(Struct, frozen=True):
    """What a comparison needs to know of a table: its sort key and its other columns."""

    table: str
    key: tuple[str, ...]
    content: tuple[str, ...]

    @property
    def is_history(self) -> bool:
        return self.table.endswith(HISTORY)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.content


def rebuilt(table: str) -> str:
    """The name of the twin beside a table."""
    return table + _REBUILT


def is_beside(table: str) -> bool:
    """Whether a table is the twin of another: nothing reads it."""
    return table.endswith((_REBUILT, _REPLACED))


def shape_of(store: ReadableStore, table: str) -> Shape:
    """A table's sort key and other columns, as it is now, whatever migrations have added."""
    ((sorting_key,),) = store.query(
        "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )
    columns = store.query(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        {"table": table},
    )
    key = tuple(part.strip() for part in sorting_key.split(","))
    return Shape(table, key, tuple(name for (name,) in columns if name not in key))


def create_beside(store: Store, table: str) -> None:
    """An empty twin like the table; an earlier one is dropped. StoreUnavailable for replicated tables."""
    _create_missing(store, table)
    ((engine,),) = store.query(
        "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )
    if engine.startswith("Replicated"):
        # A twin of a replicated table needs a path of its own in Keeper, for good.
        raise StoreUnavailable(f"{table} is replicated: rebuild works on the embedded store and on a single server")
    drop_beside(store, table)
    store.command(f"CREATE TABLE {rebuilt(table)} AS {table}")


def drop_beside(store: Store, table: str) -> None:
    """Drop a table's twin, if there is one."""
    store.command(f"DROP TABLE IF EXISTS {rebuilt(table)} SYNC")


def exchange(store: Store, table: str, *, keep: bool) -> None:
    """Put the twin in the table's place, at one instant; `keep`: the old one stays as `<table>__replaced`."""
    store.command(f"EXCHANGE TABLES {table} AND {rebuilt(table)}")
    if keep:
        store.command(f"DROP TABLE IF EXISTS {table}{_REPLACED} SYNC")
        store.command(f"RENAME TABLE {rebuilt(table)} TO {table}{_REPLACED}")
    else:
        drop_beside(store, table)


def _create_missing(store: Store, table: str) -> None:
    """Make a table that is not there by the migrations, which say that they were applied: each statement repeats."""
    if store.query(
        "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = {table:String}", {"table": table}
    ):
        return
    for sqls in statements(Placement()).values():
        for sql in sqls:
            store.command(sql)


def tables_of_migrations() -> list[str]:
    """Every table that the migrations create."""
    found = [_CREATED.match(sql) for sqls in statements(Placement()).values() for sql in sqls]
    return [match[1] for match in found if match is not None]
