"""Freezing the tables of an embedded store, and where the frozen parts lie."""

import re
import shutil
from pathlib import Path

from msgspec import Struct

from sinks.rebuild.tables import is_beside
from sinks.store import ReadableStore, Store

_NAME = re.compile(r"[0-9a-f]{8,64}")
#: What says how far the rest has come is frozen before the rest.
_FIRST = ("sink_positions", "partition_progress")
_TABLES = """
SELECT name, engine, create_table_query, arrayElement(data_paths, 1) FROM system.tables
WHERE database = currentDatabase() ORDER BY name
"""


class FrozenTable(Struct, frozen=True):
    """One table or view: the statement that creates it, the folder of its frozen parts (None: it has none)."""

    name: str
    create: str
    parts: Path | None


def freeze(store: Store, name: str) -> None:
    """Freeze every table under a name of hexadecimal digits. ValueError for another name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name to freeze under")
    tables = [table for table, engine, *_ in store.query(_TABLES) if engine.endswith("MergeTree")]
    for table in sorted(tables, key=lambda table: (table not in _FIRST, table)):
        store.command(f"ALTER TABLE {table} FREEZE WITH NAME '{name}'")


def frozen_tables(store: ReadableStore, folder: Path, name: str) -> list[FrozenTable]:
    """What was frozen under a name in the engine's folder, views last; the twins of a rebuild are left out."""
    shadow = folder / "shadow" / name
    found = []
    for table, engine, create, path in store.query(_TABLES):
        if is_beside(table):
            continue
        parts = shadow / Path(path).relative_to(folder.resolve()) if engine.endswith("MergeTree") else None
        found.append(FrozenTable(table, create, parts))
    return sorted(found, key=lambda table: table.parts is None)


def thaw(folder: Path, name: str) -> None:
    """Let go of what was frozen under a name; without it merged parts would keep their place on the disk."""
    shutil.rmtree(folder / "shadow" / name, ignore_errors=True)
