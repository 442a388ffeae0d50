"""What two tables of one shape say differently, by key; and a bounded answer, whatever their size.

Current tables are compared by what they say (`FINAL`), not by the revisions at which it was written: those depend on
how the live workers cut their batches. Of histories, what was known is compared, at the instants where all of them
must agree: before each record that closed days, and at the end. Between two such cuts only the last row counts.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from sinks.rebuild.tables import Shape, rebuilt
from sinks.store import ReadableStore

_EXAMPLES = 5
_OLD, _NEW, _BOTH = "only in the old table", "only in the rebuilt one", "different"
_LONGEST_SHOWN = 100


class Example(Struct, frozen=True):
    """One key that differs, as JSON, and what each table says of it in the columns that differ."""

    key: str
    old: dict[str, str]
    new: dict[str, str]


class Difference(Struct):
    """How many keys are only in the old table, only in the rebuilt one, or in both with other content."""

    table: str
    only_old: int = 0
    only_new: int = 0
    different: int = 0
    examples: list[Example] = []

    def __bool__(self) -> bool:
        return bool(self.only_old or self.only_new or self.different)

    def lines(self) -> list[str]:
        """For people: one line a table, then one for each example."""
        if not self:
            return [f"{self.table}: no difference"]
        counts = ((self.only_old, _OLD), (self.only_new, _NEW), (self.different, _BOTH))
        lines = [f"{self.table}: " + ", ".join(f"{count} {what}" for count, what in counts if count)]
        for example in self.examples:
            shown = [f"{name} {_short(example.old, name)} -> {_short(example.new, name)}" for name in _names(example)]
            lines.append(f"  {example.key}: " + "; ".join(shown))
        return lines


def difference(
    store: ReadableStore, shape: Shape, cuts: Mapping[int, Sequence[int]] | None, assignments: str
) -> Difference:
    """What a table and its twin say differently.

    `cuts`: for histories, per partition the input prefixes at which both must say the same, beside the end. None: the
    rows come from the same records, and must have the same revisions.
    `assignments`: the topic whose records tell in which partition a customer is.
    """
    found = Difference(shape.table, examples=[])
    for sides in _sides(shape, cuts):
        parameters: dict[str, object] = {"assignments": assignments, "examples": _EXAMPLES}
        for kind, count, keys in store.query(_counts(sides), parameters):
            if kind == _OLD:
                found.only_old += count
            elif kind == _NEW:
                found.only_new += count
            else:
                found.different += count
            found.examples += _examples(store, sides, keys, parameters)
    return found


class _Sides(Struct, frozen=True):
    """The columns that make a key, and per table a query of them with `content` and `shown`."""

    key: tuple[str, ...]
    old: str
    new: str


def _sides(shape: Shape, cuts: Mapping[int, Sequence[int]] | None) -> list[_Sides]:
    if cuts is None or not shape.is_history:
        return [_Sides(shape.key, _current(shape, shape.table), _current(shape, rebuilt(shape.table)))]
    key = tuple(name for name in shape.key if name != "revision")
    found = []
    # A partition at a time: its cuts are then one constant array, which the engine searches by halves.
    for partition, offsets in cuts.items():
        where = f"partition = {partition}" if "partition" in shape.columns else _customers_of(partition)
        epochs = f"roundDown(toInt64(revision) - 1, [{', '.join(map(str, sorted({-1, *offsets})))}])"
        found.append(_history_sides(shape, key, epochs, where))
    elsewhere = " AND ".join(f"NOT ({found_in})" for found_in in _everywhere(shape, cuts))
    found.append(_history_sides(shape, key, "-1", elsewhere or "true"))
    return found


def _everywhere(shape: Shape, cuts: Mapping[int, Sequence[int]]) -> list[str]:
    if "partition" in shape.columns:
        return [f"partition IN [{', '.join(map(str, cuts))}]"] if cuts else []
    return [_customers_of(partition) for partition in cuts]


def _customers_of(partition: int) -> str:
    return (
        "customer_id IN (SELECT assumeNotNull(key) FROM raw_events "
        f"WHERE topic = {{assignments:String}} AND partition = {partition} AND key IS NOT NULL)"
    )


def _history_sides(shape: Shape, key: tuple[str, ...], epoch: str, where: str) -> _Sides:
    columns = ", ".join(key)

    def side(table: str) -> str:
        return (
            f"SELECT {columns}, since, argMax(row_content, revision) AS content, argMax(row_shown, revision) AS shown "
            f"FROM (SELECT {columns}, revision, {epoch} AS since, {_content(shape)} AS row_content, "
            f"{_shown(shape)} AS row_shown FROM {table} FINAL WHERE {where}) GROUP BY {columns}, since"
        )

    return _Sides((*key, "since"), side(shape.table), side(rebuilt(shape.table)))


def _current(shape: Shape, table: str) -> str:
    columns = ", ".join(shape.key)
    return f"SELECT {columns}, {_content(shape)} AS content, {_shown(shape)} AS shown FROM {table} FINAL"


def _stated(shape: Shape) -> str:
    """The columns that say something: not the key, and not when it was written."""
    return ", ".join(name for name in shape.content if name != "revision") or "''"


def _content(shape: Shape) -> str:
    # Of the exact bytes: a hash of the columns themselves takes an absent value for an empty one.
    return f"sipHash128(formatRowNoNewline('RowBinary', {_stated(shape)}))"


def _shown(shape: Shape) -> str:
    return f"formatRowNoNewline('JSONEachRow', {_stated(shape)})"


def _united(sides: _Sides, *, shown: bool) -> str:
    columns = ", ".join(sides.key) + ", content" + (", shown" if shown else "")
    return (
        f"SELECT 0 AS rebuilt, {columns} FROM ({sides.old}) UNION ALL SELECT 1 AS rebuilt, {columns} FROM ({sides.new})"
    )


def _counts(sides: _Sides) -> str:
    key = ", ".join(sides.key)
    return f"""
