"""`rtmeter rebuild`: who must not run meanwhile, what is said, and whether it comes to the switch."""

import contextlib
import functools
import sys
from collections.abc import Iterator

import typer
from rich.progress import Progress, TaskID

from rtmeter.installation import Installation
from rtmeter.output import progress_bar, say
from rtmeter.progress import WORKER_GROUP
from schemas.topics import ENTITLEMENTS, load_topics
from sinks.migrations import Placement, migrate
from sinks.rebuild.run import Rebuild, Source
from sinks.rebuild.state_log import forget_sink_positions, recompute_log, states_to_write, without_state, write_log
from sinks.sink import SinkSettings
from sinks.store import Store, StoreUnavailable, open_store
from streams.groups import nobody_in
from streams.log import KafkaLog
from streams.topics import make_anew, partition_count

_SINK_GROUP = SinkSettings("").group


def rebuild_tables(
    installation: Installation,
    wanted: dict[Source, list[str]],
    switch: bool | None,
    *,
    keep: bool,
    accept_loss: bool,
) -> bool:
    """Rebuild, compare, and switch if asked; whether differences are left. `switch` None: ask where there is a terminal.

    StoreUnavailable or StillRunning if somebody else is at work on the store; RawEventsIncomplete.
    """
    differs = False
    with _store_alone(installation, switching=switch is not False) as store, contextlib.ExitStack() as kafka:
        migrate(store, Placement())
        for source, tables in wanted.items():
            one = Rebuild(store, installation.topic_prefix, tables)
            with progress_bar() as bar:
                task = bar.add_task(f"{len(tables)} tables from the {source}", total=None)

                show = functools.partial(_show, bar, task)
                if source is Source.TOPICS:
                    one.fill_from_topics(kafka.enter_context(installation.kafka()), show)
                else:
                    one.fill_from_raw_events(show)
            differs |= _compare_and_switch(one, switch, keep=keep, accept_loss=accept_loss)
    return differs


def _show(bar: Progress, task: TaskID, taken: int, total: int) -> None:
    bar.update(task, completed=taken, total=total)


def _compare_and_switch(one: Rebuild, switch: bool | None, *, keep: bool, accept_loss: bool) -> bool:
    found = one.differences()
    for difference in found:
        for line in difference.lines():
            say(line)
    for note in one.notes:
        say(f"note: {note}")
    lost = [found_in.table for found_in in found if found_in.only_old and found_in.table in one.partial]
    if switch is None and any(found) and sys.stdin.isatty():
        switch = typer.confirm("Put the rebuilt tables in place?", err=True)
    if switch and lost and not accept_loss:
        say(
            f"not switched: {', '.join(lost)} would lose rows that the topics do not hold any more. Rebuild from the raw "
            "events, or say --accept-loss"
        )
        switch = False
    if switch:
        for topic in one.switch(keep=keep):
            say(f"the sink will read {topic} from its beginning again")
        say("switched: " + ", ".join(one.tables))
        return False
    if keep:
        say("kept beside: " + ", ".join(f"{table}__rebuilt" for table in one.tables))
    else:
        one.drop()
    return any(found)


@contextlib.contextmanager
def _store_alone(installation: Installation, *, switching: bool) -> Iterator[Store]:
    """The store, with no sink at work on it; a server's may go on if nothing is switched."""
    if installation.store_dsn is None:
        if not (installation.store_folder / "chdb").exists():
            raise StoreUnavailable(f"there is no store in {installation.store_folder}: run `rtmeter up --drain` first")
        try:
            store = open_store(None, installation.store_folder)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error}: stop `rtmeter up` first") from error
    else:
        if switching:
            with installation.kafka() as servers:
                nobody_in(servers, installation.topic_prefix + _SINK_GROUP, "sinks are")
        store = open_store(installation.store_dsn, installation.store_folder)
    with store:
        yield store


def rebuild_state(installation: Installation, *, replace: bool) -> None:
    """Write the `entitlements` topic again, by the steps of `sinks.rebuild.state_log`.

    StillRunning, StoreUnavailable; StateUnclear, RawEventsIncomplete, InputLost if it can't be said what the state was.
    """
    names = installation.names
    with _store_alone(installation, switching=True) as store, installation.kafka() as servers:
        nobody_in(servers, installation.topic_prefix + WORKER_GROUP, "workers are")
        log = KafkaLog(servers)
        partition_count(servers, names)  # TopicMismatch if one is not there
        found = states_to_write(store, log, names)
        if not replace:
            found = without_state(store, log, names, found)
        # Before anything is deleted, all that will take its place is known to be right.
        passes = 2 if replace else 1
        with progress_bar() as bar:
            task = bar.add_task("records", total=passes * sum(extent.cut - extent.first for extent in found))
            advance = functools.partial(bar.advance, task)
            if replace:
                for extent in found:
                    recompute_log(store, names, extent, advance)
            if found:
                forget_sink_positions(store, names)
            if replace:
                make_anew(servers, names.entitlements, load_topics()[ENTITLEMENTS])
            for extent in found:
                held = recompute_log(store, names, extent, advance)
                write_log(log, names.entitlements, extent.partition, held)
                say(
                    f"partition {extent.partition}: {len(held.records)} records, the workers go on at offset "
                    f"{held.watermark.next_offset}"
                )
    say(f"{names.entitlements} holds the state again")
