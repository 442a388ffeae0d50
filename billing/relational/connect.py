"""Opening the relational store, its transactions, and bringing its tables up to date."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

_MIGRATIONS = Path(__file__).with_name("migrations")
_BUSY_SECONDS = 30
#: Any number, the same in every process: who holds it migrates.
_MIGRATION_LOCK = 7_264_119_035


class RelationalStoreUnavailable(ConnectionError):
    """The relational store does not open. The message says which and why, without its password."""


def open_engine(url: str) -> Engine:
    """The store at a URL: `sqlite:///file` or `postgresql+psycopg://user:password@host/database`.

    RelationalStoreUnavailable if it does not answer.
    """
    sqlite = url.startswith("sqlite")
    # A connection to a file costs nothing, and one that is kept would be shared with a forked process.
    options: dict[str, Any] = {"poolclass": NullPool} if sqlite else {"pool_pre_ping": True}
    engine = create_engine(url, **options)
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise RelationalStoreUnavailable(f"the relational store {shown} does not open: {error}") from error
    return engine


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that will write. On SQLite it waits for other writers at its begin, not in its middle."""
    with engine.connect() as connection:
        # Noted on this connection alone; `_begin_sqlite` reads it.
        connection = connection.execution_options(writes=True)
        with connection.begin():
            yield connection


def upgrade(engine: Engine) -> None:
    """Apply the migrations that are missing; of several processes at once one does, the others wait for it."""
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings, for a connection whose transaction is the caller's."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _configure_sqlite(connection: Any, _: object) -> None:
    # SQLAlchemy begins transactions by itself (below): the driver must not, or DDL would end them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
