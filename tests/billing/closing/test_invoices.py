"""The register of invoices: one of a month, whole or not at all, never changed, on SQLite and on PostgreSQL."""

import multiprocessing
import os
import threading
from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, event, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.closing.corrections import Approval
from billing.closing.invoices import Cut, Invoice, Invoices, MadeMeanwhile, Manifest, closed_periods
from billing.closing.lines import RULES, Line, UsageKey, sha256_of
from billing.closing.period import Period, period_of
from billing.closing.prices import Price
from billing.relational.connect import open_engine
from billing.relational.schema import invoice_lines

SEPTEMBER, OCTOBER, NOVEMBER = (period_of(month) for month in ("2026-09", "2026-10", "2026-11"))
CALLING = Price("package", "USD", "7.10", "sku-1", "Anrufe; frei \U0001f600", 2**40)


def line(period: Period, quantity: int, corrects: int | None = None) -> Line:
    return Line(period, corrects, UsageKey("P", "sub", "CALLING"), CALLING, "", quantity, quantity // 7, -1)


def invoice(number: int, period: Period, *lines: Line, partner: str = "P") -> Invoice:
    sha256 = sha256_of(lines)
    manifest = Manifest(RULES, len(lines), 0, 0, 0, {}, sha256, (), (), ())
    return Invoice(
        partner, number, period, period.end_ms, Cut({0: 7, 11: 2**40}, 5), 10, tuple(lines), sha256, manifest, "C. Lerk", 1
    )  # fmt: skip


CLOSED = [
    invoice(1, SEPTEMBER, line(SEPTEMBER, 10), msgspec.structs.replace(line(SEPTEMBER, 3), price=None, amount_minor=None, unpriced="why")),
    invoice(2, OCTOBER, line(OCTOBER, 2**62), line(SEPTEMBER, -4, 1)),
]  # fmt: skip


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def register(engine: Engine) -> Invoices:
    register = Invoices(engine)
    for one in CLOSED:
        register.add(one, ())
    return register


def test_an_invoice_is_read_as_it_was_made(register: Invoices) -> None:
    assert register.of_partner("P") == CLOSED
    assert register.of_partner("Q") == []
    september, october = closed_periods(CLOSED)
    assert (september.period, september.number, october.number) == (SEPTEMBER, 1, 2)
    assert [one.quantity_microdays for one in september.lines] == [10, 3, -4]
    assert [one.quantity_microdays for one in september.original] == [10, 3]


@pytest.mark.parametrize("wrong", [invoice(2, NOVEMBER), invoice(3, OCTOBER), invoice(2, OCTOBER)])
def test_a_number_and_a_month_are_taken_once(register: Invoices, wrong: Invoice) -> None:
    if wrong.number == 3:
        # Nobody makes this one: who has read the invoices knows that the month is closed.
        with pytest.raises(IntegrityError):
            register.add(wrong, ())
    else:
        with pytest.raises(MadeMeanwhile):
            register.add(wrong, ())
    assert register.of_partner("P") == CLOSED
    register.add(invoice(1, OCTOBER, partner="Q"), ())


CHANGES = [
    "UPDATE invoices SET sha256 = 'x'",
    "UPDATE invoices SET number = 9 WHERE number = 2",
    "UPDATE invoice_lines SET amount_minor = amount_minor + 1",
    "UPDATE invoice_lines SET description = 'other' WHERE line = 1",
    "UPDATE correction_approvals SET reason = 'other'",
    "UPDATE correction_approvals_used SET number = 1",
    "DELETE FROM invoices",
    "DELETE FROM invoice_lines WHERE number = 2",
    "DELETE FROM correction_approvals",
    "DELETE FROM correction_approvals_used",
    "INSERT INTO invoice_lines (partner_id, number, line, first_day, last_day, owner_id, subscription_id, service, quantity_microdays, residue_minor, unpriced) VALUES ('P', 1, 3, 1, 1, 'P', 's', 'x', 1, 0, 'why')",
    "INSERT INTO invoice_lines (partner_id, number, line, first_day, last_day, owner_id, subscription_id, service, quantity_microdays, residue_minor, unpriced) VALUES ('Q', 1, 1, 1, 1, 'P', 's', 'x', 1, 0, 'why')",
]
ONLY_SQLITE = [
    "INSERT OR REPLACE INTO invoices SELECT partner_id, number, first_day, last_day, prices_before_ms, cut, limit_percent, line_count, 'x', manifest, closed_by, closed_ms, daily FROM invoices",
    "INSERT OR REPLACE INTO invoices SELECT partner_id, number + 9, first_day, last_day, prices_before_ms, cut, limit_percent, line_count, 'x', manifest, closed_by, closed_ms, daily FROM invoices",
    "INSERT OR REPLACE INTO invoice_lines SELECT partner_id, number, line, first_day, last_day, corrects, owner_id, subscription_id, service, 1, kind, unit_price, currency, sku, description, price_version, amount_minor, residue_minor, unpriced FROM invoice_lines",
    "INSERT OR REPLACE INTO correction_approvals SELECT id, partner_id, first_day, last_day, lines, 'other', reason, approved_ms FROM correction_approvals",
]
ONLY_POSTGRESQL = [
    "TRUNCATE invoices, invoice_lines, correction_approvals, correction_approvals_used",
    "INSERT INTO invoices SELECT * FROM invoices ON CONFLICT (partner_id, number) DO UPDATE SET sha256 = 'x'",
    "TRUNCATE invoice_lines",
]


def test_nothing_changes_or_deletes_a_closed_invoice(register: Invoices, engine: Engine) -> None:
    register.approve("P", SEPTEMBER, [line(SEPTEMBER, 9, 1)], "C. Lerk", "looked at", 5)
    (approval,) = register.approvals("P")
    register.add(invoice(3, NOVEMBER), [approval])
    before = (register.of_partner("P"), register.approvals("P", used_by=3))
    assert before[1] == [Approval(approval.id, SEPTEMBER, (line(SEPTEMBER, 9, 1),), "C. Lerk", "looked at", 5)]
    own = ONLY_SQLITE if engine.dialect.name == "sqlite" else ONLY_POSTGRESQL
    for statement in [*CHANGES, *own]:
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(statement))
        assert (register.of_partner("P"), register.approvals("P", used_by=3)) == before, statement


