"""The printable page of an invoice: one layout, as HTML, and printed to PDF. The same invoice gives the same bytes."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from billing.closing.invoices import Daily, Invoice
from billing.closing.money import amount_text
from billing.closing.summary import summary_of
from billing.report import signed_quantity_text
from rtmeter.daily_chart import chart_of
from schemas.instants import day_text, time_text


class PdfUnavailable(OSError):
    """PDF needs WeasyPrint, and that needs Pango. The message says how to get them."""


def invoice_html(invoice: Invoice, daily: Daily | None) -> bytes:
    """The page. `daily` None, or without usage: it has no chart."""
    # Names and reasons are anybody's text: everything is escaped.
    environment = Environment(
        loader=PackageLoader("rtmeter"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"money": amount_text, "days": signed_quantity_text, "day": day_text, "time": time_text}
    page = environment.get_template("invoice.html.j2").render(
        invoice=invoice, summary=summary_of(invoice), chart=chart_of(daily or {}, invoice.period.first_day)
    )
    return page.encode() + b"\n"


def invoice_pdf(invoice: Invoice, daily: Daily | None) -> bytes:
    """The page on paper; PdfUnavailable. No time and nothing random is in it: same machine, same bytes."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        raise PdfUnavailable(
            f"PDF is not available here: {error}. Install Pango (Debian: libpango-1.0-0, libpangoft2-1.0-0) and "
            "`pip install 'rtmeter[pdf]'`; or print the page of `--format html` from a browser"
        ) from None
    page = HTML(string=invoice_html(invoice, daily).decode(), url_fetcher=_no_fetching)
    return bytes(page.write_pdf(pdf_identifier=invoice.sha256.encode(), pdf_variant="pdf/a-3u"))


def _no_fetching(url: str, *_: object, **__: object) -> dict[str, object]:
    raise ValueError(f"an invoice refers to nothing outside itself, not to {url}")
