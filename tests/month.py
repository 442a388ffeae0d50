"""A store with the month of `tests/data/month`, in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.store import ReadableStore, open_for_reading
from tests import store_process

MONTH = Path(__file__).parent / "data" / "month"


@pytest.fixture(scope="session")
def month_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose store answers."""
    folder = tmp_path_factory.mktemp("month")
    with store_process.serving(folder, [MONTH / "catalog.jsonl", MONTH / "events.jsonl"]):
        yield folder


@pytest.fixture(scope="session")
def month_store(month_folder: Path) -> ReadableStore:
    return open_for_reading(None, month_folder / "store")
