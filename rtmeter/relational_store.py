"""The relational store of an installation: opened, and what it says about dead letters."""

from sqlalchemy import Engine

from billing.dismissals import Dismissals, Dismissed, none_dismissed
from billing.relational.connect import open_engine, upgrade
from rtmeter.installation import Installation


def open_relational(installation: Installation, database_url: str | None) -> Engine:
    """The store at the URL given, or SQLite in the data folder, made if it is not there; its tables up to date."""
    folder = installation.data_dir.resolve()
    if database_url is None:
        folder.mkdir(parents=True, exist_ok=True)
    engine = open_engine(database_url or f"sqlite:///{folder / 'billing.db'}")
    upgrade(engine)
    return engine


def dismissed_in(installation: Installation, database_url: str | None) -> Dismissed:
    """The dismissed letters, for a command that only reads: it makes no store where there is none."""
    if database_url is None and not (installation.data_dir / "billing.db").exists():
        return none_dismissed
    return Dismissals(open_relational(installation, database_url)).letters
