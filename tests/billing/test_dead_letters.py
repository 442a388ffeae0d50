"""Which letters are open: from the rows that the sink makes, on the engine."""

import pytest

from billing import dead_letters
from billing.dead_letters import (
    LetterFilter,
    LetterState,
    OpenLetters,
    counts_by_reason,
    find_letters,
    find_whole_letters,
    open_letters,
)
from billing.letter_chain import RedriveOutcome, chain_of, newest_letters
from schemas.dead_letters import DeadLetter, Origin, day_counted, stated_in
from schemas.instants import day_number
from sinks.store import ReadableStore
from tests.billing.letters_store import ARRIVED_MS, CATALOG, DISMISSED, LETTERS, OLD, OLD_PARTITION, TOPIC, letter

STATES = {
    (TOPIC, 0, 10): LetterState.OPEN,
    (TOPIC, 0, 20): LetterState.REDRIVEN,
    (TOPIC, 0, 30): LetterState.REFUSED_AGAIN,
    (TOPIC, 0, 60): LetterState.OPEN,
    (TOPIC, 1, 10): LetterState.WAITING,
    (TOPIC, 2, 10): LetterState.WAITING,
    (TOPIC, 3, 10): LetterState.REDRIVEN,
    (TOPIC, 3, 70): LetterState.OPEN,
    (TOPIC, 4, 10): LetterState.DISMISSED,
    (TOPIC, 4, 20): LetterState.REDRIVEN,
    (TOPIC, 5, 10): LetterState.OPEN,
    (TOPIC, 5, 20): LetterState.OPEN,
    (TOPIC, 6, 10): LetterState.REDRIVEN,
    (CATALOG, 0, 5): LetterState.REDRIVEN,
    (CATALOG, 0, 6): LetterState.REFUSED_AGAIN,
    (CATALOG, 0, 10): LetterState.OPEN,
}
OCTOBER = (day_number("2026-10-01"), day_number("2026-10-31"))


def states(store: ReadableStore, *, only_open: bool = False) -> dict[tuple[str, int, int], LetterState]:
    found = [
        one
        for one in find_letters(store, LetterFilter(only_open=only_open), DISMISSED)
        if one.origin.partition != OLD_PARTITION
    ]
    assert len({one.origin for one in found}) == len(found), "a row that was inserted twice is one letter"
    return {(one.origin.topic, one.origin.partition, one.origin.offset): one.state for one in found}


def test_every_letter_is_in_the_state_that_follows_from_its_copies(letters_store: ReadableStore) -> None:
    assert states(letters_store) == STATES
    assert states(letters_store, only_open=True) == {key: state for key, state in STATES.items() if state.is_open}


@pytest.mark.parametrize(
    ("right", "wrong", "closes"),
    [
        ("if(progress.refused = counted.stored,", "if(1,", (TOPIC, 1, 10)),
        ("copy.offset < judged.judged_before", "1", (TOPIC, 2, 10)),
        ("WHERE NOT (copy.topic = original_topic", "WHERE NOT (copy.topic = ''", (TOPIC, 5, 10)),
    ],
)
def test_a_query_that_believes_too_much_is_caught(
    letters_store: ReadableStore,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
    wrong: str,
    closes: tuple[str, int, int],
) -> None:
    assert right in dead_letters.REDRIVES
    monkeypatch.setattr(dead_letters, "REDRIVES", dead_letters.REDRIVES.replace(right, wrong))
    assert states(letters_store)[closes] != STATES[closes]


