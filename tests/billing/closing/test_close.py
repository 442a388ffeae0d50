"""Months closed on a real store, while facts come late: the invoices are what an oracle of another method says."""

import csv
import io
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine

from billing.as_known import known_at_time, report_as_known
from billing.audit.reconcile.record import ReconcileRuns
from billing.audit.reconcile.run import reconcile, scope_of
from billing.closing import close as closing
from billing.closing.close import Books, CloseOrder, CloseRefused
from billing.closing.invoices import GateSeen, Invoice
from billing.closing.lines import UsageKey
from billing.closing.period import Period, period_of
from billing.closing.recomputed import RawEventsMissing, catalog_at, usage_recomputed
from billing.closing.reconciliation import beside_reports
from billing.closing.usage import billed_owners, usage_by_days, usage_by_intervals
from billing.closing.verify import verify_invoice
from billing.export import export_csv
from billing.relational.connect import open_engine, upgrade
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number, day_text
from schemas.topics import TopicNames
from sinks.store import ReadableStore, open_for_reading
from streams.close_day import day_closed_event
from tests.oracle.metering import meter, report
from tests.oracle.random_month import PARTNERS, random_month
from tests.store_process import RECEIVED_AT_MS, serving

NAMES = TopicNames.with_prefix("")
OCTOBER, SEPTEMBER, AUGUST, JULY = (period_of(month) for month in ("2026-10", "2026-09", "2026-08", "2026-07"))
#: In this order: a later invoice of an earlier month carries the corrections as any later invoice does.
MONTHS = (OCTOBER, SEPTEMBER, AUGUST, JULY)
CLOSED = day_closed_event(day_number("2026-10-31"), datetime(2026, 11, 1, 0, 20, tzinfo=UTC))
STAGES = 3
EVENTS = 600


class Staged:
    """A catalog and events that come in stages, and the books in which their months are closed."""

    def __init__(self, folder: Path, catalog: list[bytes], *arriving: list[bytes]) -> None:
        """`arriving`: what comes in each stage. The days are closed after the first one."""
        self.catalog = catalog
        self.arriving = arriving
        self.folder = folder
        self.engine: Engine = open_engine(f"sqlite:///{folder / 'billing.db'}")
        upgrade(self.engine)
        self._stores = 0

    def events_until(self, stage: int) -> list[bytes]:
        """What has arrived; stages are counted from 1."""
        return [line for of_stage in self.arriving[:stage] for line in of_stage]

    @contextmanager
    def store(self, stage: int, planted: tuple[str, ...] = (), *, tiny: bool = False) -> Iterator[ReadableStore]:
        """A store of its own of all that has arrived: what came before stands where it stood."""
        self._stores += 1
        folder = self.folder / f"store-{self._stores}"
        folder.mkdir()
        first = self.events_until(1)
        lines = [*self.catalog, *first, CLOSED, *self.events_until(stage)[len(first) :]]
        (folder / "lines.jsonl").write_bytes(b"\n".join(lines))
        with serving(folder, [folder / "lines.jsonl"], planted, "tests.billing.closing.late_store", tiny=tiny):
            yield open_for_reading(None, folder / "store")

    def books(self, store: ReadableStore) -> Books:
        return Books(store, self.engine, NAMES, lambda: RECEIVED_AT_MS)

    def reconcile(self, store: ReadableStore) -> None:
        scope = scope_of(store, NAMES, JULY.first_day, OCTOBER.last_day, None, None)
        ReconcileRuns(self.engine, lambda: RECEIVED_AT_MS).add(0, reconcile(store, NAMES, scope, sleep=lambda _: None))


