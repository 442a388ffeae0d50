"""`rtmeter status`: how far each partition has come, and what was refused."""

from rich.console import Console
from rich.table import Table

from billing.queries import DEAD_LETTERS_BY_REASON, PROGRESS
from rtmeter.installation import Installation
from rtmeter.progress import Offsets, ProgressReader
from schemas.instants import day_text
from sinks.positions import stored_positions
from sinks.store import StoreUnavailable, open_for_reading


def show_status(installation: Installation) -> None:
    """Print the tables to standard output."""
    console = Console(highlight=False)
    closed: dict[int, int | None] = {}
    refused: list[tuple[str, int]] = []
    stored: Offsets = {}
    try:
        store = open_for_reading(installation.store_dsn, installation.store_folder)
    except StoreUnavailable as nothing_yet:
        console.print(f"(no figures of the store: {nothing_yet})")
    else:
        try:
            closed = {row[0]: row[2] for row in store.query(PROGRESS)}
            refused = [(row[0], row[1]) for row in store.query(DEAD_LETTERS_BY_REASON)]
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
    letters = Table("reason", "dead letters", title="refused")
    for reason, count in refused:
        letters.add_row(reason, str(count))
    console.print(letters if refused else "no dead letters")
    console.print(
        f"records still to meter: {progress.records_to_meter}, of all topics still to store: {progress.records_to_store}"
    )
