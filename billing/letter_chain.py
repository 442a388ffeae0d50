"""How a dead letter came about and what became of it: the records that were redriven, from the first letter on."""

from enum import StrEnum

from msgspec import Struct

from billing.dead_letters import REDRIVES
from schemas.dead_letters import Origin
from sinks.store import ReadableStore


class RedriveOutcome(StrEnum):
    """`TAKEN`: metered, or a duplicate. `REFUSED`: it is a letter itself. `WAITING`: not judged yet."""

    TAKEN = "taken"
    REFUSED = "refused"
    WAITING = "waiting"


class Redrive(Struct, frozen=True):
    """A record that took a letter up again: the letter, where the record stands, and what became of it."""

    original: Origin
    copy: Origin
    sent_ms: int
    outcome: RedriveOutcome


def chain_of(store: ReadableStore, letter: Origin) -> list[Redrive]:
    """Every redriven record from a letter's first ancestor to its last descendants, in order of time."""
    found: dict[Origin, Redrive] = {}
    seen: set[Origin] = set()
    wanted = {letter}
    while wanted:
        seen |= wanted
        for redrive in _touching(store, wanted):
            found[redrive.copy] = redrive
        wanted = {origin for redrive in found.values() for origin in (redrive.original, redrive.copy)} - seen
    return sorted(found.values(), key=lambda redrive: (redrive.sent_ms, redrive.copy))


def newest_letters(chain: list[Redrive]) -> list[Origin]:
    """The letters of a chain that were not redriven themselves: what there is still to work on."""
    taken_up = {redrive.original for redrive in chain}
    return [r.copy for r in chain if r.outcome is RedriveOutcome.REFUSED and r.copy not in taken_up]


def _touching(store: ReadableStore, letters: set[Origin]) -> list[Redrive]:
    """The redriven records that take one of the letters up, or became one of them."""
    rows = store.query(
        f"""
SELECT original_topic, original_partition, original_offset, copy_topic, copy_partition, copy_offset, copy_time_ms,
       multiIf(refused, '{RedriveOutcome.REFUSED}', taken, '{RedriveOutcome.TAKEN}', '{RedriveOutcome.WAITING}')
FROM ({REDRIVES})
WHERE concat(original_topic, '/', toString(original_partition), '/', toString(original_offset)) IN {{letters:Array(String)}}
   OR concat(copy_topic, '/', toString(copy_partition), '/', toString(copy_offset)) IN {{letters:Array(String)}}
""",
        {"letters": sorted(map(str, letters))},
    )
    return [Redrive(Origin(*row[:3]), Origin(*row[3:6]), row[6], RedriveOutcome(row[7])) for row in rows]
