"""Broken variants of the code, each with one fault that somebody could make or once made; the simulation catches each.

A variant is patched into the real classes while its seeds run. `as it was`: the code was like that, until the
simulation (or thinking about it) found it out.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec

import sinks.rows
import tests.simulation.processes
import tests.simulation.store
from schemas.daily_usage import DailyRow
from schemas.dead_letters import headers_of
from schemas.decode import AssignmentRecord
from schemas.entitlements import WATERMARK_KEY, Watermark, decode_key
from sinks.catalog import load_catalog
from sinks.loop import Position, SinkLoop
from sinks.rows import Block, SinkRecord
from sinks.store import StoreFailed
from streams.core.account import Account
from streams.core.day_map import DayMap
from streams.core.partition import Applied, PartitionState
from streams.core.restore import Restore
from streams.ledger import Ledger
from streams.positions import Batch, Positions

#: Name -> the patches that make the variant.
MUTANTS: dict[str, Callable[[], list[Any]]] = {}

Make = Callable[[], list[Any]]


def mutant(make: Make) -> Make:
    MUTANTS[make.__name__.replace("_", " ")] = make
    return make


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The code with one fault."""
    patches = MUTANTS[name]()
    for patch in patches:
        patch.start()
    tests.simulation.store.shapes.cache_clear()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
        tests.simulation.store.shapes.cache_clear()


def _instead(owner: Any, name: str, replacement: Any) -> Any:
    return mock.patch.object(owner, name, replacement)


# ---- the ledger's order of effects


def _write(*, watermark_first: bool = False, waits: bool = True) -> Callable[..., None]:
    def write(ledger: Ledger, partition: int, owned: Any, applied: Applied) -> None:
        names = ledger._names
        if watermark_first:
            ledger._write_watermark(partition, owned, applied.watermark)
        if applied.entitlements:
            ledger._log.write(names.entitlements, partition, applied.entitlements)
        owned.expected_end += len(applied.entitlements)
        ledger._write_daily_rows(partition, applied.daily_rows)
        for letter in applied.dead_letters:
            ledger._log.write_with_headers(names.dead_letters, partition, letter.key, letter.value, headers_of(letter))
        if waits and (applied.daily_rows or applied.dead_letters):
            ledger._log.wait()
        if not watermark_first:
            ledger._write_watermark(partition, owned, applied.watermark)

    return write


@mutant
def the_watermark_is_written_before_its_records() -> list[Any]:
    return [_instead(Ledger, "_write", _write(watermark_first=True))]


@mutant
def the_watermark_does_not_wait_for_rows_and_dead_letters() -> list[Any]:
    return [_instead(Ledger, "_write", _write(waits=False))]


@mutant
def the_group_hears_of_what_is_only_handed_over() -> list[Any]:
    original = Ledger._write_watermark

    def write(ledger: Ledger, partition: int, owned: Any, watermark: Watermark) -> None:
        ledger._durable[partition] = watermark.next_offset
        original(ledger, partition, owned, watermark)

    return [_instead(Ledger, "_write_watermark", write)]


@mutant
def a_fetch_that_was_thrown_away_is_not_read_again() -> list[Any]:
    return [_instead(Positions, "take_astray", lambda _: {})]


@mutant
def a_fetch_from_before_the_seek_counts__as_it_was() -> list[Any]:
    def take(
        positions: Positions,
        partition: int,
        records: Sequence[Any],
        first_offset: int,
        next_offset: int,
        *,
        current: bool,
    ) -> Batch | None:
        if not current or partition not in positions._next or partition in positions._astray:
            positions._astray.add(partition)
            return None
        first_offset, positions._next[partition] = positions._next[partition], next_offset
        return Batch(partition, first_offset, next_offset, records)

    return [_instead(Positions, "take", take)]


@mutant
def a_fetch_between_the_seek_and_its_end_is_forgotten__as_it_was() -> list[Any]:
    original = Positions.sought

    def sought(positions: Positions, offsets: Mapping[int, int]) -> None:
        positions._astray.clear()
        original(positions, offsets)

    return [_instead(Positions, "sought", sought)]


# ---- frozen owners and compaction


@mutant
def what_a_frozen_owner_overwrote_is_not_written_again() -> list[Any]:
    def heal(ledger: Ledger, partition: int, owned: Any) -> None:
        owned.foreign_from = None

    return [_instead(Ledger, "_heal", heal)]


