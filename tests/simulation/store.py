"""A store in memory with the semantics of ReplacingMergeTree; keys and version columns are those of the migrations.

An insert is a part of its own. Merges drop what a row of a higher version replaces (at equal versions, or without any,
the row inserted last stays), and `FINAL` does the same for a question. A row that a table has under the same key and
version with another content is a violation, whoever inserted it: as known at a revision there is one truth.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sinks.migrations import Placement, statements
from tests.simulation.dice import Dice

Row = tuple[Any, ...]
Key = tuple[Any, ...]

_CREATE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (\w+)\s*(?:AS (\w+)|\((.*)\))\s*ENGINE = (\w+)(?:\((\w+)\))?(.*)", re.DOTALL
)
_ALTER = re.compile(r"ALTER TABLE (\w+)\s+((?:ADD COLUMN|MATERIALIZE COLUMN).*)", re.DOTALL)
_ADD = re.compile(r"ADD COLUMN IF NOT EXISTS (\w+)")
_ORDER_BY = re.compile(r"ORDER BY (?:\(([^)]*)\)|(\w+))")
_QUERY = re.compile(r"SELECT (.+) FROM (\w+)( FINAL)?(?: ORDER BY (\w+))?")


class Violation(AssertionError):
    """Something that must never be, seen while it happened."""


@dataclass(frozen=True)
class Shape:
    """A table as its migration declares it. `version`: the index of the version column, if there is one."""

    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    version: int | None


@cache
def shapes() -> dict[str, Shape]:
    """Every table of the migrations."""
    found: dict[str, Shape] = {}
    for sqls in statements(Placement()).values():
        for sql in sqls:
            created = _CREATE.match(sql)
            if created is None:
                altered = _ALTER.match(sql)
                if altered is not None:
                    found[altered[1]] = _altered(found[altered[1]], altered[2])
                elif "CREATE TABLE" in sql or "ALTER TABLE" in sql:
                    raise AssertionError(f"the simulation must learn to read this statement: {sql}")
                continue
            name, like, declared, engine, version, rest = created.groups()
            columns = found[like].columns if like else _columns(declared)
            order = _ORDER_BY.search(rest)
            assert engine == "ReplacingMergeTree"
            assert order is not None
            key = tuple(columns.index(column.strip()) for column in (order[1] or order[2]).split(","))
            found[name] = Shape(name, columns, key, None if version is None else columns.index(version))
    return found


def _altered(shape: Shape, changes: str) -> Shape:
    """The table with more columns, and another key if one is given. To fill a column for old rows changes neither."""
    columns = (*shape.columns, *_ADD.findall(changes))
    order = _ORDER_BY.search(changes)
    key = shape.key if order is None else tuple(columns.index(column.strip()) for column in order[1].split(","))
    return Shape(shape.name, columns, key, shape.version)


def _columns(declared: str) -> tuple[str, ...]:
    names = [line.split()[0] for line in declared.splitlines() if line.strip()]
    return tuple(name for name in names if name != "INDEX")


class Table:
    """Parts of rows, in order of insertion."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.parts: list[list[tuple[Key, Row]]] = []
        self._content: dict[tuple[Key, Any], Row] = {}

    def insert(self, rows: Sequence[Row]) -> None:
        key_of, version = self.shape.key, self.shape.version
        part = []
        for row in rows:
            key = tuple([row[index] for index in key_of])
            known = self._content.setdefault((key, None if version is None else row[version]), row)
            if known is not row and known != row:
                raise Violation(f"{self.shape.name}: one key and version, two contents: {known} and {row}")
            part.append((key, row))
        self.parts.append(part)

    def merge(self, first: int) -> None:
        """Make one part of a part and the next."""
        kept = self._winners(self.parts[first : first + 2])
        self.parts[first : first + 2] = [list(kept.items())]

    def final(self) -> dict[Key, Row]:
        """The current row of each key."""
        return self._winners(self.parts)

    def _winners(self, parts: list[list[tuple[Key, Row]]]) -> dict[Key, Row]:
        version = self.shape.version
        won: dict[Key, Row] = {}
        if version is None:
            for part in parts:
                won.update(part)
            return won
        for part in parts:
            for key, row in part:
                known = won.get(key)
                if known is None or row[version] >= known[version]:
                    won[key] = row
        return won


class MemoryStore:
    """All tables; what a statement does when it is carried out. Faults are the caller's."""

    def __init__(self) -> None:
        self.tables = {name: Table(shape) for name, shape in shapes().items()}
        self._all = list(self.tables.values())

    def rows_of(self, table: str, names: Sequence[str], columns: Sequence[Sequence[object]]) -> list[Row]:
        """An insert's columns as rows of the table: missing columns are an error, as in a key they would be."""
        wanted = self.tables[table].shape.columns
        if tuple(names) == wanted:
            return list(zip(*columns, strict=True))
        by_name = dict(zip(names, columns, strict=True))
        return list(zip(*[by_name[name] for name in wanted], strict=True))

    def query(self, sql: str) -> list[Row]:
        asked = _QUERY.fullmatch(sql)
        assert asked is not None, f"the simulation must learn to answer: {sql}"
        table = self.tables[asked[2]]
        columns = table.shape.columns
        rows = list(table.final().values()) if asked[3] else [row for part in table.parts for _, row in part]
        if asked[4]:
            order = columns.index(asked[4])
            rows.sort(key=lambda row: row[order])
        picked = [columns.index(name.strip()) for name in asked[1].split(",")]
        return [tuple(row[index] for index in picked) for row in rows]

    def merge_somewhere(self, dice: Dice) -> None:
        table = dice.one_of(self._all)
        if len(table.parts) > 1:
            table.merge(dice.below(len(table.parts) - 1))
