"""Whose usage stands on an invoice, from when on, and at which price: months of a few events, written out."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from billing.closing.close import Books
from billing.closing.invoices import Invoice
from billing.closing.lines import Line
from billing.closing.period import Period
from billing.closing.prices import Price
from billing.closing.verify import verify_invoice
from schemas.instants import parse_time_ms
from sinks.store import ReadableStore
from tests.billing.closing.test_close import OCTOBER, SEPTEMBER, Staged, order

#: So a licence of all October costs a dollar a day.
PER_MONTH = "31.00"
EXPRESS, STANDARD = "SETUP_ASSIST_EXPRESS", "SETUP_ASSIST_STANDARD"
_NUMBERS = count()


def line(kind: str, time: str, **members: object) -> bytes:
    """An event with an identity of its own."""
    event = {"specversion": "1.0", "id": f"e-{next(_NUMBERS)}", "source": "/test", "type": f"wholesale.{kind}.v1"}
    return json.dumps({**event, "time": time, "data": members}).encode()


def org(org_id: str, time: str = "2026-01-01T00:00:00Z", **more: str) -> bytes:
    named = {"partnerOrgId": org_id, "name": f"Name of {org_id}", "provisioningState": "active"}
    return line("partner.upserted", time, **named, **more)


def prices(time: str = "2026-01-01T00:00:00Z", **unit_prices: str) -> bytes:
    """A version of the subscription of P."""
    services = [
        {"service": name, "sku": name.lower(), "description": "", "unitPrice": price, "kind": "one-time" if name in (EXPRESS, STANDARD) else "package"}
        for name, price in unit_prices.items()
    ]  # fmt: skip
    return line(
        "subscription.upserted", time, subscriptionId="sub", partnerOrgId="P", currency="USD", services=services
    )


def held(owner: str, customer: str, package: str, since: str, until: str | None = None) -> list[bytes]:
    """A licence of a subscriber of its own."""
    who = {"partnerOrgId": owner, "customerOrgId": customer, "subscriberId": f"s-{next(_NUMBERS)}"}
    assigned = line("package.assigned", since, **who, userId="u", package=package)
    return [assigned] if until is None else [assigned, line("package.removed", until, **who, package=package)]


def ordered(owner: str, customer: str, order_id: str, time: str, seats: int) -> bytes:
    who = {"partnerOrgId": owner, "customerOrgId": customer}
    return line("setup-assist.ordered", time, **who, orderId=order_id, locationId="l", seats=seats)


def described(customer: str, time: str, *, internal: bool) -> bytes:
    return line("customer.updated", time, partnerOrgId="P", customerOrgId=customer, internal=internal)


def closed(world: Staged, store: ReadableStore, period: Period, **more: object) -> Invoice:
    """P's invoice, whatever its corrections amount to, of which nothing had to be accepted."""
    world.reconcile(store)
    invoice, made = world.books(store).close(order("P", period, **{"limit_percent": 1000, **more}))
    assert made and all(gate.holds for gate in invoice.manifest.gates)
    return invoice


def billed(lines: list[Line]) -> dict[tuple[str, str], tuple[int, int | None]]:
    """Microdays and cents of each org and service."""
    return {(one.key.owner_id, one.key.service): (one.quantity_microdays, one.amount_minor) for one in lines}


def own(invoice: Invoice) -> dict[tuple[str, str], tuple[int, int | None]]:
    return billed([one for one in invoice.lines if one.corrects is None])


def corrected(invoice: Invoice) -> dict[tuple[str, str], tuple[int, int | None]]:
    return billed([one for one in invoice.lines if one.corrects is not None])


def check_reproduced(books: Books) -> None:
    """Every invoice of P is what the raw events of its cut give."""
    issued = books.invoices.of_partner("P")
    for invoice in issued:
        verified = verify_invoice(books, issued, invoice.number)
        assert verified.holds, verified


SERVICES = prices(CALLING=PER_MONTH, SUITE=PER_MONTH, MEETINGS=PER_MONTH, SETUP_ASSIST_EXPRESS="120.00", SETUP_ASSIST_STANDARD="19.995")  # fmt: skip
PARTNER = org("P", subscriptionId="sub")


