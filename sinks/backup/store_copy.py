"""The store's part of a backup: its frozen parts as files, and a store made from them."""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from sinks.backup.copied import BackupDamaged, CopiedFile, copy_folder
from sinks.backup.frozen import FrozenTable
from sinks.migrations import Placement, statements
from sinks.store import Store

_STORE = "store"
_COUNT = "count.txt"


class CopiedTable(Struct, frozen=True):
    """A table of a backup. `rows`: as its parts hold them, superseded ones included. None for a view."""

    name: str
    create: str
    rows: int | None


def copy_tables(
    tables: list[FrozenTable], root: Path, advance: Callable[[int], None]
) -> tuple[list[CopiedTable], list[CopiedFile]]:
    """Copy frozen tables to `store/<table>/<part>` of a backup. `advance` hears of tables."""
    copied, files = [], []
    for table in tables:
        rows = None
        if table.parts is not None:
            files += copy_folder(table.parts, root, f"{_STORE}/{table.name}")
            rows = sum(int(count.read_text()) for count in table.parts.glob(f"*/{_COUNT}"))
        copied.append(CopiedTable(table.name, table.create, rows))
        advance(1)
    return copied, files


def make_store(root: Path, tables: list[CopiedTable], folder: Path, advance: Callable[[int], None]) -> None:
    """Make an engine's folder from a backup. BackupDamaged if it has not the rows that the backup names.

    ValueError if the backup is of a newer rtmeter, whose tables this one does not know.
    """
    with Store(f"chdb://{folder.resolve()}") as store:
        # A merge would drop superseded rows before they are counted.
        store.command("SYSTEM STOP MERGES")
        for table in tables:
            store.command(table.create)
            if table.rows is None:
                continue
            detached = _folder_of(store, table.name) / "detached"
            for part in sorted((root / _STORE / table.name).glob("*")):
                shutil.copytree(part, detached / part.name)
                store.command(f"ALTER TABLE {table.name} ATTACH PART '{part.name}'")
            found = store.query(
                "SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase() "
                "AND table = {table:String}",
                {"table": table.name},
            )[0][0]
            if found != table.rows:
                raise BackupDamaged(f"{table.name} has {found} rows, and the backup says {table.rows}")
            advance(1)
        unknown = {name for (name,) in store.query("SELECT name FROM schema_migrations")} - set(statements(Placement()))
        if unknown:
            raise ValueError(f"the backup is of a newer rtmeter: it has {', '.join(sorted(unknown))}")


def _folder_of(store: Store, table: str) -> Path:
    ((path,),) = store.query(
        "SELECT arrayElement(data_paths, 1) FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )
    return Path(path)