@mutant
def nobody_looks_for_others_without_input__as_it_was() -> list[Any]:
    return [_instead(Ledger, "look_for_others", lambda _: None)]


@mutant
def a_restore_leaves_stale_values_at_the_end_of_the_log() -> list[Any]:
    return [_instead(Restore, "overwritten", frozenset())]


@mutant
def a_healing_leaves_a_stale_watermark_last__as_it_was() -> list[Any]:
    original_restore, original_write = Ledger._restore, Ledger._write_watermark
    healing: list[bool] = []

    def restore(ledger: Ledger, partition: int) -> Any:
        healing.append(True)
        try:
            return original_restore(ledger, partition)
        finally:
            healing.pop()

    def write(ledger: Ledger, partition: int, owned: Any, watermark: Watermark) -> None:
        if not healing:
            original_write(ledger, partition, owned, watermark)

    def look(ledger: Ledger) -> None:
        """Without the look, as it was."""

    return [
        _instead(Ledger, "_restore", restore),
        _instead(Ledger, "_write_watermark", write),
        _instead(Ledger, "look_for_others", look),
    ]


@mutant
def the_watermark_of_a_former_owner_counts_if_it_is_higher__as_it_was() -> list[Any]:
    def feed(restore: Restore, watermark: Watermark) -> None:
        known = restore._watermark
        if known is None or watermark.next_offset >= known.next_offset:
            restore._watermark = watermark

    return [_instead(Restore, "_feed_watermark", feed)]


@mutant
def a_new_owner_makes_no_claim() -> list[Any]:
    original = Ledger._write_watermark

    def write(ledger: Ledger, partition: int, owned: Any, watermark: Watermark) -> None:
        owned.claim = 0
        original(ledger, partition, owned, watermark)

    return [_instead(Ledger, "_write_watermark", write)]


# ---- restore


@mutant
def a_restore_takes_the_last_value_of_a_key() -> list[Any]:
    original = Restore.feed

    def feed(restore: Restore, key: bytes, value: bytes) -> None:
        owner = decode_key(key)
        if owner is not None:
            restore._state.account(owner.partner_id, owner.customer_id).put_at_rest(
                owner.subscriber_id, value, owner.part, owner.name
            )
        else:
            original(restore, key, value)

    return [_instead(Restore, "feed", feed)]


@mutant
def a_restore_takes_the_first_value_of_a_key() -> list[Any]:
    original = Restore.feed

    def feed(restore: Restore, key: bytes, value: bytes) -> None:
        owner = decode_key(key)
        if owner is not None:
            account = restore._state.account(owner.partner_id, owner.customer_id)
            if account.value_at_rest(owner.subscriber_id, owner.part, owner.name) is not None:
                return
        original(restore, key, value)

    return [_instead(Restore, "feed", feed)]


@mutant
def facts_beyond_the_watermark_are_kept() -> list[Any]:
    original = Account.rebuild
    return [_instead(Account, "rebuild", lambda account, length: original(account, 2**60))]


@mutant
def a_restore_counts_anew() -> list[Any]:
    original = Restore.finish

    def finish(restore: Restore) -> PartitionState:
        state = original(restore)
        state.watermark = msgspec.structs.replace(state.watermark, metered=0, duplicates=0)
        return state

    return [_instead(Restore, "finish", finish)]


@mutant
def a_restore_forgets_which_days_are_closed() -> list[Any]:
    original = Restore.finish

    def finish(restore: Restore) -> PartitionState:
        state = original(restore)
        state.watermark = msgspec.structs.replace(state.watermark, closed_through_day=None)
        return state

    return [_instead(Restore, "finish", finish)]


# ---- rows of closed days


def _written(change: Callable[[PartitionState, Applied, int | None], Applied]) -> list[Any]:
    """A variant that writes something else than it should."""
    original = PartitionState.apply

    def apply(state: PartitionState, records: Sequence[AssignmentRecord]) -> Applied:
        closed_before = state.watermark.closed_through_day
        return change(state, original(state, records), closed_before)

    return [_instead(PartitionState, "apply", apply)]


def _rows(keep: Callable[[DailyRow, int | None], bool]) -> list[Any]:
    def change(_: PartitionState, applied: Applied, closed_before: int | None) -> Applied:
        rows = [row for row in applied.daily_rows if keep(row, closed_before)]
        return msgspec.structs.replace(applied, daily_rows=rows)

    return _written(change)


