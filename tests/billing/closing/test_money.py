"""Money is rounded once, half to even, to the minor unit that ISO 4217 says; periods are whole months."""

import pytest

from billing.closing.money import (
    AmountTooLarge,
    UnknownCurrency,
    amount_text,
    minor_digits,
    monthly_amount,
    one_time_amount,
)
from billing.closing.period import Period, period_of
from schemas.instants import day_number


@pytest.mark.parametrize(
    ("price", "microdays", "days", "currency", "amount"),
    [
        ("7.10", 31_000_000, 31, "USD", "7.10"),
        ("7.10", 15_500_000, 31, "USD", "3.55"),
        ("0.25", 1_000_000, 10, "USD", "0.02"),  # 0.025: down to the even cent
        ("0.75", 1_000_000, 10, "USD", "0.08"),  # 0.075: up to it
        ("0.25", -1_000_000, 10, "USD", "-0.02"),
        ("25", 1_000_000, 10, "JPY", "2"),
        ("35", 1_000_000, 10, "JPY", "4"),
        ("0.0125", 1_000_000, 1, "BHD", "0.012"),
        ("999999999.999999999", 1_000_000, 1, "CLF", "1000000000.0000"),
        ("0.000000001", 1, 31, "USD", "0.00"),
    ],
)
def test_a_line_is_rounded_half_to_even(price: str, microdays: int, days: int, currency: str, amount: str) -> None:
    assert amount_text(monthly_amount(price, microdays, days, currency), currency) == amount


def test_no_digit_of_a_price_is_lost() -> None:
    assert amount_text(monthly_amount("99999999999999.999999999", 1, 1, "USD"), "USD") == "100000000.00"
    assert amount_text(one_time_amount("19.999", 7_000_000, "USD"), "USD") == "139.99"


def test_an_amount_that_no_column_holds_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        monthly_amount("999999999999999999", 10**9, 1, "USD")


@pytest.mark.parametrize("code", ["XXX", "usd", "", "XAU", "ZZZ"])
def test_what_is_no_currency_has_no_minor_unit(code: str) -> None:
    with pytest.raises(UnknownCurrency):
        minor_digits(code)


def test_minor_units_are_those_of_iso_4217() -> None:
    codes = ("USD", "JPY", "BHD", "CLF", "KWD", "ISK", "MGA", "HUF", "UGX", "TND")
    assert [minor_digits(code) for code in codes] == [2, 0, 3, 4, 3, 0, 2, 2, 0, 3]


@pytest.mark.parametrize(
    ("month", "first", "begin", "end", "days"),
    [
        ("2026-02", 1, "2026-02-01", "2026-02-28", 28),
        ("2028-02", 1, "2028-02-01", "2028-02-29", 29),
        ("2026-12", 1, "2026-12-01", "2026-12-31", 31),
        ("2026-01", 28, "2026-01-28", "2026-02-27", 31),
        ("2026-12", 15, "2026-12-15", "2027-01-14", 31),
    ],
)
def test_a_period_is_a_month(month: str, first: int, begin: str, end: str, days: int) -> None:
    period = period_of(month, first)
    assert period == Period(day_number(begin), day_number(end))
    assert (period.days, period.month) == (days, month)
    assert period.end_ms == (day_number(end) + 1) * 86_400_000


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "2026", "26-01", "2026-10-01", "202610", "", "9999-12"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError, match="not a month"):
        period_of(month)


@pytest.mark.parametrize("first", [0, 29, 31])
def test_a_period_begins_on_a_day_that_every_month_has(first: int) -> None:
    with pytest.raises(ValueError, match="1 to 28"):
        period_of("2026-10", first)