def test_a_line_is_priced_or_says_why_not(register: Invoices, engine: Engine) -> None:
    whole = {"partner_id": "P", "number": 3, "line": 1, "first_day": 1, "last_day": 1, "owner_id": "P", "subscription_id": "", "service": "x", "quantity_microdays": 1, "residue_minor": 0}  # fmt: skip
    for wrong in ({"unpriced": ""}, {"unpriced": "why", "amount_minor": 1}, {"unpriced": "why", "currency": "USD"}):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(insert(invoice_lines).values({**whole, **wrong}))


def test_an_approval_is_used_once(register: Invoices) -> None:
    register.approve("P", SEPTEMBER, [], "C. Lerk", "looked at", 5)
    (approval,) = register.approvals("P")
    register.add(invoice(3, NOVEMBER), [approval])
    assert register.approvals("P") == []
    with pytest.raises(IntegrityError):
        register.add(invoice(4, period_of("2026-12")), [approval])
    assert [one.number for one in register.of_partner("P")] == [1, 2, 3]
    for by, reason in (("", "x"), ("x", " ")):
        with pytest.raises(ValueError, match="who decided"):
            register.approve("P", SEPTEMBER, [], by, reason, 5)


def test_of_many_at_once_one_makes_the_next_invoice(register: Invoices) -> None:
    made: list[str] = []
    start = threading.Barrier(6)

    def make(period: Period) -> None:
        start.wait()
        try:
            register.add(invoice(3, period, line(period, 1)), ())
        except MadeMeanwhile:
            made.append("too late")
        else:
            made.append("made")

    months = [NOVEMBER, NOVEMBER, NOVEMBER, *(period_of(month) for month in ("2026-12", "2027-01", "2027-02"))]
    threads = [threading.Thread(target=make, args=(period,)) for period in months]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["made"] + ["too late"] * 5
    assert len(register.of_partner("P")) == 3


def _killed(url: str, before_statement: int) -> None:
    engine = open_engine(url)
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == before_statement:
            os._exit(9)

    register = Invoices(engine)
    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    register.approve("P", SEPTEMBER, [], "C. Lerk", "looked at", 5)
    register.add(invoice(3, NOVEMBER, line(NOVEMBER, 1), line(SEPTEMBER, 5, 1)), register.approvals("P"))
    os._exit(0)


def test_who_is_killed_leaves_a_whole_invoice_or_none(register: Invoices, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    ends = []
    for before in range(1, 20):
        process = context.Process(target=_killed, args=(url, before))
        process.start()
        process.join(60)
        ends.append(process.exitcode)
        found = register.of_partner("P")[2:]
        assert [len(one.lines) for one in found] in ([], [2])
        assert len(register.approvals("P", used_by=3)) in ((0,) if not found else (before, *range(1, before)))
        if process.exitcode != 9:
            break
    assert ends[-1] == 0 and len(ends) >= 6, ends
    assert len(register.of_partner("P")) == 3


def test_a_register_that_fails_says_so(register: Invoices) -> None:
    with pytest.raises((DBAPIError, OverflowError)):
        register.add(invoice(3, NOVEMBER, msgspec.structs.replace(line(NOVEMBER, 1), amount_minor=2**63)), ())
    assert len(register.of_partner("P")) == 2
