"""All partners closed in one run: each as if it were alone, whoever is held back, whenever it is stopped."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.closing import close_all as run
from billing.closing.close import Books, CloseOrder, CloseRefused
from billing.closing.close_all import Ending, Outcome, close_all, plan_all
from billing.closing.invoices import Invoice
from billing.closing.partners import groups_of, partners_to_close
from billing.dead_letters import LetterFilter, find_letters
from billing.dismissals import Dismissals
from billing.relational.connect import open_engine
from schemas.catalog import CatalogVersion
from schemas.events import PartnerData
from sinks.store import ReadableStore, open_for_reading
from streams.core.catalog import CatalogState
from tests.billing.closing.test_close import NAMES, OCTOBER, SEPTEMBER, World, order
from tests.store_process import RECEIVED_AT_MS

ALL = order("", OCTOBER)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("all"), 11)


@pytest.fixture(scope="module")
def store(world: World) -> Iterator[ReadableStore]:
    with world.store(1) as store:
        yield store


@pytest.fixture(scope="module")
def reconciled(world: World, store: ReadableStore) -> Path:
    """A register that knows only that everything is reconciled."""
    world.reconcile(store)
    return Path(str(world.engine.url.database))


@pytest.fixture
def books(world: World, store: ReadableStore, reconciled: Path, tmp_path: Path) -> Books:
    """A register of its own, without an invoice."""
    with sqlite3.connect(reconciled) as one, sqlite3.connect(tmp_path / "billing.db") as other:
        one.backup(other)
    world.engine = open_engine(f"sqlite:///{tmp_path / 'billing.db'}")
    return world.books(store)


def closed(books: Books, wanted: CloseOrder = ALL, **more: object) -> list[Outcome]:
    return list(close_all(books, plan_all(books, wanted.month), wanted, lambda: False, **more))  # type: ignore[arg-type]


def endings(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.partner_id: str(outcome.ending) for outcome in outcomes}


def made(outcomes: list[Outcome]) -> dict[str, Invoice]:
    return {outcome.partner_id: outcome.invoice for outcome in outcomes if outcome.invoice is not None}


def hashes(outcomes: list[Outcome]) -> dict[str, str]:
    return {partner_id: invoice.sha256 for partner_id, invoice in made(outcomes).items()}


@pytest.mark.parametrize("rows_per_group", [1, 10**9], ids=["each alone", "all at once"])
def test_each_invoice_is_the_one_that_its_partner_would_have_alone(
    world: World, books: Books, rows_per_group: int
) -> None:
    would_be = {
        partner: books.draft(order(partner, OCTOBER)).invoice for partner in plan_all(books, "2026-10").partner_ids
    }
    assert {"P-alpha", "P-beta", "P-ghost"} <= would_be.keys()
    assert not would_be.keys() & {"S-one", "S-two", "S-three"}
    outcomes = closed(books, rows_per_group=rows_per_group)
    assert set(endings(outcomes).values()) == {"closed"}
    assert made(outcomes) == would_be == {one: books.invoices.of_partner(one)[0] for one in would_be}
    assert sum(len(invoice.lines) for invoice in would_be.values()) > 20
    again = closed(books, rows_per_group=rows_per_group)
    assert set(endings(again).values()) == {"closed before"}
    assert made(again) == would_be


def test_who_is_held_back_does_not_stop_the_others(books: Books) -> None:
    for org in ("P-beta", "S-three"):
        for letter in find_letters(books.store, LetterFilter(partner_id=org), []):
            Dismissals(books.engine).dismiss(letter.origin, "a test of the sender", "C. Lerk", 1)
    strict = CloseOrder("", "2026-10", "C. Lerk", accept_unpriced="no price is agreed yet")
    outcomes = closed(books, strict)
    for outcome in outcomes:
        if outcome.ending is Ending.HELD_BACK:
            with pytest.raises(CloseRefused) as refused:
                books.close(CloseOrder(outcome.partner_id, "2026-10", "C. Lerk", accept_unpriced="x"))
            assert [
                f"{gate.name}: {gate.saw}" for gate in refused.value.gates if not gate.holds and not gate.accepted
            ] == list(outcome.why)
            assert books.invoices.of_partner(outcome.partner_id) == []
    assert endings(outcomes)["P-beta"] == "closed"
    assert endings(outcomes)["P-alpha"] == "held back"
    # Once it is accepted, those are closed that were held back, and nobody else.
    assert Counter(endings(closed(books)).values()) == Counter(
        "closed" if ending == "held back" else "closed before" for ending in endings(outcomes).values()
    )


def test_a_dry_run_makes_nothing(books: Books) -> None:
    outcomes = closed(books, dry_run=True)
    assert set(endings(outcomes).values()) == {"can be closed"}
    assert all(not books.invoices.of_partner(partner) for partner in made(outcomes))
    assert hashes(closed(books)) == hashes(outcomes)


@pytest.mark.parametrize("before_stop", [0, 1, 3])
def test_a_run_that_is_stopped_leaves_whole_invoices_and_the_next_one_goes_on(books: Books, before_stop: int) -> None:
    plan = plan_all(books, "2026-10")
    looks = iter([False] * before_stop)
    first = list(close_all(books, plan, ALL, lambda: next(looks, True), rows_per_group=1))
    assert len(first) < plan.count and set(endings(first).values()) <= {"closed"}
    second = closed(books)
    assert Counter(endings(second).values())["closed before"] == len(first)
    assert hashes(first).items() <= hashes(second).items()
    assert {len(books.invoices.of_partner(partner)) for partner in plan.partner_ids} == {1}


def test_two_runs_at_once_make_one_invoice_of_each(world: World, books: Books) -> None:
    plan = plan_all(books, "2026-10")
    ended: list[list[Outcome]] = []
    start = threading.Barrier(2)

    def close() -> None:
        ours = Books(
            open_for_reading(None, world.folder / "store-1" / "store"), world.engine, NAMES, lambda: RECEIVED_AT_MS
        )
        start.wait()
        ended.append(closed(ours, rows_per_group=1))

    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = map(endings, ended)
    assert {frozenset((one[partner], other[partner])) for partner in plan.partner_ids} == {
        frozenset(("closed", "closed before"))
    }
    assert hashes(ended[0]) == hashes(ended[1])
    assert {len(books.invoices.of_partner(partner)) for partner in plan.partner_ids} == {1}


def test_who_is_closed_by_somebody_else_meanwhile_is_looked_at_again(books: Books) -> None:
    plan = plan_all(books, "2026-10")
    judged = run._judged(books, plan, ALL, plan.partner_ids, dry_run=False)
    # Between reading and writing: P-alpha is closed for the month, P-beta for another one.
    books.close(order("P-alpha", OCTOBER))
    books.close(order("P-beta", SEPTEMBER))
    keep = {one.invoice.partner_id: one for one in judged if not isinstance(one, Outcome)}
    for partner, ending, number in (("P-alpha", "closed before", 1), ("P-beta", "closed", 2)):
        with run.ThreadPoolExecutor(1) as pool:
            (outcome,) = run._written(books, ALL, [(keep[partner], pool.submit(books.keep, keep[partner]))])
        assert outcome.invoice is not None
        assert (str(outcome.ending), outcome.invoice.number) == (ending, number)


def test_what_fails_for_one_partner_stops_nobody_else(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    true_judge = run.judge

    def fails(order: CloseOrder, *more: object) -> object:
        if order.partner_id == "P-beta":
            raise ValueError("9223372036854775808 minor units are more than an invoice can hold")
        return true_judge(order, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "judge", fails)
    outcomes = closed(books)
    assert Counter(endings(outcomes).values()) == {"failed": 1, "closed": len(outcomes) - 1}
    (failed,) = (outcome for outcome in outcomes if outcome.ending is Ending.FAILED)
    assert failed.partner_id == "P-beta" and "more than an invoice" in failed.why[0]


def test_whoever_knows_more_than_the_run_is_closed_at_a_cut_of_its_own(world: World, books: Books) -> None:
    old = plan_all(books, "2026-10")
    before = {partition: length - 5 for partition, length in old.moment.progress.metered.items()}
    stale = run.msgspec.structs.replace(
        old,
        moment=run.msgspec.structs.replace(
            old.moment, progress=run.msgspec.structs.replace(old.moment.progress, metered=before)
        ),
    )
    books.close(order("P-alpha", SEPTEMBER))
    outcomes = list(close_all(books, stale, ALL, lambda: False))
    cuts = {partner: invoice.cut for partner, invoice in made(outcomes).items()}
    assert cuts["P-alpha"] == old.moment.cut
    # For the others the run's cut holds, at which not all is stored.
    assert cuts.keys() == {"P-alpha"}


def catalog_of(*partners: tuple[str, str | None]) -> CatalogState:
    return CatalogState(
        CatalogVersion(n, None, "/t", str(n), n, PartnerData(org, org, "active", parent))
        for n, (org, parent) in enumerate(partners)
    )


def test_sub_partners_are_on_their_parents_invoice_and_nobody_is_forgotten() -> None:
    catalog = catalog_of(("A", None), ("S", "A"), ("T", "S"), ("U", "unknown"), ("V", "V"), ("W", "X"), ("X", "W"))
    billed = partners_to_close(catalog, ["S", "T", "ghost", "X"])
    assert billed.partner_ids == ("A", "V", "ghost", "unknown")
    # T is below a sub-partner; W and X are below one another. W has no usage.
    assert billed.strays.keys() == {"T", "X"}
    assert "sub-partner of S, which is one itself" in billed.strays["T"]


def test_a_partner_that_changes_its_parent_is_the_child_of_the_new_one_alone() -> None:
    catalog = catalog_of(("A", None), ("B", None), ("S", "A"), ("S", "B"))
    assert (catalog.children_of("A"), catalog.children_of("B")) == ([], ["S"])
    catalog = catalog_of(("A", None), ("S", "A"), ("S", None), ("A", "A"))
    assert catalog.children_of("A") == []


def test_groups_hold_what_fits_and_a_large_partner_is_alone() -> None:
    catalog = catalog_of(("A", None), ("B", None), ("C", None), ("D", None), ("S", "A"))
    rows = {"A": 3, "S": 3, "B": 4, "C": 11, "D": 1}
    assert list(groups_of("ABCD", rows, catalog, 10)) == [["A", "B"], ["C"], ["D"]]
    assert list(groups_of("ABCD", rows, catalog, 9)) == [["A"], ["B"], ["C"], ["D"]]
    assert list(groups_of("", rows, catalog, 9)) == []
