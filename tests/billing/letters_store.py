"""A store with a dead letter in every state that there is, each partition a case of its own.

Run as `python -m tests.billing.letters_store FOLDER`: see `tests.store_process`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.dead_letters import REDRIVES_HEADER, DeadLetter, Origin, headers_of, redrive_headers
from schemas.entitlements import WATERMARK_KEY, Watermark, encode_record
from schemas.instants import parse_time_ms
from sinks import rows
from sinks.migrations import Placement, migrate, statements
from sinks.rows import Block, SinkRecord
from sinks.store import Store, open_embedded
from tests.store_process import answer

PREFIX = "t."
TOPIC = f"{PREFIX}package-assignments"
CATALOG = f"{PREFIX}catalog"
ARRIVED_MS = parse_time_ms("2026-11-15T00:00:00Z")

#: The letters of every partition: (partition, offset) and what its bytes say of partner and time.
LETTERS: dict[tuple[str, int, int], dict[str, str]] = {
    # 0: a plain one; one whose copy at 50 was taken; one whose copy at 60 was refused.
    (TOPIC, 0, 10): {"partner": "A", "time": "2026-10-03T00:00:00Z"},
    (TOPIC, 0, 20): {"partner": "A", "time": "2026-10-03T00:00:00Z"},
    (TOPIC, 0, 30): {"partner": "A", "time": "2026-10-04T00:00:00Z"},
    (TOPIC, 0, 60): {"partner": "A", "time": "2026-10-04T00:00:00Z"},
    # 1: the state has counted two refusals and the store has one: the copy at 50 may be the other.
    (TOPIC, 1, 10): {"partner": "A", "time": "2026-10-31T23:59:59Z"},
    # 2: the copy at 50 is not metered yet.
    (TOPIC, 2, 10): {"partner": "A", "time": "2026-11-01T00:00:00Z"},
    # 3: retention has taken letters before the store was filled again, but a later one than the copy at 50 is there.
    (TOPIC, 3, 10): {"partner": "A", "time": "2026-10-05T00:00:00Z"},
    (TOPIC, 3, 70): {"partner": "B", "time": "2026-10-05T00:00:00Z"},
    # 4: two that people have dismissed, one of them redriven as well.
    (TOPIC, 4, 10): {"partner": "A", "time": "2026-10-06T00:00:00Z"},
    (TOPIC, 4, 20): {"partner": "A", "time": "2026-10-06T00:00:00Z"},
    # 5: a record that names itself, and one that names one to come: neither redrives anything.
    (TOPIC, 5, 10): {"partner": "A", "time": "2026-09-30T23:59:59Z"},
    (TOPIC, 5, 20): {"partner": "", "time": "2026-10-07T00:00:00Z"},
    # 6: its copy went to partition 0, at 90: the key was corrected.
    (TOPIC, 6, 10): {"partner": "A", "time": "2026-10-08T00:00:00Z"},
    # The catalog: one copy was taken, the other refused.
    (CATALOG, 0, 5): {"partner": "A", "time": "2026-10-08T00:00:00Z"},
    (CATALOG, 0, 6): {"partner": "A", "time": "2026-10-08T00:00:00Z"},
    (CATALOG, 0, 10): {"partner": "A", "time": "2026-10-09T00:00:00Z"},
}
DISMISSED = [Origin(TOPIC, 4, 10), Origin(TOPIC, 4, 20)]
#: Where each redriven record stands, and the letter that it names.
COPIES = {
    Origin(TOPIC, 0, 50): Origin(TOPIC, 0, 20),
    Origin(TOPIC, 0, 60): Origin(TOPIC, 0, 30),
    Origin(TOPIC, 0, 90): Origin(TOPIC, 6, 10),
    Origin(TOPIC, 1, 50): Origin(TOPIC, 1, 10),
    Origin(TOPIC, 2, 50): Origin(TOPIC, 2, 10),
    Origin(TOPIC, 3, 50): Origin(TOPIC, 3, 10),
    Origin(TOPIC, 4, 50): Origin(TOPIC, 4, 20),
    Origin(TOPIC, 5, 10): Origin(TOPIC, 5, 10),
    Origin(TOPIC, 5, 15): Origin(TOPIC, 5, 20),
    Origin(CATALOG, 0, 9): Origin(CATALOG, 0, 5),
    Origin(CATALOG, 0, 10): Origin(CATALOG, 0, 6),
}
#: (partition, input prefix, refusals that its state has counted)
PROGRESS = [(0, 100, 4), (1, 100, 2), (2, 40, 1), (3, 100, 5), (4, 100, 2), (5, 100, 2), (6, 100, 1)]

#: Bytes of letters that were stored before the columns were: what the engine tells of them must be what we tell.
OLD = [
    b'{"time":"2026-10-03T01:02:03.456789+02:00","data":{"partnerOrgId":"old","customerOrgId":"c"}}',
    b'{"time":"2026-10-03T01:02:03Z","data":{"partnerOrgId":"\\u00e4"}}',
    b'{"time":5,"data":{"partnerOrgId":5,"customerOrgId":null}}',
    b'{"time":"yesterday","data":[]}',
    b"[]",
    b"",
]
#: A partition of their own.
OLD_PARTITION = 9


def blocks() -> Iterator[Block]:
    """The rows that the sink makes of all that, each twice: it inserts at least once."""
    for _ in range(2):
        yield from rows.dead_letter_blocks([_letter_record(*origin, **said) for origin, said in LETTERS.items()])
        copies = [_copy(copy, redrive_headers(original)) for copy, original in COPIES.items()]
        yield from rows.raw_event_blocks([*copies, _copy(Origin(TOPIC, 0, 91), [(REDRIVES_HEADER, b"rubbish")])])
        for partition, revision, refused in PROGRESS:
            value = encode_record(revision, Watermark(revision, None, refused=refused))
            yield from rows.entitlement_blocks([SinkRecord("", partition, 0, ARRIVED_MS, WATERMARK_KEY, value)])


def letter(topic: str, partition: int, offset: int, partner: str, time: str) -> DeadLetter:
    data = {"customerOrgId": "c", **({"partnerOrgId": partner} if partner else {})}
    value = json.dumps({"time": time, "data": data}).encode()
    return DeadLetter("bad-field", "data.seats: is missing", topic, partition, offset, ARRIVED_MS, b"c", value)


def _letter_record(topic: str, partition: int, offset: int, partner: str, time: str) -> SinkRecord:
    made = letter(topic, partition, offset, partner, time)
    return SinkRecord("", 0, 0, ARRIVED_MS, made.key, made.value, headers_of(made))


def _copy(origin: Origin, headers: list[tuple[str, bytes]]) -> SinkRecord:
    return SinkRecord(origin.topic, origin.partition, origin.offset, ARRIVED_MS, b"c", b"{}", headers)


def _store_old_letters(store: Store) -> None:
    """Rows as they were before the second migration."""
    for sql in statements(Placement())["0001_tables"]:
        store.command(sql)
    names = ("topic", "partition", "offset", "append_time", "reason", "detail", "key", "value")
    count = len(OLD)
    columns = [[TOPIC] * count, [OLD_PARTITION] * count, list(range(count)), [ARRIVED_MS] * count]
    store.insert("dead_letters", names, [*columns, ["not-json"] * count, [""] * count, [b"k"] * count, OLD])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    opened = open_embedded(folder / "store")
    _store_old_letters(opened)
    migrate(opened, Placement())
    answer(opened, folder, blocks())
