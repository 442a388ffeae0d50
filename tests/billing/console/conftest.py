from pathlib import Path

import pytest

from tests.billing.api.world import World


@pytest.fixture
def world(tmp_path: Path, month_folder: Path) -> World:
    """An API of its own, on the store of the month."""
    return World(tmp_path, month_folder)