SELECT multiIf(has_new = 0, '{_OLD}', has_old = 0, '{_NEW}', '{_BOTH}') AS kind, count() AS keys,
       groupArraySorted({_EXAMPLES})(toJSONString(tuple({key}))) AS examples
FROM
(
    SELECT {key}, countIf(rebuilt = 0) AS has_old, countIf(rebuilt = 1) AS has_new,
           anyIf(content, rebuilt = 0) AS old, anyIf(content, rebuilt = 1) AS new
    FROM ({_united(sides, shown=False)})
    GROUP BY {key}
    HAVING has_old = 0 OR has_new = 0 OR old != new
)
GROUP BY kind ORDER BY kind
"""


def _examples(store: ReadableStore, sides: _Sides, keys: Sequence[str], parameters: dict[str, object]) -> list[Example]:
    key_text = f"toJSONString(tuple({', '.join(sides.key)}))"
    found = store.stream_binary(
        f"SELECT {key_text} AS key_text, rebuilt, shown FROM ({_united(sides, shown=True)}) "
        "WHERE key_text IN {keys:Array(String)} ORDER BY key_text, rebuilt",
        {**parameters, "keys": list(keys)},
    )
    said: dict[str, dict[int, dict[str, str]]] = {}
    for key, is_rebuilt, shown in (row for rows in found for row in rows):
        columns = msgspec.json.decode(shown.decode(errors="replace"), type=dict[str, msgspec.Raw])
        values = {name: bytes(value).decode() for name, value in columns.items()}
        said.setdefault(key.decode(errors="replace"), {})[is_rebuilt] = values
    return [_narrowed(key, sides.get(0, {}), sides.get(1, {})) for key, sides in said.items()]


def _narrowed(key: str, old: dict[str, str], new: dict[str, str]) -> Example:
    """Only the columns that differ."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return Example(
        key, {name: old[name] for name in names if name in old}, {name: new[name] for name in names if name in new}
    )


def _names(example: Example) -> list[str]:
    return list({**example.old, **example.new})


def _short(side: dict[str, str], name: str) -> str:
    text = side.get(name, "-")
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
