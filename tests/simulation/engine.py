"""The model of the store beside the engine itself: the same inserts, the same current rows. Exits with 1 if they differ.

`python -m tests.simulation.engine FOLDER`: in a process of its own, because the engine takes one folder per process.
"""

import sys
from pathlib import Path

from sinks.migrations import Placement, migrate
from sinks.rows import DAILY_USAGE, PROGRESS
from sinks.store import open_embedded
from tests.simulation.dice import Dice
from tests.simulation.store import MemoryStore, Row, Violation

_COLUMNS = {
    "daily_usage": DAILY_USAGE,
    "daily_usage_history": DAILY_USAGE,
    "partition_progress": PROGRESS,
    "sink_positions": ("topic", "partition", "revision"),
}


def rows(table: str, dice: Dice) -> list[Row]:
    """A few rows of few keys and revisions, in any order; those of one key and revision are the same."""
    found: list[Row] = []
    for _ in range(1 + dice.below(4)):
        revision = dice.below(6)
        if table.startswith("daily_usage"):
            day = 20_700 + dice.below(3) * 20
            item = dice.one_of("AB")
            found.append(("p", "c", dice.one_of(("", "L")), item, day, revision * 7 + day, revision, revision))
        elif table == "sink_positions":
            found.append((dice.one_of(("one", "two")), dice.below(2), revision))
        else:
            found.append((dice.below(2), revision, None if revision < 3 else 20_700, revision, revision, 0, 0))
    return found


def compare(folder: Path) -> int:
    """How many times the engine and the model were asked and agreed. Violation where they do not."""
    model = MemoryStore()
    dice = Dice(1)
    agreed = 0
    with open_embedded(folder) as engine:
        migrate(engine, Placement())
        for step in range(120):
            table = dice.one_of(list(_COLUMNS))
            names = _COLUMNS[table]
            columns = [list(column) for column in zip(*rows(table, dice), strict=True)]
            engine.insert(table, names, columns)
            model.tables[table].insert(model.rows_of(table, names, columns))
            if step % 10 == 0:
                engine.command(f"OPTIMIZE TABLE {table} FINAL")
                model.merge_somewhere(dice)
            # Days as the integers that were inserted.
            picked = [f"toInt32({name})" if "day" in name and name != "day_closes" else name for name in names]
            asked = engine.query(f"SELECT {', '.join(picked)} FROM {table} FINAL")
            wanted = [tuple(row) for row in model.tables[table].final().values()]
            if sorted(map(repr, asked)) != sorted(map(repr, wanted)):
                raise Violation(f"{table}: the engine has {sorted(map(repr, asked))}, the model {wanted}")
            agreed += 1
    return agreed


if __name__ == "__main__":
    print(compare(Path(sys.argv[1])))
