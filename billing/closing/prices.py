"""Prices of the purchase orders, by the version that is in force at a time."""

from collections.abc import Iterable

from msgspec import Struct

from billing.closing.money import UnknownCurrency, minor_digits
from schemas.catalog import CatalogVersion
from schemas.events import SubscriptionData
from streams.core.catalog import service_of
from streams.core.customer import EXPRESS, STANDARD

ONE_TIME = "one-time"


class Price(Struct, frozen=True):
    """What a purchase order says of a service. `unit_price`: decimal as text, as it was agreed.

    `version`: the offset in the catalog of the version of the subscription that says so.
    """

    kind: str
    currency: str
    unit_price: str
    sku: str
    description: str
    version: int


class Unpriced(Struct, frozen=True):
    """Why a service has no price."""

    why: str


class PriceBook:
    """All versions of all subscriptions, as far as the catalog took them."""

    def __init__(self, versions: Iterable[CatalogVersion]) -> None:
        self._versions: dict[str, list[CatalogVersion]] = {}
        for version in versions:
            if isinstance(version.data, SubscriptionData):
                self._versions.setdefault(version.data.subscription_id, []).append(version)
        for of_one in self._versions.values():
            of_one.sort(key=lambda version: version.order)

    def version_in_force(self, subscription_id: str, before_ms: int) -> CatalogVersion | None:
        """The latest version whose time is before an instant; None if there is none."""
        found = None
        for version in self._versions.get(subscription_id, ()):
            if version.time_ms < before_ms:
                found = version
        return found

    def price(self, subscription_id: str, service: str, before_ms: int) -> Price | Unpriced:
        """The price of a service under a subscription (rule 19: by name alone, the first entry)."""
        version = self.version_in_force(subscription_id, before_ms)
        if version is None:
            return Unpriced("no version of the subscription is in force" if subscription_id else "no subscription")
        assert isinstance(version.data, SubscriptionData)
        entry = service_of(version.data, service)
        if entry is None:
            return Unpriced("not in the subscription")
        # The quantity of one is in items and of the other in days: by the wrong rule the amount would be far off.
        if (entry.kind == ONE_TIME) != (service in (EXPRESS, STANDARD)):
            return Unpriced(f"listed as {entry.kind}, which it is not")
        try:
            minor_digits(version.data.currency)
        except UnknownCurrency as error:
            return Unpriced(str(error))
        return Price(entry.kind, version.data.currency, entry.unit_price, entry.sku, entry.description, version.offset)