@mutant
def zero_rows_are_left_out() -> list[Any]:
    return _rows(lambda row, _: bool(row.quantity_microdays or row.active_licences))


@mutant
def late_facts_do_not_restate_closed_days() -> list[Any]:
    return _rows(lambda row, closed_before: closed_before is None or row.day > closed_before)


@mutant
def late_facts_restate_the_last_closed_day_only() -> list[Any]:
    return _rows(lambda row, closed_before: closed_before is None or row.day >= closed_before)


@mutant
def rows_carry_a_clock_as_their_revision() -> list[Any]:
    clock = itertools.count(1)

    def change(_: PartitionState, applied: Applied, __: int | None) -> Applied:
        rows = [msgspec.structs.replace(row, revision=next(clock)) for row in applied.daily_rows]
        return msgspec.structs.replace(applied, daily_rows=rows)

    return _written(change)


@mutant
def rows_are_restated_only_where_the_run_changed_them_on_balance() -> list[Any]:
    original = PartitionState.apply

    def apply(state: PartitionState, records: Sequence[AssignmentRecord]) -> Applied:
        before = {
            (*owner, *group): day_map.entries
            for owner, account in state.accounts.items()
            for group, day_map in account.groups.items()
        }
        closed_before = state.watermark.closed_through_day
        applied = original(state, records)

        def is_news(row: DailyRow) -> bool:
            if closed_before is None or row.day > closed_before:
                return True
            day_map = DayMap(before.get((row.partner_id, row.customer_id, row.location_id, row.item), b""))
            _, *figures = next(day_map.usage(row.day, row.day))
            return figures != [row.quantity_microdays, row.active_licences]

        return msgspec.structs.replace(applied, daily_rows=[row for row in applied.daily_rows if is_news(row)])

    return [_instead(PartitionState, "apply", apply)]


@mutant
def a_close_is_taken_in_the_middle_of_a_run() -> list[Any]:
    original = PartitionState.apply

    def apply(state: PartitionState, records: Sequence[AssignmentRecord]) -> Applied:
        whole = original(state, records)
        while whole.taken < len(records):
            more = original(state, records[whole.taken :])
            whole = msgspec.structs.replace(
                more,
                taken=whole.taken + more.taken,
                entitlements=whole.entitlements + more.entitlements,
                daily_rows=whole.daily_rows + more.daily_rows,
                dead_letters=whole.dead_letters + more.dead_letters,
            )
        rows = [msgspec.structs.replace(row, revision=whole.watermark.next_offset) for row in whole.daily_rows]
        return msgspec.structs.replace(whole, daily_rows=rows)

    return [_instead(PartitionState, "apply", apply)]


@mutant
def a_day_is_closed_in_partition_0_first__as_it_was() -> list[Any]:
    def close(partitions: int, event: bytes, write: Callable[[int, bytes], None], wait: Callable[[], None]) -> None:
        for partition in range(partitions):
            write(partition, event)
        wait()

    return [_instead(tests.simulation.processes, "close_in_order", close)]


@mutant
def only_the_subscribers_that_events_name_are_written_again() -> list[Any]:
    original = PartitionState.apply

    def apply(state: PartitionState, records: Sequence[AssignmentRecord]) -> Applied:
        applied = original(state, records)
        named = set()
        for record in records:
            try:
                named.add(json.loads(record.value or b"")["data"].get("subscriberId"))
            except (ValueError, KeyError, AttributeError, TypeError):
                continue
        kept = [
            record
            for record in applied.entitlements
            if (owner := decode_key(record["key"])) is None or owner.subscriber_id in {*named, None}
        ]
        return msgspec.structs.replace(applied, entitlements=kept)

    return [_instead(PartitionState, "apply", apply)]


# ---- sinks


def _by_partition(records: Sequence[SinkRecord]) -> dict[tuple[str, int], list[SinkRecord]]:
    found: dict[tuple[str, int], list[SinkRecord]] = {}
    for record in records:
        found.setdefault((record.topic, record.partition), []).append(record)
    return found


@mutant
def a_sink_stores_its_position_before_the_rows() -> list[Any]:
    def store(loop: SinkLoop, records: Sequence[SinkRecord]) -> None:
        by_partition = _by_partition(records)
        positions = [Position(*where, some[-1].offset + 1) for where, some in by_partition.items()]
        if positions:
            loop._insert(sinks.rows.position_block(positions))
        for (topic, _), some in by_partition.items():
            for block in loop._builders[topic](some):
                loop._insert(block)
        loop._group.commit(positions)

    return [_instead(SinkLoop, "store", store)]