def test_of_a_sub_partner_nothing_is_billed_before_its_billing_start_and_every_microday_after(tmp_path: Path) -> None:
    # On a partner that is no sub-partner a billing start has no effect.
    partner = org("P", subscriptionId="sub", billingStartDate="2026-10-20")
    sub_partner = org("S", parentOrgId="P", billingStartDate="2026-10-10")
    world = Staged(
        tmp_path,
        [partner, sub_partner, SERVICES],
        [
            *held("P", "c", "CALLING", "2026-09-30T00:00:00Z", "2026-10-10T00:00:00Z"),
            *held("S", "all along", "CALLING", "2026-09-01T00:00:00Z"),
            *held("S", "until the start", "CALLING", "2026-10-01T00:00:00Z", "2026-10-10T00:00:00Z"),
            *held("S", "over the start", "CALLING", "2026-10-09T12:00:00Z", "2026-10-10T12:00:00Z"),
            *held("S", "43 ms are no microday", "SUITE", "2026-10-01T00:00:00Z", "2026-10-10T00:00:00.043Z"),
            *held("S", "44 ms are one", "MEETINGS", "2026-10-01T00:00:00Z", "2026-10-10T00:00:00.044Z"),
            ordered("S", "all along", "o-1", "2026-10-09T23:59:59.999Z", seats=5),
            ordered("S", "all along", "o-2", "2026-10-10T00:00:00Z", seats=6),
        ],
    )
    with world.store(1) as store:
        october = closed(world, store, OCTOBER)
        assert own(october) == {
            ("P", "CALLING"): (9_000_000, 900),
            ("S", "CALLING"): (22_500_000, 2250),
            ("S", "MEETINGS"): (1, 0),
            ("S", STANDARD): (6_000_000, 11997),
        }
        assert {one.key.subscription_id for one in october.lines} == {"sub"}
        assert own(closed(world, store, SEPTEMBER)) == {("P", "CALLING"): (1_000_000, 103)}
        check_reproduced(world.books(store))


def test_a_billing_start_that_is_moved_after_the_close_is_a_correction(tmp_path: Path) -> None:
    later = "2026-11-02T00:00:00Z"
    world = Staged(
        tmp_path,
        [PARTNER, org("S", parentOrgId="P", billingStartDate="2026-10-10"), SERVICES],
        [
            *held("S", "c", "CALLING", "2026-10-01T00:00:00Z", "2026-10-20T00:00:00Z"),
            ordered("S", "c", "o", "2026-10-11T00:00:00Z", seats=1),
        ],
        [org("S", later, parentOrgId="P", billingStartDate="2026-10-12")],
    )
    with world.store(1) as store:
        assert own(closed(world, store, OCTOBER)) == {("S", "CALLING"): (10_000_000, 1000), ("S", EXPRESS): (1_000_000, 12000)}  # fmt: skip
    with world.store(2) as store:
        moved = closed(world, store, SEPTEMBER)
        assert corrected(moved) == {("S", "CALLING"): (-2_000_000, -200), ("S", EXPRESS): (-1_000_000, -12000)}
        check_reproduced(world.books(store))


def test_setup_assist_is_billed_by_the_piece_in_the_month_of_its_order(tmp_path: Path) -> None:
    cancelled = line("setup-assist.cancelled", "2026-11-02T00:00:00Z", partnerOrgId="P", customerOrgId="b", orderId="o-1")  # fmt: skip
    world = Staged(
        tmp_path,
        [PARTNER, SERVICES],
        [
            ordered("P", "a", "o-1", "2026-09-30T23:59:59.999Z", seats=7),
            ordered("P", "a", "o-2", "2026-10-01T00:00:00Z", seats=5),
            ordered("P", "b", "o-1", "2026-10-31T23:59:59.999Z", seats=1),
            ordered("P", "b", "o-2", "2026-10-15T12:00:00Z", seats=6),
            ordered("P", "b", "o-3", "2026-10-15T12:00:00Z", seats=9),
            ordered("P", "b", "o-4", "2026-11-01T00:00:00Z", seats=100),
        ],
        [cancelled],
    )
    with world.store(1) as store:
        # Two of one flat price each; 15 seats at 19.995 are 299.925: rounded once, half to even.
        assert own(closed(world, store, OCTOBER)) == {
            ("P", EXPRESS): (2_000_000, 24000),
            ("P", STANDARD): (15_000_000, 29992),
        }
    with world.store(2) as store:
        september = closed(world, store, SEPTEMBER)
        assert own(september) == {("P", STANDARD): (7_000_000, 13996)}
        # Whenever a cancellation comes, the order is paid back whole.
        assert corrected(september) == {("P", EXPRESS): (-1_000_000, -12000)}
        check_reproduced(world.books(store))


