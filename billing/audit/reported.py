"""How usage is reported: whose report, under which subscription, at which price, and what is left out and why."""

from collections.abc import Iterable, Mapping

from billing.audit.explanation import Attribute, Cited, Reported, ReportedRow
from billing.audit.words import cited_event, code, days_text
from billing.report import Owner, ReportRequest, ReportType, owners_of
from schemas.entitlements import CustomerRecord
from schemas.events import PartnerData
from schemas.instants import day_number
from streams.core.catalog import CatalogState

#: (item, location, day, microdays).
Used = tuple[str, str | None, int, int]


def reported(
    partner_id: str,
    days: tuple[int, int],
    catalog: CatalogState,
    customer: CustomerRecord,
    attributes: Iterable[Attribute],
    used: Iterable[Used],
) -> Reported:
    """How the usage of a customer, or of one of its subscribers, stands in the reports of its owner.

    `days`: the first and the last day asked for; `used`: every day's usage within them.
    """
    first_day, last_day = days
    stated_by = {attribute.name: attribute.stated_by for attribute in attributes}
    (owner,) = (
        owner
        for owner in owners_of(ReportRequest(ReportType.USER, partner_id, None, first_day, last_day), catalog)
        if owner.org_id == partner_id
    )
    subscription_id = customer.subscription_id or owner.subscription_id
    rows = _rows(used, owner, subscription_id, catalog)
    said = [
        *_of_owner(partner_id, catalog.partners.get(partner_id)),
        _of_subscription(partner_id, customer, subscription_id, catalog, stated_by),
        *_of_customer(customer, stated_by),
        *_of_billing_start(catalog.partners.get(partner_id), rows, first_day),
        *_of_services(rows, subscription_id),
    ]
    return Reported(customer.internal, customer.external_id or "", rows, said)


def _rows(used: Iterable[Used], owner: Owner, subscription_id: str, catalog: CatalogState) -> list[ReportedRow]:
    days: dict[tuple[str, str | None], dict[int, int]] = {}
    for item, location_id, day, quantity in used:
        of_row = days.setdefault((item, location_id), {})
        of_row[day] = of_row.get(day, 0) + quantity
    rows = []
    for (item, location_id), quantities in sorted(days.items(), key=lambda entry: (entry[0][0], entry[0][1] or "")):
        counted = [day for day, quantity in quantities.items() if quantity and day >= owner.first_day]
        quantity = sum(quantities[day] for day in counted)
        entry = catalog.service(subscription_id, item)
        subscription = catalog.subscriptions.get(subscription_id)
        rows.append(
            ReportedRow(
                subscription_id,
                item,
                location_id,
                min(counted, default=None),
                max(counted, default=None),
                quantity,
                sum(quantities.values()) - quantity,
                entry is not None,
                "" if entry is None else entry.sku,
                "" if entry is None else entry.description,
                "" if entry is None else entry.unit_price,
                "" if subscription is None else subscription.currency,
            )
        )
    return rows


def _of_owner(partner_id: str, partner: PartnerData | None) -> list[str]:
    if partner is None:
        return [
            f"The catalog does not know {code(partner_id)}: it is reported all the same, with an empty PARTNER_NAME."
        ]
    name = f"{code(partner_id)} ({code(partner.name)})" if partner.name else code(partner_id)
    if partner.parent_org_id is None:
        said = [f"{name} is a partner: this is in its own reports."]
    else:
        parent = code(partner.parent_org_id)
        said = [f"{name} is a sub-partner of {parent}: this is in its own reports and in those of {parent}."]
    if partner.provisioning_state == "suspended":
        said.append(f"{code(partner_id)} is suspended: what runs goes on being billed.")
    return said


def _of_subscription(
    partner_id: str,
    customer: CustomerRecord,
    subscription_id: str,
    catalog: CatalogState,
    stated_by: Mapping[str, Cited],
) -> str:
    if customer.subscription_id:
        why = f"the customer's own, by {cited_event(stated_by['subscriptionId'])}"
    else:
        partner = catalog.partners.get(partner_id)
        if partner is not None and partner.parent_org_id is not None:
            why = f"that of its parent {code(partner.parent_org_id)}, since the customer names none"
        else:
            why = "that of the partner, since the customer names none"
    if not subscription_id:
        return "No subscription applies: the customer names none and the catalog has none. SKU and price are not known."
    known = "" if subscription_id in catalog.subscriptions else " The catalog does not have it."
    return f"The subscription is {code(subscription_id)}: {why}.{known}"


def _of_customer(customer: CustomerRecord, stated_by: Mapping[str, Cited]) -> list[str]:
    said = []
    if customer.internal:
        by = cited_event(stated_by["internal"])
        said.append(f"The customer is internal, by {by}: left out of reports unless asked for, and of invoices always.")
    if customer.external_id is None:
        said.append(
            "No event gave the customer an external id: CUSTOMER_EXTERNAL_ID is empty. It is metered all the same."
        )
    return said


def _of_billing_start(partner: PartnerData | None, rows: list[ReportedRow], first_day: int) -> list[str]:
    if partner is None or partner.billing_start_date is None:
        return []
    day = partner.billing_start_date
    if partner.parent_org_id is None:
        return [
            f"A billing start date ({day}) has an effect on sub-partners only, and {code(partner.partner_org_id)} is none."
        ]
    if day_number(day) <= first_day:
        return [f"The sub-partner's billing starts on {day}: nothing of these days is cut."]
    cut = sum(row.cut_microdays for row in rows)
    begun = f"The sub-partner's billing starts on {day}"
    if not cut:
        return [f"{begun}: of these days, nothing was used before it."]
    return [f"{begun}: {days_text(cut)} before that day are neither reported nor billed."]


def _of_services(rows: list[ReportedRow], subscription_id: str) -> list[str]:
    said = []
    items = dict.fromkeys(row.item for row in rows if not row.listed)
    for item in items:
        where = f"The subscription {code(subscription_id)}" if subscription_id else "No subscription"
        verb = "does not list" if subscription_id else "lists"
        said.append(f"{where} {verb} {code(item)}: metered and reported, with SKU, description and price unknown.")
    if not any(row.quantity_microdays for row in rows):
        said.append("Nothing is left to report for these days: there is no row.")
    return said
