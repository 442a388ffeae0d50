"""Dead letters as a workplace: which are open, whose they are, and which days miss them.

A letter is open until a record that takes it up again was accepted (metered, or a duplicate), or until a person has
dismissed it. A redriven record that is refused becomes a letter of its own: then the first one is closed through it,
and the newest of the chain is the one that is open, so nothing is counted twice.

Nothing here is kept: every state follows from the letters, the redriven records, how far each partition has come, and
the dismissals. Where it cannot be told yet the letter counts as open.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from billing.queries import Query
from schemas.dead_letters import DeadLetter, Origin
from sinks.store import ReadableStore


class LetterState(StrEnum):
    """`WAITING`: redriven, and not judged yet. `REFUSED_AGAIN`: closed through the newer letter that came of it."""

    OPEN = "open"
    WAITING = "waiting"
    REDRIVEN = "redriven"
    REFUSED_AGAIN = "refused-again"
    DISMISSED = "dismissed"

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something."""
        return self in OPEN_STATES


OPEN_STATES = (LetterState.OPEN, LetterState.WAITING)
_OPEN = f"state IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})"


class Letter(Struct, frozen=True):
    """A dead letter. `partner_id` and `customer_id` are '' and `time_ms` None where its bytes do not tell.

    `day`: the day, in days since the epoch, from which on reports miss it.
    """

    origin: Origin
    reason: str
    detail: str
    partner_id: str
    customer_id: str
    time_ms: int | None
    day: int
    append_time_ms: int
    state: LetterState


class LetterFilter(Struct, frozen=True):
    """Equalities and bounds of the arrival, half-open; None lets all through. `partner_id` '': nobody's."""

    origin: Origin | None = None
    reason: str | None = None
    partner_id: str | None = None
    customer_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    only_open: bool = True


class OpenLetters(Struct, frozen=True):
    """How many open letters of some orgs there are of a period, and of the days before it.

    Those of before count too: an assignment of September that was refused is missing in October as well.
    """

    of_period: int
    before: int


class ReasonCount(Struct, frozen=True):
    """Letters of one reason: all, those that are open, and how many of these nobody's partner can be told of."""

    reason: str
    all: int
    open: int
    open_of_nobody: int


class OpenOfReason(Struct, frozen=True):
    """Open letters of one reason, and when the oldest of them arrived (ms since the epoch)."""

    reason: str
    open: int
    oldest_ms: int


# A partition's records are judged before `judged_before` as far as the store knows. Rows of dead letters and of progress
# come by different topics: that a record is not among the letters says that it was taken only if all letters before
# are stored. They are when they are as many as the partition's state has counted, or up to a letter that is stored,
# because a partition's letters are written, and stored, in order.
_JUDGED = """
    SELECT progress.partition AS judged_partition,
           if(progress.refused = counted.stored, toInt64(progress.revision),
              least(toInt64(progress.revision), counted.last_letter)) AS judged_before
    FROM (SELECT partition, revision, refused FROM partition_progress FINAL) AS progress
    LEFT JOIN
    (
        SELECT letter.partition AS partition, uniqExactIf(letter.offset, letter.offset < known.revision) AS stored,
               max(letter.offset) AS last_letter
        FROM
        (
            SELECT partition, offset FROM dead_letters
            WHERE topic LIKE '%package-assignments'
              AND partition IN (SELECT partition FROM redrives WHERE topic LIKE '%package-assignments')
        ) AS letter
        INNER JOIN (SELECT partition, toInt64(revision) AS revision FROM partition_progress FINAL) AS known
        USING (partition)
        GROUP BY partition
    ) AS counted USING (partition)
"""