class World(Staged):
    """A random month: most of its events come in the first stage, the rest in the others."""

    def __init__(self, folder: Path, seed: int) -> None:
        catalog, events = random_month(random.Random(seed), customers=15, events=EVENTS)
        whole = [line for line in events if line and b"\n" not in line]
        ends = [0, *(len(whole) * (stage + STAGES) // (2 * STAGES) for stage in range(1, STAGES + 1))]
        arriving = [whole[begin:end] for begin, end in pairwise(ends)]
        super().__init__(folder, [line for line in catalog if line and b"\n" not in line], *arriving)

    def oracle(self, stage: int, partner: str, period: Period) -> Counter[UsageKey]:
        """What a report of another method says of the period, from what has arrived."""
        metered = meter(self.catalog, self.events_until(stage), received_at_ms=RECEIVED_AT_MS)
        first, last = (date.fromisoformat(day_text(day)) for day in (period.first_day, period.last_day))
        made = report(metered, report_type="PARTNER", partner=partner, start=first, end=last)
        return sums_of(made)


def sums_of(report_csv: bytes) -> Counter[UsageKey]:
    """The quantities of a PARTNER report."""
    sums: Counter[UsageKey] = Counter()
    for row in csv.DictReader(io.StringIO(report_csv.decode(), newline="")):
        key = UsageKey(row["PARTNER_ORG_ID"], row["SUBSCRIPTION_ID"], row["SERVICE_NAME"])
        sums[key] += int(Decimal(row["QUANTITY"]) * 1_000_000)
    return sums


def order(partner: str, period: Period, **more: object) -> CloseOrder:
    return CloseOrder(partner, period.month, "C. Lerk", "known senders' tests", "no price is agreed yet", **more)  # type: ignore[arg-type]


def summed(invoices: list[Invoice], period: Period) -> dict[UsageKey, int]:
    sums: Counter[UsageKey] = Counter()
    for line in (line for invoice in invoices for line in invoice.lines if line.period == period):
        sums[line.key] += line.quantity_microdays
    return {key: quantity for key, quantity in sums.items() if quantity}


def check_amounts(invoices: list[Invoice], period: Period, quantities: Counter[UsageKey]) -> None:
    """Of what has a price, all amounts of a period are its whole quantity times the price, rounded once, in decimals."""
    amounts: dict[UsageKey, Decimal] = {}
    prices = {}
    for line in (line for invoice in invoices for line in invoice.lines if line.period == period):
        if line.price is not None and line.amount_minor is not None:
            amounts[line.key] = amounts.get(line.key, Decimal(0)) + Decimal(line.amount_minor).scaleb(-2)
            assert prices.setdefault(line.key, line.price) == line.price and line.price.currency in ("USD", "EUR")
    for key, amount in amounts.items():
        months = Decimal(quantities[key]) / 1_000_000 / (1 if prices[key].kind == "one-time" else period.days)
        assert amount == (Decimal(prices[key].unit_price) * months).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


@pytest.mark.parametrize(("seed", "tiny"), [(31, True)])
def test_invoices_and_corrections_are_the_oracles(tmp_path: Path, seed: int, tiny: bool) -> None:
    world = World(tmp_path, seed)
    partners = [partner for partner in PARTNERS if partner.startswith("P-")]
    corrections = 0
    for stage, month in enumerate(MONTHS[:STAGES], start=1):
        with world.store(stage, tiny=tiny) as store:
            world.reconcile(store)
            books = world.books(store)
            for partner in partners:
                invoice, made = books.close(order(partner, month))
                assert made and books.close(order(partner, month)) == (invoice, False)
                assert summed([invoice], month) == +world.oracle(stage, partner, month)
                corrections += invoice.manifest.corrections
    assert corrections > 5
    # In a store that was made anew, by raw events alone; and what waited is approved and issued.
    with world.store(STAGES, tiny=tiny) as store:
        world.reconcile(store)
        books = world.books(store)
        for partner in partners:
            for waiting in books.draft(order(partner, JULY)).draft.waiting:
                books.invoices.approve(partner, waiting.period, waiting.lines, "C. Lerk", "late papers", 1)
            assert books.close(order(partner, JULY))[0].manifest.waiting == ()
            invoices = books.invoices.of_partner(partner)
            for month in MONTHS:
                known = world.oracle(STAGES, partner, month)
                assert summed(invoices, month) == +known
                check_amounts(invoices, month, known)
            for invoice in invoices:
                verified = verify_invoice(books, invoices, invoice.number)
                assert verified.holds and not verified.difference, verified
                asked = ReportRequest(
                    ReportType.PARTNER, partner, None, invoice.period.first_day, invoice.period.last_day
                )
                made_then = b"".join(report_as_known(store, NAMES, invoice.cut, asked))
                own = [line for line in invoice.lines if line.corrects is None]
                assert sums_of(made_then) == summed(
                    [msgspec.structs.replace(invoice, lines=tuple(own))], invoice.period
                )
                beside = beside_reports(books, invoice)
                assert [row for row in beside if not row.agrees or row.still_to_correct] == []
                assert {row.key: row.invoiced for row in beside if row.invoiced} == sums_of(made_then)
                daily = books.invoices.daily(partner, invoice.number)
                assert daily is not None and all(len(days) == invoice.period.days for days in daily.values())
                by_service = Counter[str]()
                for line in own:
                    by_service[line.key.service] += line.quantity_microdays
                assert {service: sum(days) for service, days in daily.items() if sum(days)} == dict(by_service)
            # Nothing new came: there is nothing to correct.
            assert not any(line.corrects for line in books.draft(order(partner, period_of("2026-06"))).draft.lines)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), 7)


