"""Whatever comes late, and whenever months are closed: invoices and corrections add up to what all facts are worth.

The model: usage of a period is any whole number of microdays per owner, subscription and service; facts change it, also
downwards; months are closed in any order at any time; a service may get its price late. The check is by another way:
each key's whole quantity, times its price, rounded once, in decimals.
"""

from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.closing import corrections, lines
from billing.closing.corrections import Approval, ClosedPeriod
from billing.closing.draft import Draft, draft_invoice
from billing.closing.lines import Line, Quantities, UsageKey
from billing.closing.money import amount_text, minor_digits
from billing.closing.period import Period, period_of
from billing.closing.prices import PriceBook
from schemas.catalog import CatalogVersion
from schemas.events import ServiceEntry, SubscriptionData

MONTHS = [period_of(month) for month in ("2026-02", "2026-09", "2026-10")]
#: Closed at the end of each history, with no usage: what came after the last close is on it.
LAST = period_of("2026-12")
AFTER = period_of("2027-01")
PRICES = {
    ("dollars", "CALLING"): ("package", "USD", "7.105"),
    ("dollars", "SETUP_ASSIST_EXPRESS"): ("one-time", "USD", "99.995"),
    ("yen", "CALLING"): ("package", "JPY", "1.5"),
    ("dinar", "SUITE"): ("addon", "BHD", "0.0333333"),
    ("dollars", "FREE"): ("package", "USD", "0"),
    ("dollars", "LATE"): ("package", "USD", "1.25"),
}
KEYS = [UsageKey(owner, *service) for owner in ("P", "S") for service in [*PRICES, ("dollars", "NEVER")]]
_EXACT = Context(prec=100)


def versions(*, late: bool) -> list[CatalogVersion]:
    """The catalog, with the price of LATE or without."""
    found = []
    for n, subscription in enumerate(sorted({subscription for subscription, _ in PRICES})):
        of_it = {service: entry for (owner, service), entry in PRICES.items() if owner == subscription}
        for time_ms in (1, 2) if late else (1,):
            services = [
                ServiceEntry(service, f"sku-{service}", "", kind, price)  # type: ignore[arg-type]
                for service, (kind, _, price) in of_it.items()
                if service != "LATE" or time_ms == 2
            ]
            currency = next(iter(of_it.values()))[1]
            data = SubscriptionData(subscription, "P", currency, services)
            found.append(CatalogVersion(time_ms, None, "/s", f"{n}-{time_ms}", 10 * n + time_ms, data))
    return found


def expected_amount(key: UsageKey, microdays: int, period: Period) -> Decimal:
    kind, currency, price = PRICES[key.subscription_id, key.service]
    exact = _EXACT.divide(_EXACT.multiply(Decimal(price), microdays), 1_000_000 * (1 if kind == "one-time" else period.days))  # fmt: skip
    return exact.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_EVEN, _EXACT)


class Books:
    """The periods closed so far, the usage as it is known, and what people approved."""

    def __init__(self) -> None:
        self.usage: dict[Period, Quantities] = {period: {} for period in [*MONTHS, LAST, AFTER]}
        self.closed: dict[Period, ClosedPeriod] = {}
        self.invoices: list[Draft] = []
        self.approvals: list[Approval] = []
        self.late_price = False

    def draft(self, period: Period) -> Draft:
        book = PriceBook(versions(late=self.late_price))
        approvals = list(self.approvals)
        return draft_invoice(
            period, self.usage, self.closed.values(), book, lambda period: period.end_ms, approvals, 10
        )

    def close(self, period: Period) -> None:
        if period in self.closed:
            return
        draft = self.draft(period)
        self.invoices.append(draft)
        self.closed[period] = ClosedPeriod(period, len(self.invoices), ())
        for line in draft.lines:
            of_it = self.closed[line.period]
            self.closed[line.period] = ClosedPeriod(of_it.period, of_it.number, (*of_it.lines, line))
        self.approvals = [approval for approval in self.approvals if approval not in draft.used]

    def approve_all(self) -> None:
        for n, waiting in enumerate(self.draft(LAST).waiting):
            self.approvals.append(Approval(n, waiting.period, waiting.lines, "C. Lerk", "looked at", 0))


QUANTITY = st.one_of(st.integers(-3, 3), st.integers(0, 40_000_000), st.integers(-40_000_000, 10**13), st.just(10**6))
STEP = st.one_of(
    st.tuples(st.just("fact"), st.sampled_from(MONTHS), st.sampled_from(KEYS), QUANTITY),
    st.tuples(st.just("fact"), st.sampled_from(MONTHS), st.sampled_from(KEYS), QUANTITY),
    st.tuples(st.just("close"), st.sampled_from(MONTHS), st.none(), st.none()),
    st.tuples(st.sampled_from(["approve", "price"]), st.none(), st.none(), st.none()),
)


def history(steps: list[tuple[str, Period, UsageKey, int]]) -> Books:
    """The books after all steps, every month closed and every correction issued."""
    books = Books()
    for what, period, key, quantity in steps:
        if what == "fact":
            of_period = books.usage[period]
            of_period[key] = max(0, of_period.get(key, 0) + quantity)
        elif what == "close":
            books.close(period)
        elif what == "approve":
            books.approve_all()
        else:
            books.late_price = True
    for period in MONTHS:
        books.close(period)
    books.approve_all()
    books.close(LAST)
    return books