# What became of each redriven record. Who names itself, or what comes after it, redrives nothing.
REDRIVES = f"""
    SELECT original_topic, original_partition, original_offset,
           copy.topic AS copy_topic, copy.partition AS copy_partition, copy.offset AS copy_offset,
           toUnixTimestamp64Milli(copy.append_time) AS copy_time_ms,
           (copy.topic, copy.partition, copy.offset) IN
           (
               SELECT topic, partition, offset FROM dead_letters
               WHERE (topic, partition, offset) IN (SELECT topic, partition, offset FROM redrives)
           ) AS refused,
           NOT refused AND (copy.topic LIKE '%catalog' OR copy.offset < judged.judged_before) AS taken
    FROM (SELECT * FROM redrives FINAL) AS copy
    LEFT JOIN ({_JUDGED}) AS judged ON copy.partition = judged.judged_partition
    WHERE NOT (copy.topic = original_topic AND copy.partition = original_partition
               AND copy.offset <= original_offset)
"""

_LETTER = "topic, partition, offset, reason, detail, partner_id, customer_id, time_ms, day, append_ms, state"


def letters_query(where: str, more: str = "") -> str:
    """The letters of a condition with their states; `more`: further columns. Needs the parameter `dismissed`.

    Not FINAL: a letter's rows are alike, and to take one of each is cheaper than to merge all.
    """
    return f"""
SELECT letter.*, multiIf(
           outcome.taken, '{LetterState.REDRIVEN}',
           concat(letter.topic, '/', toString(letter.partition), '/', toString(letter.offset))
               IN (SELECT arrayJoin(splitByChar(',', {{dismissed:String}}))), '{LetterState.DISMISSED}',
           outcome.refused, '{LetterState.REFUSED_AGAIN}',
           outcome.sent, '{LetterState.WAITING}',
           '{LetterState.OPEN}') AS state
FROM
(
    SELECT topic, partition, offset, reason, detail, partner_id, customer_id, time_ms, day,
           toUnixTimestamp64Milli(append_time) AS append_ms{more}
    FROM dead_letters WHERE {where} LIMIT 1 BY topic, partition, offset
) AS letter
LEFT JOIN
(
    SELECT original_topic, original_partition, original_offset, max(taken) AS taken, max(refused) AS refused, 1 AS sent
    FROM ({REDRIVES}) GROUP BY original_topic, original_partition, original_offset
) AS outcome
ON letter.topic = outcome.original_topic AND letter.partition = outcome.original_partition
   AND letter.offset = outcome.original_offset
"""


def open_letters(
    store: ReadableStore, owner_ids: Sequence[str], first_day: int, last_day: int, dismissed: Sequence[Origin]
) -> OpenLetters:
    """The open letters of some orgs that a report of these days misses, or may miss (days since the epoch)."""
    found = open_letters_by_owner(store, owner_ids, first_day, last_day, dismissed).values()
    return OpenLetters(sum(letters.of_period for letters in found), sum(letters.before for letters in found))


def open_letters_by_owner(
    store: ReadableStore, owner_ids: Sequence[str], first_day: int, last_day: int, dismissed: Sequence[Origin]
) -> dict[str, OpenLetters]:
    """The same of each org that has any."""
    letters = letters_query("partner_id IN {owners:Array(String)} AND day <= {last_day:Int32}")
    parameters = {"owners": list(owner_ids), "first_day": first_day, "last_day": last_day, **_dismissed(dismissed)}
    rows = store.query(
        f"SELECT partner_id, countIf(day >= {{first_day:Int32}}), countIf(day < {{first_day:Int32}}) "
        f"FROM ({letters}) WHERE {_OPEN} GROUP BY partner_id",
        parameters,
    )
    return {owner_id: OpenLetters(of_period, before) for owner_id, of_period, before in rows}


def counts_by_reason(store: ReadableStore, dismissed: Sequence[Origin]) -> list[ReasonCount]:
    """All letters by reason, and how many are open, over all partners."""
    rows = store.query(
        f"SELECT reason, count(), countIf({_OPEN}), countIf({_OPEN} AND partner_id = '') "
        f"FROM ({letters_query('1')}) GROUP BY reason ORDER BY reason",
        _dismissed(dismissed),
    )
    return [ReasonCount(*row) for row in rows]


