"""The demo's partners and sub-partners, and the catalog that describes them."""

from datetime import date, timedelta
from typing import Final

from msgspec import Struct

from rtmeter.demo.offers import ADDONS, ONE_TIME, PACKAGES
from rtmeter.demo.wire import Fact, line_of

_SOURCE: Final = "/demo/order-desk"


class Owner(Struct, frozen=True):
    """An org that has customers. `share`: its part of all subscribers, in hundredths."""

    org_id: str
    name: str
    share: int
    parent_id: str | None = None
    starts_in_mid_month: bool = False

    @property
    def top_id(self) -> str:
        """The partner whose invoice its usage is on (rule 24)."""
        return self.parent_id or self.org_id


OWNERS: Final = (
    Owner("harbourline", "Harbourline Telecom, Inc.", 36),
    Owner("coastwise", "Coastwise IT Services", 14, "harbourline"),
    Owner("fenbridge", "Fenbridge Office Systems", 10, "harbourline", starts_in_mid_month=True),
    Owner("ternvale", "Tern & Vale Communications", 28),
    Owner("quillmark", "Quillmark Networks", 12),
)
#: Orgs that are invoiced: those that reports are made for.
TOP_PARTNERS: Final = tuple(owner for owner in OWNERS if owner.parent_id is None)
_CURRENCIES: Final = {"harbourline": "USD", "ternvale": "GBP", "quillmark": "EUR"}


def subscription_of(top_id: str) -> str:
    """A partner's single blanket purchase order."""
    return f"po-{top_id}"


def catalog_lines(month: date, before_ms: int, mid_month_ms: int) -> list[bytes]:
    """Subscriptions and partners as of `before_ms`; a renaming and a refused entry in mid-month.

    One sub-partner's billing starts on the 16th: its usage before is neither reported nor billed (rule 23).
    """
    lines = [_subscription(owner, before_ms) for owner in TOP_PARTNERS]
    lines += [_partner(owner, owner.name, 1, before_ms, month) for owner in OWNERS]
    renamed = OWNERS[-1]
    lines.append(_partner(renamed, f"{renamed.name} Europe", 2, mid_month_ms, month))
    lines.append(lines[0])  # a sender that was not sure tries again: a duplicate
    lines.append(_subscription(TOP_PARTNERS[1], mid_month_ms, price="12,50", version=2))  # no decimal: refused
    return lines


def _partner(owner: Owner, name: str, version: int, time_ms: int, month: date) -> bytes:
    data: dict[str, object] = {"partnerOrgId": owner.org_id, "name": name, "provisioningState": "active"}
    if owner.parent_id is not None:
        data["parentOrgId"] = owner.parent_id
    else:
        data["subscriptionId"] = subscription_of(owner.org_id)
    if owner.starts_in_mid_month:
        data["billingStartDate"] = (month + timedelta(days=15)).isoformat()
    return line_of(Fact(time_ms, "partner.upserted", _SOURCE, f"{owner.org_id}-{version}", data))


def _subscription(owner: Owner, time_ms: int, price: str | None = None, version: int = 1) -> bytes:
    services = [
        {
            "service": offer.service,
            "sku": offer.sku,
            "description": offer.description,
            "kind": offer.kind,
            "unitPrice": price or offer.price,
        }
        for offer in (*PACKAGES, *ADDONS, *ONE_TIME)
    ]
    data: dict[str, object] = {
        "subscriptionId": subscription_of(owner.org_id),
        "partnerOrgId": owner.org_id,
        "currency": _CURRENCIES[owner.org_id],
        "services": services,
    }
    return line_of(Fact(time_ms, "subscription.upserted", _SOURCE, f"{data['subscriptionId']}-{version}", data))
