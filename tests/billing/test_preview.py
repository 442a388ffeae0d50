"""A preview says what reports will say once the events are sent, and which months they touch."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from billing.closing.close import Books
from billing.closing.period import period_of
from billing.closing.schedule import FirstDay
from billing.difference import Change, Place
from billing.foresight import AccountChange, Fate
from billing.preview import Calendar, foresee_lines, touched_by
from schemas.catalog import CatalogVersion
from schemas.events import PartnerData
from schemas.instants import day_number
from sinks.catalog import load_catalog
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState
from tests.billing.closing.test_close import NAMES, OCTOBER, World, order, sums_of
from tests.oracle.metering import meter, report
from tests.store_process import RECEIVED_AT_MS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("preview"), 23)


@pytest.fixture(scope="module")
def store(world: World) -> Iterator[ReadableStore]:
    with world.store(1) as store:
        yield store


def reported(world: World, stage: int, partner: str) -> dict[tuple[str, str], int]:
    """October by org and service, internal customers too, by another method."""
    metered = meter(world.catalog, world.events_until(stage), received_at_ms=RECEIVED_AT_MS)
    first, last = day(OCTOBER.first_day), day(OCTOBER.last_day)
    made = report(metered, report_type="PARTNER", partner=partner, start=first, end=last, internal=True)
    sums: dict[tuple[str, str], int] = {}
    for key, quantity in sums_of(made).items():
        sums[key.owner_id, key.service] = sums.get((key.owner_id, key.service), 0) + quantity
    return sums


def test_it_says_what_reports_will_say(world: World, store: ReadableStore) -> None:
    books: Books = world.books(store)
    world.reconcile(store)
    closed = books.close(order("P-alpha", OCTOBER))[0]
    before = store.query("SELECT count(), max(offset) FROM raw_events")
    lines = [*world.events_until(3)[len(world.events_until(1)) :], b"no event"]
    found = foresee_lines(store, NAMES, lines, RECEIVED_AT_MS, OCTOBER.last_day)
    partners = ["P-alpha", "P-beta", "P-plain", "P-ghost"]
    calendar = Calendar(load_catalog(store), {one: books.invoices.of_partner(one) for one in partners}, {})
    touched = [row for row in touched_by(found.accounts, calendar) if row.period == OCTOBER]
    for partner in partners:
        old, new = reported(world, 1, partner), reported(world, 3, partner)
        expected = {key: new.get(key, 0) - old.get(key, 0) for key in {*old, *new}}
        differences = {
            (row.owner_id, row.service): row.difference_microdays for row in touched if row.partner_id == partner
        }
        assert {key: value for key, value in differences.items() if value} == {k: v for k, v in expected.items() if v}
        assert any(expected.values()) or partner in ("P-plain", "P-ghost"), partner
    assert {row.invoice for row in touched if row.partner_id == "P-alpha"} == {closed.number}
    assert {row.invoice for row in touched if row.partner_id == "P-beta"} == {None}
    assert sum(found.fates.values()) == len(lines)
    assert found.fates[Fate.REFUSED] == len(found.refused) > 0
    assert (found.refused[-1].line, found.refused[-1].reason) == (len(lines), "not-json")
    # What was sent before would be a duplicate, or refused as it was then, and change nothing.
    again = foresee_lines(store, NAMES, world.events_until(1), RECEIVED_AT_MS, OCTOBER.last_day)
    assert again.accounts == [] and not again.fates.get(Fate.METERED)
    assert store.query("SELECT count(), max(offset) FROM raw_events") == before


def day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


def change(day: str, before: int, after: int, item: str = "CALLING") -> Change:
    return Change(Place(item, "s", ""), day_number(day), before, after)


def test_days_go_to_the_periods_of_the_partner_and_not_before_the_billing_start() -> None:
    entries = [PartnerData("P", "P", "active"), PartnerData("S", "S", "active", "P", None, "2026-10-10")]
    catalog = CatalogState(CatalogVersion(n, None, "/t", str(n), n, entry) for n, entry in enumerate(entries))
    calendar = Calendar(catalog, {}, {"P": [FirstDay("2026-10", 15, "C", 1)]})
    found = touched_by(
        [
            AccountChange(
                "S", "c1", [change("2026-10-09", 0, 5), change("2026-10-14", 0, 7), change("2026-10-15", 3, 1)]
            ),
            AccountChange("S", "c2", [change("2026-10-16", 0, 10)], {}, internal=True),
            AccountChange("P", "c3", [change("2026-11-14", 0, 1), change("2026-11-15", 1, 0)]),
        ],
        calendar,
    )
    october = period_of("2026-10", 15)
    assert [
        (row.owner_id, row.period.month, row.difference_microdays, row.internal_microdays, row.customers)
        for row in found
    ] == [
        ("S", "2026-09", 7, 0, 1),
        ("P", "2026-10", 1, 0, 1),
        ("S", "2026-10", 8, 10, 2),
        ("P", "2026-11", -1, 0, 1),
    ]
    assert [row.period for row in found][1] == october
    assert {row.partner_id for row in found} == {"P"}
