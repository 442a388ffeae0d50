"""The relational stores that the register is tested on: the same tests on both."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from billing.relational.connect import open_engine, upgrade
from tests import postgresql


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """One server for all tests. Not in pytest's folders: only root may go through those, which the server is not."""
    if postgresql.programs() is None:
        pytest.skip("PostgreSQL is not installed: tested on SQLite alone (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="rtmeter-pg-") as folder, postgresql.running(Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store with its tables."""
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path / 'relational.db'}"
    else:
        found = request.getfixturevalue("postgresql_url")
        engine = open_engine(found)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    engine = open_engine(found)
    upgrade(engine)
    engine.dispose()
    return found
