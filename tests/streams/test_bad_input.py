"""A record that cannot be metered becomes a dead letter, bytes untouched, and its neighbours are metered all the same."""

from collections.abc import Sequence

import pytest

from schemas.catalog import decode_catalog
from schemas.dead_letters import dead_letter_of, headers_of
from schemas.reasons import Refused
from streams.core.catalog import CatalogState
from streams.core.partition import Applied, PartitionState
from tests.schemas.examples import Example, refused
from tests.streams.laws import TOPIC, days_of, picture
from tests.streams.strategies import APPENDED_MS, DAY_MS, FIRST_DAY, Event, Record

CATALOG_TYPES = ("wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1")
REFUSED = [example for example in refused() if example.type not in CATALOG_TYPES]
REFUSED_BY_THE_CATALOG = [example for example in refused() if example.type in CATALOG_TYPES]


def _neighbour(kind: str, number: int, **data: object) -> Event:
    account = {"partnerOrgId": "good-partner", "customerOrgId": f"good-customer-{number % 2}"}
    return Event(f"wholesale.{kind}.v1", "/good", str(number), FIRST_DAY * DAY_MS + number, None, {**account, **data})


#: Good ones: of two customers, with a removal, an order and a repetition.
NEIGHBOURS = [
    _neighbour("package.assigned", 1, subscriberId="s", package="A", userId="u"),
    _neighbour("package.assigned", 2, subscriberId="s", package="A", userId="u"),
    _neighbour("setup-assist.ordered", 3, orderId="o", locationId="L", seats=7),
    _neighbour("package.removed", 30_000_005, subscriberId="s", package="A"),
]
NEIGHBOURS.append(NEIGHBOURS[0])


def _good(offset: int, event: Event) -> Record:
    return Record(offset, APPENDED_MS, event.key, event.value())


def _apply(records: Sequence[Record]) -> tuple[PartitionState, Applied]:
    state = PartitionState(TOPIC, 7)
    applied = state.apply(records)
    assert applied.taken == len(records)
    return state, applied


def _others(state: PartitionState) -> object:
    """All that is known of the neighbours."""
    return (
        {owner: found for owner, found in picture(state).items() if owner[0] == "good-partner"},
        {key: found for key, found in days_of(state).items() if key[0] == "good-partner"},
    )


ALONE, _ = _apply([_good(offset, event) for offset, event in enumerate(NEIGHBOURS)])


def test_there_are_hundreds_of_refused_examples() -> None:
    assert len(REFUSED) + len(REFUSED_BY_THE_CATALOG) >= 300


@pytest.mark.parametrize("position", ["first", "middle", "last"])
@pytest.mark.parametrize("example", REFUSED, ids=str)
def test_a_bad_record_is_kept_as_it_is_and_its_neighbours_are_metered(example: Example, position: str) -> None:
    place = {"first": 0, "middle": len(NEIGHBOURS) // 2, "last": len(NEIGHBOURS)}[position]
    records: list[Record] = []
    for value in example.after:
        records.append(Record(len(records), example.append_time_ms, example.key, value))
    for index in range(len(NEIGHBOURS) + 1):
        if index == place:
            bad = Record(len(records), example.append_time_ms, example.key, example.value)
            records.append(bad)
        if index < len(NEIGHBOURS):
            records.append(_good(len(records), NEIGHBOURS[index]))
    state, applied = _apply(records)

    (letter,) = applied.dead_letters
    assert letter.reason == example.reason
    assert letter.detail
    if example.field is not None:
        assert letter.detail.startswith(f"{example.field}:")
    assert (letter.key, letter.value) == (example.key, example.value)
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, 7, bad.offset)
    assert letter.append_time_ms == example.append_time_ms
    again = dead_letter_of(headers_of(letter), letter.key, letter.value)
    assert (again.reason, again.topic, again.partition, again.offset, again.append_time_ms, again.value) == (
        letter.reason,
        letter.topic,
        letter.partition,
        letter.offset,
        letter.append_time_ms,
        letter.value,
    )

    assert _others(state) == _others(ALONE)
    counted = state.watermark
    assert counted.refused == 1
    assert counted.duplicates >= 1
    assert counted.metered + counted.duplicates == len(NEIGHBOURS) + len(example.after)
    assert counted.metered + counted.duplicates + counted.refused + counted.day_closes == counted.next_offset
    assert counted.next_offset == len(records)


def test_all_bad_records_together_are_kept_in_order_and_the_neighbours_are_metered() -> None:
    records: list[Record] = []
    wanted: list[tuple[int, str | None, bytes]] = []
    alone = [example for example in REFUSED if not example.after]
    for number, example in enumerate(alone):
        wanted.append((len(records), example.reason, example.value))
        records.append(Record(len(records), example.append_time_ms, example.key, example.value))
        if number < len(NEIGHBOURS):
            records.append(_good(len(records), NEIGHBOURS[number]))
    state, applied = _apply(records)
    assert [(letter.offset, letter.reason, letter.value) for letter in applied.dead_letters] == wanted
    assert picture(state) == picture(ALONE)
    assert days_of(state) == days_of(ALONE)
    assert state.watermark.refused == len(alone)
    assert state.watermark.metered + state.watermark.duplicates + state.watermark.refused == len(records)


def test_a_bad_record_that_is_repeated_is_refused_each_time() -> None:
    (example, *_) = [example for example in REFUSED if example.reason == "bad-field"]
    records = [Record(offset, example.append_time_ms, example.key, example.value) for offset in range(3)]
    state, applied = _apply(records)
    assert [letter.offset for letter in applied.dead_letters] == [0, 1, 2]
    assert (state.watermark.refused, state.watermark.next_offset) == (3, 3)


def test_a_refused_record_takes_no_identity() -> None:
    good = _good(1, NEIGHBOURS[0])
    bad = Record(0, APPENDED_MS, good.key, (good.value or b"").replace(b'"A"', b'"not an item"'))
    state, applied = _apply([bad, good])
    assert [letter.offset for letter in applied.dead_letters] == [0]
    assert state.watermark.metered == 1


@pytest.mark.parametrize("example", REFUSED_BY_THE_CATALOG, ids=str)
def test_a_bad_catalog_record_is_refused_and_leaves_the_catalog_as_it_was(example: Example) -> None:
    catalog = CatalogState()
    for offset, value in enumerate(example.after):
        catalog.add(decode_catalog(value, example.key, example.append_time_ms, offset))
    partners, subscriptions = dict(catalog.partners), dict(catalog.subscriptions)
    with pytest.raises(Refused) as refusal:
        catalog.add(decode_catalog(example.value, example.key, example.append_time_ms, len(example.after)))
    assert refusal.value.reason == example.reason
    assert (catalog.partners, catalog.subscriptions) == (partners, subscriptions)
