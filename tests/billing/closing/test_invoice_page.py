"""The printable page of an invoice: every sum on it is of its lines, anybody's text is text, the bytes are the same each time."""

import itertools
import re
import subprocess
import sys
from html import unescape

import pytest

from billing.closing.invoices import Cut, GateSeen, Invoice, Manifest, WaitingCorrection
from billing.closing.lines import RULES, Line, UsageKey, amount_of, sha256_of
from billing.closing.money import amount_text
from billing.closing.period import Period, period_of
from billing.closing.prices import Price
from billing.closing.summary import summary_of
from rtmeter.daily_chart import chart_of
from rtmeter.invoice_page import PdfUnavailable, invoice_html, invoice_pdf

OCTOBER, AUGUST, SEPTEMBER = map(period_of, ("2026-10", "2026-08", "2026-09"))
EVIL = "<script>alert('x')</script>&\"'{{ 7*7 }}"
CALLING = Price("package", "USD", "7.10", "sku-1", EVIL, 4)
SUITE = Price("package", "EUR", "11.25", "sku-2", "Набор 日本語", 5)


def line(
    period: Period, org: str, service: str, quantity: int, price: Price | None, corrects: int | None = None
) -> Line:
    amount = None if price is None else amount_of(price, quantity, period.days)
    return Line(period, corrects, UsageKey(org, "sub", service), price, "" if price else "why not", quantity, amount, 0)


LINES = (
    line(OCTOBER, "P", "CALLING", 31_000_000, CALLING),
    line(OCTOBER, "P", "NEW_THING", 500_000, None),
    line(OCTOBER, "S-" + EVIL, "CALLING", 15_500_001, CALLING),
    line(OCTOBER, "S-" + EVIL, "SUITE", 62_000_000, SUITE),
    line(AUGUST, "P", "CALLING", -3_000_000, CALLING, 1),
    line(SEPTEMBER, "P", "CALLING", 2_000_000, CALLING, 2),
    line(SEPTEMBER, "P", "SUITE", 1_000_000, SUITE, 2),
)
MANIFEST = Manifest(
    RULES, 7, 3, 1, 0, {}, sha256_of(LINES), (), (GateSeen("priced", False, "1 line has none", EVIL),),
    (WaitingCorrection(SEPTEMBER, 2, {}),),
)  # fmt: skip
INVOICE = Invoice(
    "P", 3, OCTOBER, OCTOBER.end_ms, Cut({0: 7}, 5), 10, LINES, sha256_of(LINES), MANIFEST, EVIL, 1_793_500_000_000
)  # fmt: skip
DAILY = {"CALLING": [1_500_000] * 31, "NEW_THING": [0] * 30 + [500_000], "SUITE": [2_000_000] * 31}


def test_every_sum_is_of_the_lines_and_all_add_up() -> None:
    found = summary_of(INVOICE)
    assert [(one.service, one.quantity_microdays, one.unpriced_microdays) for one in found.services] == [
        ("CALLING", 46_500_001, 0),
        ("NEW_THING", 500_000, 500_000),
        ("SUITE", 62_000_000, 0),
    ]
    assert [org.org_id for org in found.orgs] == ["P", "S-" + EVIL]
    assert [(month.period, month.corrects) for month in found.corrections] == [(AUGUST, 1), (SEPTEMBER, 2)]
    for currency in ("USD", "EUR"):
        whole = sum(line.amount_minor or 0 for line in LINES if line.price and line.price.currency == currency)
        by_part = [org.amounts for org in found.orgs], [month.amounts for month in found.corrections]
        assert found.amounts[currency] == whole
        assert found.own_amounts[currency] == sum(amounts.get(currency, 0) for amounts in by_part[0])
        assert found.corrected_amounts[currency] == sum(amounts.get(currency, 0) for amounts in by_part[1])
        assert found.own_amounts[currency] + found.corrected_amounts[currency] == whole
        assert found.own_amounts[currency] == sum(one.amounts.get(currency, 0) for one in found.services)


def test_the_page_says_it_all_and_takes_no_text_for_markup() -> None:
    page = invoice_html(INVOICE, DAILY).decode()
    assert page == invoice_html(INVOICE, DAILY).decode()
    assert "<script" not in page and "{{" not in page.replace("{{ 7*7 }}", "")
    text = unescape(re.sub(r"<[^>]*>", " ", page))
    assert text.count(EVIL) >= 4
    for said in ("Invoice 3", "Набор 日本語", "0.5 of it without a price", "By sub-partner", "2026-08-01 to 2026-08-31, invoice 1", "-3", "waits for approval"):  # fmt: skip
        assert said in text, said
    for currency, amount in summary_of(INVOICE).amounts.items():
        assert f"{amount_text(amount, currency)} {currency}" in text
    # Nothing is fetched, neither by a browser nor by the printer.
    assert not re.search(r"(src|href)=|url\(|@import", page)


def test_an_invoice_without_lines_or_days_is_a_page_too() -> None:
    empty = Invoice("P", 1, OCTOBER, 0, Cut({}, 0), 10, (), "", Manifest(RULES, 0, 0, 0, 0, {}, "", (), (), ()), "C", 1)
    for daily in (None, {}, {"X": [0] * 31}):
        page = invoice_html(empty, daily).decode()
        assert "No usage." in page and "<svg" not in page


def test_bars_stand_on_each_other_and_are_as_high_as_the_usage() -> None:
    chart = chart_of(DAILY, OCTOBER.first_day)
    assert chart is not None and len(chart.bars) == 31 + 1 + 31
    days: dict[int, list[tuple[int, int]]] = {}
    for bar in chart.bars:
        days.setdefault(bar.x, []).append((bar.y, bar.height))
    bottom = max(y + height for bars in days.values() for y, height in bars)
    for bars in days.values():
        for (y, _), (above, height) in itertools.pairwise(bars):
            assert above + height == y
        assert bars[0][0] + bars[0][1] == bottom
    heights = {x: sum(height for _, height in bars) for x, bars in days.items()}
    assert max(heights.values()) == heights[max(days)] == 226, "the last day has most"
    assert set(heights.values()) == {226, 35 * 226 // 40}
    assert chart.bars[0].title == "2026-10-01, CALLING: 1.5"
    assert [text for _, text in chart.ticks] == ["0", "2", "4"]


def printed() -> bytes:
    try:
        return invoice_pdf(INVOICE, DAILY)
    except PdfUnavailable as error:
        pytest.skip(str(error))


def test_the_pdf_has_the_same_bytes_each_time() -> None:
    made = printed()
    assert made.startswith(b"%PDF-") and made == printed()
    assert b"CreationDate" not in made
    again = (
        "import sys; from tests.billing.closing.test_invoice_page import printed; sys.stdout.buffer.write(printed())"
    )
    other_process = subprocess.run([sys.executable, "-c", again], capture_output=True, check=True, timeout=120)
    assert other_process.stdout == made


def test_without_the_printer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(PdfUnavailable, match=r"rtmeter\[pdf\]"):
        invoice_pdf(INVOICE, DAILY)
