"""Statements on a store that nobody has open, in a process of its own: the engine takes one folder per process.

Run as `python -m tests.store_shell FOLDER`; statements come as a JSON list on standard input, and the rows of those that
give any leave as JSON, one list per statement.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sinks.store import open_embedded

_SECONDS = 120


def run_sql(folder: Path, *statements: str) -> list[list[list[Any]]]:
    """The rows of each statement; a statement that gives no rows gives none."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.store_shell", str(folder)],
        input=json.dumps(statements).encode(),
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer: list[list[list[Any]]] = json.loads(done.stdout)
    return answer


def main(folder: Path, statements: list[str]) -> None:
    with open_embedded(folder) as store:
        answers: list[Any] = []
        for statement in statements:
            if statement.lstrip().upper().startswith("SELECT"):
                answers.append(store.query(statement))
            else:
                store.command(statement)
                answers.append([])
    print(json.dumps(answers, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
