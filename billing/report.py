"""Billing reports: columns, order and bytes of the CSV (rule 32), whatever the usage was read from."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from schemas.instants import day_number, day_text
from streams.core.catalog import CatalogState


class ReportType(StrEnum):
    PARTNER = "PARTNER"
    CUSTOMER = "CUSTOMER"
    USER = "USER"


class NotAChild(ValueError):
    """The sub-partner of the request is not a child of its partner."""


class ReportRequest(Struct, frozen=True):
    """Which report: `first_day` and `last_day`, both included, in days since the epoch."""

    report_type: ReportType
    partner_id: str
    sub_partner_id: str | None
    first_day: int
    last_day: int
    internal: bool = False


class Owner(Struct, frozen=True):
    """An org whose customers the report holds. Usage before `first_day` is left out (rule 23)."""

    org_id: str
    name: str
    subscription_id: str
    first_day: int


class UsageRow(Struct, frozen=True):
    """Usage of one row of the report. Ids that the report type does not show are empty."""

    owner_id: str
    subscription_id: str
    item: str
    customer_id: str
    location_id: str
    subscriber_id: str
    external_id: str
    user_id: str
    workspace_id: str
    first_used_day: int
    last_used_day: int
    quantity_microdays: int

    @property
    def order(self) -> tuple[str, str, str, str, str, str]:
        """The order of rule 32. By code point, which for UTF-8 is by bytes."""
        return (
            self.owner_id,
            self.subscription_id,
            self.item,
            self.customer_id,
            self.location_id,
            self.subscriber_id,
        )


_PARTNER = ("PARTNER_NAME", "PARTNER_ORG_ID")
_CUSTOMER = ("CUSTOMER_ORG_ID", "CUSTOMER_EXTERNAL_ID")
_SERVICE = (
    "SUBSCRIPTION_ID",
    "SERVICE_NAME",
    "SKU",
    "DESCRIPTION",
    "CONSUMPTION_START_DATE",
    "CONSUMPTION_END_DATE",
    "QUANTITY",
)
COLUMNS = {
    ReportType.PARTNER: _PARTNER + _SERVICE,
    ReportType.CUSTOMER: _PARTNER + _CUSTOMER + _SERVICE + ("LOCATION_ID",),
    ReportType.USER: _PARTNER + _CUSTOMER + _SERVICE + ("LOCATION_ID", "SUBSCRIBER_ID", "USER_ID", "WORKSPACE_ID"),
}

#: A cell that starts with one of these would be a formula to a spreadsheet.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_ROWS_PER_CHUNK = 1000


def owners_of(request: ReportRequest, catalog: CatalogState) -> list[Owner]:
    """The orgs whose customers the report holds: the sub-partner, or the partner and its sub-partners (rule 24).

    NotAChild if the sub-partner is not a child of the partner.
    """
    children = catalog.children_of(request.partner_id)
    if request.sub_partner_id is None:
        org_ids = [request.partner_id, *children]
    elif request.sub_partner_id in children:
        org_ids = [request.sub_partner_id]
    else:
        raise NotAChild(f"{request.sub_partner_id} is not a sub-partner of {request.partner_id}")
    owners = []
    for org_id in org_ids:
        entry = catalog.partners.get(org_id)
        starts = entry is not None and entry.parent_org_id is not None and entry.billing_start_date is not None
        billing_start = day_number(entry.billing_start_date) if starts else request.first_day  # type: ignore[union-attr, arg-type]
        owners.append(
            Owner(
                org_id,
                "" if entry is None else entry.name,
                catalog.default_subscription(org_id) or "",
                max(billing_start, request.first_day),
            )
        )
    return sorted(owners, key=lambda owner: owner.org_id)


def write_csv(request: ReportRequest, rows: Iterable[UsageRow], catalog: CatalogState) -> Iterator[bytes]:
    """The report's bytes, in pieces. `rows` in the order of `UsageRow.order`, one per row of the report."""
    names = {owner.org_id: owner.name for owner in owners_of(request, catalog)}
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow(COLUMNS[request.report_type])
    for count, row in enumerate(rows, start=1):
        writer.writerow(_cells(request.report_type, row, names[row.owner_id], catalog))
        if count % _ROWS_PER_CHUNK == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def csv_line(cells: Sequence[object]) -> str:
    """One line, with its end: cells in quotes only where they must be."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


def quantity_text(quantity_microdays: int) -> str:
    """A plain decimal in days: at most six places, no exponent, no trailing zeros."""
    whole, rest = divmod(quantity_microdays, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def signed_quantity_text(quantity_microdays: int) -> str:
    """As `quantity_text`, of what may be less than nothing: a credit, or a difference."""
    return quantity_text(quantity_microdays) if quantity_microdays >= 0 else f"-{quantity_text(-quantity_microdays)}"


def _cells(report_type: ReportType, row: UsageRow, name: str, catalog: CatalogState) -> list[str]:
    entry = catalog.service(row.subscription_id, row.item)
    cells = [safe_text(name), safe_text(row.owner_id)]
    if report_type is not ReportType.PARTNER:
        cells += [safe_text(row.customer_id), safe_text(row.external_id)]
    cells += [
        safe_text(row.subscription_id),
        safe_text(row.item),
        "" if entry is None else safe_text(entry.sku),
        "" if entry is None else safe_text(entry.description),
        day_text(row.first_used_day),
        day_text(row.last_used_day),
        quantity_text(row.quantity_microdays),
    ]
    if report_type is not ReportType.PARTNER:
        cells.append(safe_text(row.location_id))
    if report_type is ReportType.USER:
        cells += [safe_text(row.subscriber_id), safe_text(row.user_id), safe_text(row.workspace_id)]
    return cells


def safe_text(cell: str) -> str:
    """A text as it stands in a cell: no spreadsheet takes it for a formula."""
    return "'" + cell if cell.startswith(FORMULA_STARTS) else cell