def test_open_letters_are_counted_by_the_days_that_miss_them(letters_store: ReadableStore) -> None:
    open_of_a = {key for key, state in STATES.items() if state.is_open and LETTERS[key]["partner"] == "A"}
    days = {key: day_number(LETTERS[key]["time"][:10]) for key in open_of_a}
    of_october = [key for key, day in days.items() if OCTOBER[0] <= day <= OCTOBER[1]]
    before = [key for key, day in days.items() if day < OCTOBER[0]]
    assert (len(of_october), len(before), len(open_of_a)) == (4, 1, 6)
    assert open_letters(letters_store, ["A"], *OCTOBER, DISMISSED) == OpenLetters(4, 1)
    assert open_letters(letters_store, ["A", "B"], *OCTOBER, DISMISSED) == OpenLetters(5, 1)
    assert open_letters(letters_store, ["A"], *OCTOBER, []) == OpenLetters(5, 1), "nobody has dismissed any"
    assert open_letters(letters_store, ["nobody"], *OCTOBER, DISMISSED) == OpenLetters(0, 0)
    assert open_letters(letters_store, [], *OCTOBER, DISMISSED) == OpenLetters(0, 0)


def test_letters_that_name_no_partner_are_counted_as_nobodys(letters_store: ReadableStore) -> None:
    by_reason = {count.reason: count for count in counts_by_reason(letters_store, DISMISSED)}
    bad_field = by_reason["bad-field"]
    assert (bad_field.all, bad_field.open, bad_field.open_of_nobody) == (len(LETTERS), 8, 1)


def test_a_filter_lets_through_what_it_says(letters_store: ReadableStore) -> None:
    def found(**wanted: object) -> int:
        return len(list(find_letters(letters_store, LetterFilter(**wanted), DISMISSED)))  # type: ignore[arg-type]

    assert found(partner_id="B") == 1
    assert found(partner_id="", reason="bad-field") == 1
    assert found(customer_id="c", reason="bad-field") == 8
    assert found(since_ms=ARRIVED_MS, reason="bad-field") == 8
    assert found(since_ms=ARRIVED_MS + 1) == found(until_ms=ARRIVED_MS) == 0
    assert found(origin=Origin(TOPIC, 0, 20)) == 0
    assert found(origin=Origin(TOPIC, 0, 20), only_open=False) == 1


def test_a_letter_comes_back_byte_for_byte(letters_store: ReadableStore) -> None:
    for key, said in LETTERS.items():
        wanted = LetterFilter(origin=Origin(*key), only_open=False)
        ((shown, whole),) = find_whole_letters(letters_store, wanted, DISMISSED)
        assert whole == letter(*key, **said)
        assert (shown.origin, shown.partner_id, shown.customer_id) == (Origin(*key), said["partner"], "c")


def test_rows_of_before_say_what_the_sink_would_have_said(letters_store: ReadableStore) -> None:
    """Of JSON, that is: text that is none is searched by the sink alone."""
    rows = letters_store.query(
        "SELECT offset, partner_id, customer_id, time_ms, day FROM dead_letters FINAL "
        "WHERE partition = {partition:UInt32} ORDER BY offset",
        {"partition": OLD_PARTITION},
    )
    for (offset, *found), value in zip(rows, OLD, strict=True):
        old = DeadLetter("not-json", "", TOPIC, OLD_PARTITION, offset, ARRIVED_MS, b"k", value)
        stated = stated_in(old)
        assert found == [stated.partner_id, stated.customer_id, stated.time_ms, day_counted(old, stated)], value


def test_a_chain_is_found_from_each_of_its_letters(letters_store: ReadableStore) -> None:
    first, second = Origin(TOPIC, 0, 30), Origin(TOPIC, 0, 60)
    for start in (first, second):
        chain = chain_of(letters_store, start)
        assert [(one.original, one.copy, one.outcome) for one in chain] == [(first, second, RedriveOutcome.REFUSED)]
        assert newest_letters(chain) == [second]
    (taken,) = chain_of(letters_store, Origin(TOPIC, 6, 10))
    assert (taken.copy, taken.outcome) == (Origin(TOPIC, 0, 90), RedriveOutcome.TAKEN)
    assert chain_of(letters_store, Origin(TOPIC, 0, 10)) == []


def test_a_link_that_names_nothing_is_kept_and_closes_nothing(letters_store: ReadableStore) -> None:
    rows = letters_store.query(
        "SELECT original_topic, original_offset, offset FROM redrives FINAL WHERE original_offset < 0"
    )
    assert rows == [("rubbish", -1, 91)]