@pytest.fixture(scope="module")
def late_store(world: World) -> Iterator[ReadableStore]:
    """A store that knows more than the first stage did."""
    with world.store(2, tiny=True) as store:
        yield store


def test_usage_at_a_cut_is_what_was_known_then(world: World, late_store: ReadableStore) -> None:
    days = (SEPTEMBER.first_day + 20, OCTOBER.last_day + 5)  # the last five are not closed
    asked = [
        ReportRequest(kind, partner, None, *days, internal)
        for kind in ReportType
        for partner in ("P-alpha", "P-beta", "P-ghost")
        for internal in (False, True)
    ]
    with world.store(1, tiny=True) as store:
        cut = closing.gates.read_progress(store, NAMES).cut
        then = [b"".join(export_csv(store, request)) for request in asked]
    assert cut != closing.gates.read_progress(late_store, NAMES).cut
    # Every report, byte for byte as it was made then.
    assert [b"".join(report_as_known(late_store, NAMES, cut, request)) for request in asked] == then
    assert [b"".join(export_csv(late_store, request)) for request in asked] != then
    catalog = catalog_at(late_store, NAMES, cut.catalog)
    for partner in ("P-alpha", "P-beta"):
        at_cut = (late_store, cut, billed_owners(catalog.state, partner, OCTOBER), OCTOBER)
        expected = +world.oracle(1, partner, OCTOBER)
        assert expected != +world.oracle(2, partner, OCTOBER)
        assert usage_by_days(*at_cut) == expected
        assert usage_by_intervals(*at_cut) == expected
        assert usage_recomputed(late_store, NAMES, cut, catalog.state, partner, [OCTOBER])[OCTOBER] == expected


def test_what_was_known_at_a_time_is_what_had_arrived_by_then(world: World, late_store: ReadableStore) -> None:
    ends = closing.gates.read_progress(late_store, NAMES).cut
    # Each record arrives a millisecond after the one before it.
    for records in (0, 1, 60, min(ends.partitions.values())):
        known = known_at_time(late_store, NAMES, RECEIVED_AT_MS + records - 1)
        assert known.cut.partitions == dict.fromkeys(ends.partitions, records)
        assert known.cut.catalog == (ends.catalog if records else 0)
        # All of the catalog arrives at once, in the first of them.
        assert bool(known.open_partitions) == (records > 0)
    late = known_at_time(late_store, NAMES, RECEIVED_AT_MS + 10**6)
    assert late.cut == ends
    assert len(late.open_partitions) == len(ends.partitions) + 1


GATES = {
    "days-closed": ["DELETE FROM partition_progress WHERE partition = 1 SETTINGS mutations_sync = 2"],
    "sinks-caught-up: raw events": ["DELETE FROM raw_events WHERE topic = 'package-assignments' AND partition = 2 AND offset > 100 SETTINGS mutations_sync = 2"],
    "sinks-caught-up: days": ["ALTER TABLE daily_usage_history DROP PARTITION '202610'"],
    "sinks-caught-up: letters": ["DELETE FROM dead_letters WHERE topic = 'package-assignments' SETTINGS mutations_sync = 2"],
}  # fmt: skip


