"""`rtmeter status`: how far each partition has come, and what was refused."""

from rich.console import Console
from rich.table import Table

from billing.dead_letters import ReasonCount, counts_by_reason
from billing.queries import PROGRESS
from rtmeter.installation import Installation
from rtmeter.progress import Offsets, ProgressReader
from rtmeter.relational_store import dismissed_in
from schemas.instants import day_text
from sinks.positions import stored_positions
from sinks.store import StoreUnavailable, open_for_reading


def show_status(installation: Installation, database_url: str | None = None) -> None:
    """Print the tables to standard output. `database_url`: where letters are dismissed; None: in the data folder."""
    console = Console(highlight=False)
    closed: dict[int, int | None] = {}
    refused: list[ReasonCount] = []
    stored: Offsets = {}
    try:
        store = open_for_reading(installation.store_dsn, installation.store_folder)
    except StoreUnavailable as nothing_yet:
        console.print(f"(no figures of the store: {nothing_yet})")
    else:
        try:
            closed = {row[0]: row[2] for row in store.query(PROGRESS)}
            refused = counts_by_reason(store, dismissed_in(installation, database_url)())
            stored = stored_positions(store)
        finally:
            store.close()
    with installation.kafka() as servers:
        progress = ProgressReader(servers, installation.names, installation.topic_prefix).read(lambda: stored)

    table = Table("partition", "input end", "metered", "stored", "closed through", title="package-assignments")
    for part in progress.partitions:
        day = closed.get(part.partition)
        table.add_row(
            str(part.partition),
            str(part.input_end),
            str(part.metered),
            str(part.stored),
            "-" if day is None else day_text(day),
        )
    console.print(table)
    letters = Table("reason", "open", "of no known partner", "all", title="dead letters")
    for count in refused:
        letters.add_row(count.reason, str(count.open), str(count.open_of_nobody), str(count.all))
    console.print(letters if refused else "no dead letters")
    if any(count.open for count in refused):
        console.print("open dead letters are missing in reports: rtmeter dead-letters list")
    console.print(
        f"records still to meter: {progress.records_to_meter}, of all topics still to store: {progress.records_to_store}"
    )