def test_who_becomes_internal_after_the_close_is_paid_back_and_who_ceases_to_be_is_billed(tmp_path: Path) -> None:
    # What a customer is, is what was said last: also of the months before.
    world = Staged(
        tmp_path,
        [PARTNER, SERVICES],
        [
            *held("P", "a", "CALLING", "2026-10-01T00:00:00Z"),
            *held("P", "staff", "SUITE", "2026-10-29T00:00:00Z"),
            ordered("P", "staff", "o", "2026-10-29T00:00:00Z", seats=2),
            *held("P", "lab", "MEETINGS", "2026-10-22T00:00:00Z"),
            *held("P", "lab", "CALLING", "2026-10-22T00:00:00Z"),
            described("lab", "2026-09-01T00:00:00Z", internal=True),
        ],
        [
            described("staff", "2026-11-05T00:00:00Z", internal=True),
            described("lab", "2026-11-05T00:00:00Z", internal=False),
        ],
    )
    with world.store(1) as store:
        assert own(closed(world, store, OCTOBER)) == {
            ("P", "CALLING"): (31_000_000, 3100),
            ("P", "SUITE"): (3_000_000, 300),
            ("P", EXPRESS): (1_000_000, 12000),
        }
    with world.store(2) as store:
        september = closed(world, store, SEPTEMBER)
        assert {one.corrects for one in september.lines} == {1}
        assert corrected(september) == {
            ("P", "CALLING"): (10_000_000, 1000),
            ("P", "MEETINGS"): (10_000_000, 1000),
            ("P", "SUITE"): (-3_000_000, -300),
            ("P", EXPRESS): (-1_000_000, -12000),
        }
        check_reproduced(world.books(store))


REPRICED = [
    PARTNER,
    prices("2026-09-01T00:00:00Z", CALLING="31.00", SUITE="3.10"),
    prices("2026-10-15T00:00:00Z", CALLING="62.00", SUITE="6.20"),
    # Not in force at the end of October, which is before this instant.
    prices("2026-11-01T00:00:00Z", CALLING="93.00", SUITE="9.30"),
]
USED = held("P", "c", "CALLING", "2026-10-01T00:00:00Z")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    return Staged(tmp_path_factory.mktemp("repriced"), REPRICED, USED)


@pytest.fixture(scope="module")
def repriced(world: Staged) -> Iterator[ReadableStore]:
    with world.store(1) as store:
        yield store


@pytest.mark.parametrize(
    ("prices_at", "unit_price", "version"),
    [
        (None, "62.00", 2),
        ("2026-10-15T00:00:00Z", "31.00", 1),
        ("2026-10-15T00:00:00.001Z", "62.00", 2),
        ("2026-11-01T00:00:00Z", "62.00", 2),
        ("2026-11-01T00:00:00.001Z", "93.00", 3),
    ],
)
def test_prices_are_those_in_force_at_the_periods_end_or_when_it_was_asked_for(
    repriced: ReadableStore, world: Staged, prices_at: str | None, unit_price: str, version: int
) -> None:
    before_ms = None if prices_at is None else parse_time_ms(prices_at)
    (line,) = world.books(repriced).draft(order("P", OCTOBER, prices_before_ms=before_ms)).invoice.lines
    assert isinstance(line.price, Price)
    assert (line.price.unit_price, line.price.version) == (unit_price, version)


def test_a_closed_months_corrections_have_the_prices_that_it_was_closed_with(tmp_path: Path) -> None:
    late = [
        *held("P", "d", "CALLING", "2026-10-31T00:00:00Z", "2026-11-01T00:00:00Z"),
        *held("P", "d", "SUITE", "2026-10-31T00:00:00Z", "2026-11-01T00:00:00Z"),  # nobody had it before
    ]
    world = Staged(tmp_path, REPRICED, [*USED, *held("P", "c", "SUITE", "2026-09-30T00:00:00Z", "2026-10-01T00:00:00Z")], late)  # fmt: skip
    asked = parse_time_ms("2026-10-15T00:00:00Z")
    with world.store(1) as store:
        october = closed(world, store, OCTOBER, prices_before_ms=asked)
        assert (october.prices_before_ms, [one.offset for one in october.manifest.prices]) == (asked, [1])
        assert own(october) == {("P", "CALLING"): (31_000_000, 3100)}
    with world.store(2) as store:
        books = world.books(store)
        assert books.invoices.of_partner("P") == [october]
        september = closed(world, store, SEPTEMBER, prices_before_ms=parse_time_ms("2026-11-02T00:00:00Z"))
        # The month's own line is as was asked for it: 9.30 of a month of 30 days. Of October: 31.00 and 3.10 of 31.
        assert own(september) == {("P", "SUITE"): (1_000_000, 31)}
        assert corrected(september) == {("P", "CALLING"): (1_000_000, 100), ("P", "SUITE"): (1_000_000, 10)}
        check_reproduced(books)
