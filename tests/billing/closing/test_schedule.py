"""Periods that begin on another day: whatever is chosen and closed, in any order, every day is in exactly one period."""

import itertools
from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from billing.closing.first_days import FirstDays, PeriodClosed
from billing.closing.invoices import Cut, Invoice, Invoices, MadeMeanwhile, Manifest
from billing.closing.lines import RULES
from billing.closing.money import monthly_amount
from billing.closing.period import Period, period_of
from billing.closing.schedule import FirstDay, scheduled_period, unkept
from billing.relational.connect import open_engine
from schemas.instants import day_number

MONTHS = [f"{2026 + n // 12}-{n % 12 + 1:02d}" for n in range(30)]
CHOICES = st.lists(
    st.builds(FirstDay, st.sampled_from(MONTHS), st.integers(1, 28), st.just("C"), st.just(1)), max_size=6
)


def gaps(periods: list[Period]) -> list[int]:
    """Of periods in order, the days missing (more than none) or double (less) between each two."""
    return [other.first_day - one.last_day - 1 for one, other in itertools.pairwise(periods)]


@given(CHOICES)
def test_no_choice_leaves_a_gap_or_an_overlap(choices: list[FirstDay]) -> None:
    periods = [scheduled_period(choices, month) for month in MONTHS]
    assert not any(gaps(periods))
    assert all(2 <= period.days <= 58 for period in periods)
    assert [period.month for period in periods] == MONTHS


def test_a_schedule_that_left_a_gap_would_be_seen() -> None:
    # A broken twin: each period as long as a month from its own first day, whatever comes next.
    choices = [FirstDay("2026-03", 15, "C", 1)]
    twin = [period_of(month, 15 if month >= "2026-03" else 1) for month in MONTHS]
    assert gaps(twin)[1] == 14
    assert gaps([scheduled_period(choices, month) for month in MONTHS])[1] == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("choose"), st.sampled_from(MONTHS), st.integers(1, 28)),
        st.tuples(st.just("close"), st.sampled_from(MONTHS), st.just(0)),
    ),
    max_size=20,
)


@given(STEPS)
def test_what_is_closed_stays_a_period_whatever_is_chosen_afterwards(steps: list[tuple[str, str, int]]) -> None:
    choices: list[FirstDay] = []
    closed: dict[str, Period] = {}
    for what, month, first_day in steps:
        if what == "close":
            closed.setdefault(month, scheduled_period(choices, month))
        elif not unkept([*choices, FirstDay(month, first_day, "C", 1)], list(closed.values())):
            choices.append(FirstDay(month, first_day, "C", 1))
    # Invoices, and the periods that are still to be closed, are one calendar.
    everything = [closed.get(month) or scheduled_period(choices, month) for month in MONTHS]
    assert not any(gaps(everything))


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)).filter(lambda day: day.day <= 28))
def test_a_price_is_divided_by_the_days_of_a_whole_month(first: date) -> None:
    begins = day_number(first.isoformat())
    whole = period_of(f"{first:%Y-%m}", first.day)
    assert (
        whole.priced_days
        == whole.days
        == Period(begins, begins + 3).priced_days
        == Period(begins, begins + 50).priced_days
    )


def test_a_licence_all_along_costs_a_month_a_month_also_where_the_first_day_moves() -> None:
    # From the 1st to the 15th: one period of October 1 to November 14, 45 days of a month of 31.
    moved = scheduled_period([FirstDay("2026-11", 15, "C", 1)], "2026-10")
    assert (moved.days, moved.priced_days) == (45, 31)
    assert monthly_amount("31.00", moved.days * 10**6, moved.priced_days, "USD") == 4500
    # And back: from the 15th of November to the last of it, 16 days of a month of 30.
    choices = [FirstDay("2026-11", 15, "C", 1), FirstDay("2026-12", 1, "C", 2)]
    short = scheduled_period(choices, "2026-11")
    assert (short.days, short.priced_days) == (16, 30)
    assert scheduled_period(choices, "2026-12") == period_of("2026-12")


@pytest.fixture
def engine(url: str) -> Engine:
    return open_engine(url)


def closed_invoice(number: int, period: Period) -> Invoice:
    manifest = Manifest(RULES, 0, 0, 0, 0, {}, "", (), (), ())
    return Invoice("P", number, period, period.end_ms, Cut({}, 0), 10, (), "", manifest, "C. Lerk", 1)


def test_a_closed_period_stands_in_the_way_of_a_change(engine: Engine) -> None:
    register, invoices = FirstDays(engine), Invoices(engine)
    invoices.add(closed_invoice(1, period_of("2026-10")), ())
    for month in ("2026-09", "2026-10", "2026-11"):  # from November on, October would end elsewhere
        with pytest.raises(PeriodClosed, match="2026-10-01 to 2026-10-31"):
            register.choose("P", month, 15, "C. Lerk", 2)
    assert register.of_partner("P") == []
    chosen = register.choose("P", "2026-12", 15, "C. Lerk", 2)
    assert register.of_partners(["P", "Q"]) == {"P": [chosen], "Q": []}
    # Whoever looked before the choice makes no invoice of the period that is none any more.
    with pytest.raises(MadeMeanwhile, match="moved meanwhile"):
        invoices.add(closed_invoice(2, period_of("2026-11")), ())
    invoices.add(closed_invoice(2, scheduled_period([chosen], "2026-11")), ())
    assert [one.period.days for one in invoices.of_partner("P")] == [31, 44]


def test_choices_are_kept_as_they_were_made(engine: Engine) -> None:
    register = FirstDays(engine)
    register.choose("P", "2026-12", 15, "C. Lerk", 2)
    register.choose("P", "2026-12", 20, " C. Lerk ", 3)
    before = register.of_partner("P")
    assert [choice.first_day for choice in before] == [15, 20]
    for wrong in (
        "UPDATE period_first_days SET first_day = 1",
        "DELETE FROM period_first_days",
        "INSERT INTO period_first_days VALUES ('P', 3, '2026-12', 29, 'C', 1)",
        "INSERT INTO period_first_days VALUES ('P', 2, '2026-12', 28, 'C', 1)",
    ):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(wrong))
        assert register.of_partner("P") == before
    for month, day, by in (("2026-13", 1, "C"), ("2026-12", 29, "C"), ("2026-12", 0, "C"), ("2026-12", 1, " ")):
        with pytest.raises(ValueError, match=r"month|1 to 28|says who"):
            register.choose("P", month, day, by, 1)


def test_the_usage_of_each_day_is_kept_with_the_invoice(engine: Engine) -> None:
    invoices = Invoices(engine)
    invoices.add(closed_invoice(1, period_of("2026-10")), (), {"B": [1, 2**60], "A": []})
    invoices.add(closed_invoice(2, period_of("2026-11")), ())
    assert invoices.daily("P", 1) == {"B": [1, 2**60], "A": []}
    assert invoices.daily("P", 2) is None
    assert msgspec.structs.asdict(invoices.of_partner("P")[0])["number"] == 1