def open_by_reason(store: ReadableStore, dismissed: Sequence[Origin]) -> list[OpenOfReason]:
    """The open letters of each reason that has any, over all partners."""
    rows = store.query(
        f"SELECT reason, count(), min(append_ms) FROM ({letters_query('1')}) WHERE {_OPEN} GROUP BY reason",
        _dismissed(dismissed),
    )
    return [OpenOfReason(*row) for row in rows]


def count_letters(store: ReadableStore, wanted: LetterFilter, dismissed: Sequence[Origin]) -> int:
    """How many letters a filter lets through."""
    query = _filtered(wanted, dismissed)
    return int(store.query(f"SELECT count() FROM ({query.sql})", query.parameters)[0][0])


def find_letters(
    store: ReadableStore, wanted: LetterFilter, dismissed: Sequence[Origin], limit: int | None = None
) -> Iterator[Letter]:
    """The letters that a filter lets through, in order of arrival."""
    query = _filtered(wanted, dismissed)
    for rows in store.stream(_ordered(_LETTER, query.sql, limit), query.parameters):
        for row in rows:
            yield _letter(row)


def find_whole_letters(
    store: ReadableStore, wanted: LetterFilter, dismissed: Sequence[Origin]
) -> Iterator[tuple[Letter, DeadLetter]]:
    """As `find_letters`, each with its key and bytes."""
    query = _filtered(wanted, dismissed, ", key, value")
    for rows in store.stream_binary(_ordered(f"{_LETTER}, key, value", query.sql, None), query.parameters):
        for *columns, key, value in rows:
            letter = _letter([c.decode("utf-8", "replace") if isinstance(c, bytes) else c for c in columns])
            origin = letter.origin
            yield (
                letter,
                DeadLetter(
                    letter.reason,
                    letter.detail,
                    origin.topic,
                    origin.partition,
                    origin.offset,
                    letter.append_time_ms,
                    key,
                    value,
                ),
            )


def _letter(row: Sequence[Any]) -> Letter:
    topic, partition, offset, reason, detail, partner_id, customer_id, time_ms, day, append_time_ms, state = row
    origin = Origin(topic, partition, offset)
    return Letter(origin, reason, detail, partner_id, customer_id, time_ms, day, append_time_ms, LetterState(state))


def _filtered(wanted: LetterFilter, dismissed: Sequence[Origin], more: str = "") -> Query:
    conditions = {
        "reason = {reason:String}": wanted.reason,
        "partner_id = {partner:String}": wanted.partner_id,
        "customer_id = {customer:String}": wanted.customer_id,
        "append_time >= fromUnixTimestamp64Milli({since:Int64})": wanted.since_ms,
        "append_time < fromUnixTimestamp64Milli({until:Int64})": wanted.until_ms,
    }
    names = ("reason", "partner", "customer", "since", "until")
    parameters: dict[str, object] = {
        name: value for name, value in zip(names, conditions.values(), strict=True) if value is not None
    }
    given = [condition for condition, value in conditions.items() if value is not None]
    if wanted.origin is not None:
        given.append("topic = {topic:String} AND partition = {partition:UInt32} AND offset = {offset:Int64}")
        origin = wanted.origin
        parameters |= {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
    letters = letters_query(" AND ".join(given) or "1", more)
    chosen = f"SELECT * FROM ({letters}) WHERE {_OPEN}" if wanted.only_open else letters
    return Query(chosen, {**parameters, **_dismissed(dismissed)})


def _ordered(columns: str, sql: str, limit: int | None) -> str:
    most = "" if limit is None else f"LIMIT {limit}"
    return f"SELECT {columns} FROM ({sql}) ORDER BY append_ms, topic, partition, offset {most}"


def _dismissed(letters: Sequence[Origin]) -> dict[str, object]:
    # One text: the engine takes seconds to read an array of many thousands.
    return {"dismissed": ",".join(map(str, letters))}