@pytest.mark.parametrize("fault", GATES)
def test_each_gate_can_block(tmp_path: Path, fault: str) -> None:
    world = World(tmp_path, 11)
    with world.store(1, tuple(GATES[fault])) as store:
        books = world.books(store)
        with pytest.raises(CloseRefused) as refused:
            books.close(order("P-alpha", OCTOBER))
    blocked = {gate.name for gate in closing.gates.blocking(refused.value.gates)}
    assert blocked == {fault.split(":", maxsplit=1)[0], "reconciled"}, refused.value
    assert books.invoices.of_partner("P-alpha") == []


def test_what_is_accepted_is_stored_with_its_reason(tmp_path: Path) -> None:
    world = World(tmp_path, 11)
    with world.store(1) as store:
        world.reconcile(store)
        books = world.books(store)
        with pytest.raises(CloseRefused) as refused:
            books.close(CloseOrder("P-alpha", OCTOBER.month, "C. Lerk"))
        blocked = [gate.name for gate in closing.gates.blocking(refused.value.gates)]
        assert blocked == ["no-open-letters", "priced"]
        invoice, _ = books.close(order("P-alpha", OCTOBER))
    accepted = {gate.name: gate.accepted for gate in invoice.manifest.gates if not gate.holds}
    assert accepted == {"no-open-letters": "known senders' tests", "priced": "no price is agreed yet"}
    assert invoice.manifest.unpriced == sum(line.price is None for line in invoice.lines) > 0


def test_a_reconcile_run_that_differs_blocks_until_one_is_clean(tmp_path: Path) -> None:
    world = World(tmp_path, 11)
    with world.store(1) as store:
        world.reconcile(store)
        scope = scope_of(store, NAMES, OCTOBER.first_day, OCTOBER.last_day, ("P-alpha",), None)
        runs = ReconcileRuns(world.engine, lambda: RECEIVED_AT_MS)
        found = reconcile(store, NAMES, scope, sleep=lambda _: None)
        wrong = next(result for result in found.results if result.name == "days")

        def gate(period: Period, orgs: list[str]) -> GateSeen:
            seen = closing.gates.reconcile_runs_over(world.engine, period.first_day, period.last_day)
            return closing.gates.reconciled(seen, period, orgs)

        differs = type(wrong)(wrong.name, wrong.weight, wrong.looked_at, 1, wrong.examples)
        assert gate(OCTOBER, ["P-alpha"]).holds
        assert not gate(period_of("2026-11"), ["P-alpha"]).holds
        runs.add(0, type(found)(scope, (differs,)))
        assert not gate(OCTOBER, ["P-alpha", "S-one"]).holds
        assert gate(OCTOBER, ["P-beta"]).holds
        assert gate(SEPTEMBER, ["P-alpha"]).holds
        runs.add(0, found)
        assert gate(OCTOBER, ["P-alpha"]).holds


def test_verify_finds_what_was_lost_or_changed(tmp_path: Path) -> None:
    world = World(tmp_path, 11)
    with world.store(1) as store:
        world.reconcile(store)
        world.books(store).close(order("P-beta", OCTOBER))
    lost = "DELETE FROM raw_events WHERE topic = 'package-assignments' AND partition = 0 AND offset = 17 SETTINGS mutations_sync = 2"
    with world.store(1, (lost,)) as store, pytest.raises(RawEventsMissing, match="package-assignments/0"):
        verify_invoice(world.books(store), world.books(store).invoices.of_partner("P-beta"), 1)
    # The condition is in a query of its own: beside REPLACE it would be about the new value.
    ours = "SELECT partition, offset FROM raw_events WHERE topic = 'package-assignments' AND value LIKE '%package.assigned%' AND value LIKE '%P-beta%'"
    other = f"INSERT INTO raw_events SELECT * REPLACE('{{}}' AS value) FROM raw_events WHERE topic = 'package-assignments' AND (partition, offset) IN ({ours})"
    with world.store(1, (other,)) as store:
        verified = verify_invoice(world.books(store), world.books(store).invoices.of_partner("P-beta"), 1)
        assert not verified.holds and "recomputed" in verified.difference
        assert verified.stored == verified.invoice.sha256
