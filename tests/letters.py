"""A store with a dead letter in every state, in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.store import ReadableStore, open_for_reading
from tests.store_process import serving


@pytest.fixture(scope="session")
def letters_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose store answers, with the letters of `tests.billing.letters_store`."""
    folder = tmp_path_factory.mktemp("letters")
    with serving(folder, [], module="tests.billing.letters_store"):
        yield folder


@pytest.fixture(scope="session")
def letters_store(letters_folder: Path) -> ReadableStore:
    return open_for_reading(None, letters_folder / "store")