@mutant
def a_sink_commits_before_it_inserts() -> list[Any]:
    original = SinkLoop.store

    def store(loop: SinkLoop, records: Sequence[SinkRecord]) -> None:
        loop._group.commit([Position(*where, some[-1].offset + 1) for where, some in _by_partition(records).items()])
        original(loop, records)

    return [_instead(SinkLoop, "store", store)]


@mutant
def a_sink_goes_on_where_the_group_says() -> list[Any]:
    def begin(loop: SinkLoop, assigned: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        loop._catalog = loop._persist(lambda: load_catalog(loop._store), None)
        committed: dict[tuple[str, int], int] = loop._group._group.committed  # type: ignore[attr-defined]
        return {where: committed[where] for where in assigned if where in committed}

    # The check that the group only hears of what is stored would see it at once, for the wrong reason.
    return [
        _instead(SinkLoop, "begin", begin),
        _instead(tests.simulation.processes.SinkProcess, "commit", _commit_unchecked),
    ]


def _commit_unchecked(sink: Any, positions: Sequence[Position]) -> None:
    sink.effect("commits")
    sink._group.commit(sink.member, {position[:2]: position.offset for position in positions})


@mutant
def a_sink_skips_what_cannot_be_inserted() -> list[Any]:
    def insert(loop: SinkLoop, block: Block) -> None:
        if block.columns:
            try:
                loop._store.insert(block.table, block.names, block.columns)
            except StoreFailed:
                return

    return [_instead(SinkLoop, "_insert", insert)]


@mutant
def a_sink_remembers_the_catalog_that_it_once_read__as_it_was() -> list[Any]:
    original = SinkLoop.begin

    def begin(loop: SinkLoop, assigned: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        remembered = loop._catalog
        first = not hasattr(loop, "begun")
        loop.begun = True  # type: ignore[attr-defined]
        positions = original(loop, assigned)
        if not first:
            loop._catalog = remembered
        return positions

    return [_instead(SinkLoop, "begin", begin)]


@mutant
def a_sink_takes_the_last_watermark_for_the_highest__as_it_was() -> list[Any]:
    original = sinks.rows.entitlement_blocks

    def blocks(records: Sequence[SinkRecord]) -> list[Block]:
        made = original(records)
        marks = [record for record in records if record.key == WATERMARK_KEY]
        return made if len(marks) < 2 else [*made[:-1], original(marks[-1:])[0]]

    return [_instead(sinks.rows, "entitlement_blocks", blocks)]


# ---- tables


def _ddl(table: str, before: str, after: str, statement: str = "CREATE TABLE IF NOT EXISTS") -> list[Any]:
    original = tests.simulation.store.statements

    def changed(placement: Any) -> dict[str, list[str]]:
        found = {}
        count = 0
        for name, sqls in original(placement).items():
            found[name] = []
            for sql in sqls:
                if f"{statement} {table} " in sql and before in sql:
                    count += 1
                    sql = sql.replace(before, after)
                found[name].append(sql)
        assert count == 1, table
        return found

    return [_instead(tests.simulation.store, "statements", changed)]


@mutant
def the_daily_table_keeps_the_row_that_was_inserted_last() -> list[Any]:
    return _ddl("daily_usage", "ReplacingMergeTree(revision)", "ReplacingMergeTree")


@mutant
def the_timelines_table_keeps_the_row_that_was_inserted_last() -> list[Any]:
    return _ddl("timelines", "ReplacingMergeTree(revision)", "ReplacingMergeTree")


@mutant
def the_positions_table_keeps_the_row_that_was_inserted_last() -> list[Any]:
    return _ddl("sink_positions", "ReplacingMergeTree(revision)", "ReplacingMergeTree")


@mutant
def the_key_of_timelines_lacks_the_subscriber() -> list[Any]:
    key = "partner_id, customer_id, subscriber_id, segment"
    return _ddl("timelines", f"({key})", "(partner_id, customer_id, segment)", "ALTER TABLE")


@mutant
def the_key_of_the_daily_history_lacks_the_revision() -> list[Any]:
    return _ddl("daily_usage_history", "item, day, revision)", "item, day)")


@mutant
def the_key_of_raw_events_lacks_the_partition() -> list[Any]:
    return _ddl("raw_events", "ORDER BY (topic, partition, offset)", "ORDER BY (topic, offset)")
