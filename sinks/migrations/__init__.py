"""The tables as numbered SQL files, and the runner that applies each once.

Own code, because the migration tools for ClickHouse speak to a server and the embedded engine has none; it does
no more than they: files in order, a table of what was applied, nothing ever edited after it has landed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sinks.store import patiently

_FILES = Path(__file__).parent
_COMMENT = "--"


class Commands(Protocol):
    """What the runner needs of a store."""

    def command(self, sql: str) -> None: ...
    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[object, ...]]: ...


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the tables live. `cluster` empty: one engine, embedded or a single server.

    With a cluster the tables are replicated and created on every node. That form needs a server with Keeper: here
    it is only checked as far as the engine parses it.
    """

    cluster: str = ""

    def substitutions(self) -> dict[str, str]:
        if not self.cluster:
            return {
                "{on_cluster}": "",
                "{replacing}": "ReplacingMergeTree",
                "{replacing_by_revision}": "ReplacingMergeTree(revision)",
            }
        path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        return {
            "{on_cluster}": f"ON CLUSTER `{self.cluster}`",
            "{replacing}": f"ReplicatedReplacingMergeTree({path})",
            "{replacing_by_revision}": f"ReplicatedReplacingMergeTree({path}, revision)",
        }


def statements(placement: Placement) -> dict[str, list[str]]:
    """Every migration's statements, by file name, in order."""
    found = {}
    for path in sorted(_FILES.glob("*.sql")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith(_COMMENT))
        for placeholder, substitute in placement.substitutions().items():
            text = text.replace(placeholder, substitute)
        found[path.stem] = [statement.strip() for statement in text.split(";") if statement.strip()]
    return found


def migrate(store: Commands, placement: Placement) -> list[str]:
    """Apply what was not applied yet; the names applied. A crash in between is harmless: each statement repeats."""
    substitutions = placement.substitutions()
    patiently(
        store.command,
        f"CREATE TABLE IF NOT EXISTS schema_migrations {substitutions['{on_cluster}']} "
        "(name String, applied_at DateTime DEFAULT now()) "
        f"ENGINE = {substitutions['{replacing}']} ORDER BY name",
    )
    applied = {row[0] for row in patiently(store.query, "SELECT name FROM schema_migrations")}
    fresh = []
    for name, sqls in statements(placement).items():
        if name not in applied:
            for sql in sqls:
                patiently(store.command, sql)
            patiently(store.command, f"INSERT INTO schema_migrations (name) VALUES ('{name}')")
            fresh.append(name)
    return fresh