def check_adds_up(books: Books) -> None:
    quantities: dict[tuple[Period, UsageKey], int] = defaultdict(int)
    unpriced: dict[tuple[Period, UsageKey], int] = defaultdict(int)
    amounts: dict[tuple[Period, UsageKey], Decimal] = defaultdict(Decimal)
    for line in (line for invoice in books.invoices for line in invoice.lines):
        which = (line.period, line.key)
        quantities[which] += line.quantity_microdays
        if line.price is None:
            unpriced[which] += line.quantity_microdays
        else:
            assert line.amount_minor is not None
            amounts[which] += Decimal(amount_text(line.amount_minor, line.price.currency))
            assert abs(line.residue_minor) <= 1
    for period in MONTHS:
        for key in KEYS:
            quantity = books.usage[period].get(key, 0)
            assert quantities[period, key] == quantity
            never = key.service == "NEVER" or (key.service == "LATE" and not books.late_price)
            assert unpriced[period, key] == (quantity if never else 0)
            if not never:
                assert amounts[period, key] == expected_amount(key, quantity, period)
    assert books.draft(AFTER).lines == ()


@given(st.lists(STEP, max_size=40))
def test_invoices_and_corrections_add_up_to_what_all_facts_are_worth(
    steps: list[tuple[str, Period, UsageKey, int]],
) -> None:
    check_adds_up(history(steps))


@settings(max_examples=200)
@given(st.lists(STEP, max_size=40))
def test_a_period_of_which_nothing_new_came_is_not_corrected(
    steps: list[tuple[str, Period, UsageKey, int]],
) -> None:
    books = history(steps)
    book = PriceBook(versions(late=books.late_price))
    for closed in books.closed.values():
        again = lines.lines_of(
            closed.period,
            closed.number,
            books.usage[closed.period],
            closed.lines,
            lambda subscription, service: book.price(subscription, service, 9),
        )
        assert again == []


STEPS_THAT_MATTER = [
    ("fact", MONTHS[1], KEYS[0], 10_000_000),
    ("close", MONTHS[1], None, None),
    ("fact", MONTHS[1], KEYS[0], 20_000),
    ("fact", MONTHS[1], KEYS[5], 30_000_000),
    ("close", MONTHS[2], None, None),
    ("fact", MONTHS[1], KEYS[0], 20_000),
    ("price", None, None, None),
]


def test_the_property_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken twins: corrections that are priced by themselves, that forget the ones issued, that are never issued."""
    check_adds_up(history(STEPS_THAT_MATTER))  # type: ignore[arg-type]
    true_lines_of = lines.lines_of

    def priced_alone(*arguments: object) -> list[Line]:
        made = true_lines_of(*arguments)  # type: ignore[arg-type]
        return [
            line
            if line.amount_minor is None
            else Line(line.period, line.corrects, line.key, line.price, "", line.quantity_microdays, line.amount_minor - line.residue_minor, 0)
            for line in made
        ]  # fmt: skip

    def forgetful(period: Period, corrects: int | None, now: Quantities, before: list[Line], price_of: object) -> list[Line]:  # fmt: skip
        return true_lines_of(period, corrects, now, [line for line in before if line.corrects is None], price_of)  # type: ignore[arg-type]

    def never(period: Period, corrects: int | None, *rest: object) -> list[Line]:
        return [] if corrects else true_lines_of(period, corrects, *rest)  # type: ignore[arg-type]

    for twin in (priced_alone, forgetful, never):
        monkeypatch.setattr(corrections, "lines_of", twin)
        with pytest.raises(AssertionError):
            check_adds_up(history(STEPS_THAT_MATTER))  # type: ignore[arg-type]


def test_a_large_correction_waits_and_a_small_one_does_not() -> None:
    books = Books()
    key = KEYS[0]
    books.usage[MONTHS[1]] = {key: 3_000_000_000}
    books.close(MONTHS[1])
    books.usage[MONTHS[1]] = {key: 3_300_000_000}
    assert [one.waits for one in [*books.draft(LAST).waiting]] == []
    books.usage[MONTHS[1]] = {key: 3_400_000_000}
    (waiting,) = books.draft(LAST).waiting
    assert (waiting.period, waiting.number, waiting.waits) == (MONTHS[1], 1, True)
    assert books.draft(LAST).lines == ()
    books.approve_all()
    # What has come since may be as large as what needs nobody's approval.
    books.usage[MONTHS[1]] = {key: 3_600_000_000}
    draft = books.draft(LAST)
    assert [line.quantity_microdays for line in draft.lines] == [600_000_000]
    assert [approval.approved_by for approval in draft.used] == ["C. Lerk"]
    books.usage[MONTHS[1]] = {key: 3_800_000_000}
    assert len(books.draft(LAST).waiting) == 1


def test_a_charge_does_not_hide_a_credit() -> None:
    books = Books()
    one, other = KEYS[0], UsageKey("S", "dollars", "CALLING")
    books.usage[MONTHS[1]] = {one: 3_000_000_000, other: 3_000_000_000}
    books.close(MONTHS[1])
    books.usage[MONTHS[1]] = {one: 4_000_000_000, other: 2_000_000_000}
    assert len(books.draft(LAST).waiting) == 1
