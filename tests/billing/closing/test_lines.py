"""Lines: what has no price is listed and never billed; a price is that of the version in force; bytes are stable."""

from billing.closing.lines import Line, UsageKey, lines_of, sha256_of, totals, written
from billing.closing.period import period_of
from billing.closing.prices import Price, PriceBook, Unpriced
from schemas.catalog import CatalogVersion
from schemas.events import PartnerData, ServiceEntry, SubscriptionData

OCTOBER = period_of("2026-10")
CALLING = Price("package", "USD", "7.10", "sku-1", "Calling", 4)


def entry(service: str, price: str, kind: str = "package") -> ServiceEntry:
    return ServiceEntry(service, f"sku-{service}", "text", kind, price)  # type: ignore[arg-type]


def version(time_ms: int, offset: int, *services: ServiceEntry, currency: str = "USD") -> CatalogVersion:
    return CatalogVersion(
        time_ms, None, "/s", str(offset), offset, SubscriptionData("sub", "P", currency, list(services))
    )


def test_the_version_in_force_is_the_latest_before_the_instant_whatever_came_first() -> None:
    book = PriceBook(
        [
            CatalogVersion(0, None, "/s", "p", 0, PartnerData("P", "P", "active")),
            version(300, 1, entry("CALLING", "3")),
            version(100, 2, entry("CALLING", "1")),
            version(200, 3, entry("calling", "2")),
        ]
    )
    assert book.price("sub", "CALLING", 100) == Unpriced("no version of the subscription is in force")
    found = [book.price("sub", "CALLING", before) for before in (101, 200, 201, 300, 301)]
    assert [price.unit_price for price in found if isinstance(price, Price)] == ["1", "1", "2", "2", "3"]
    assert [price.version for price in found if isinstance(price, Price)] == [2, 2, 3, 3, 1]


def test_what_cannot_be_priced_says_why() -> None:
    book = PriceBook(
        [version(1, 1, entry("CALLING", "1"), entry("SETUP_ASSIST_EXPRESS", "1"), entry("X", "1", "one-time"))]
    )
    assert book.price("", "CALLING", 9) == Unpriced("no subscription")
    assert book.price("sub", "OTHER", 9) == Unpriced("not in the subscription")
    assert book.price("sub", "SETUP_ASSIST_EXPRESS", 9) == Unpriced("listed as package, which it is not")
    assert book.price("sub", "X", 9) == Unpriced("listed as one-time, which it is not")
    odd = PriceBook([version(1, 1, entry("CALLING", "1"), currency="XXX")])
    assert "no currency" in str(odd.price("sub", "CALLING", 9))


def lines(quantities: dict[str, int]) -> list[Line]:
    now = {UsageKey("P", "sub", service): quantity for service, quantity in quantities.items()}
    return lines_of(OCTOBER, None, now, (), lambda _, service: CALLING if service == "A" else Unpriced("why not"))


def test_an_unpriced_item_is_a_line_without_an_amount() -> None:
    priced, unpriced = lines({"A": 31_000_000, "B": 5, "C": 0})
    assert (priced.amount_minor, priced.unpriced, priced.residue_minor) == (710, "", 0)
    assert (unpriced.amount_minor, unpriced.unpriced, unpriced.quantity_microdays) == (None, "why not", 5)
    assert totals([priced, unpriced]) == {"USD": 710}


def test_the_bytes_of_lines_are_these() -> None:
    made = lines({"A": 15_500_001, "B": 5})
    assert written(made) == [
        b'[1,"2026-10-01","2026-10-31",null,"P","sub","A",15500001,31,"package","7.10","USD","sku-1","Calling",4,"3.55","0.00",""]',
        b'[2,"2026-10-01","2026-10-31",null,"P","sub","B",5,31,"why not"]',
    ]
    assert sha256_of(made) == "0fc95b0d37dc0989c7274e7a2c01784c15a3ff8716e080dafa2801c63ed98ddc"
    assert len({sha256_of(made), sha256_of(made[:1]), sha256_of(lines({"A": 15_500_002, "B": 5})), sha256_of([])}) == 4
