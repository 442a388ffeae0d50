"""The catalog as a function of the versions seen: identities judged, the latest version of each entry."""

from collections.abc import Iterable

from schemas.catalog import CatalogVersion
from schemas.events import PartnerData, ServiceEntry, SubscriptionData
from schemas.reasons import Reason, Refused


class CatalogState:
    """All versions of the catalog, in order of offset."""

    def __init__(self, versions: Iterable[CatalogVersion] = ()) -> None:
        self.partners: dict[str, PartnerData] = {}
        self.subscriptions: dict[str, SubscriptionData] = {}
        self._identities: dict[tuple[str, str], CatalogVersion] = {}
        self._latest: dict[str, CatalogVersion] = {}
        for version in versions:
            self.add(version)

    def add(self, version: CatalogVersion) -> bool:
        """Take a version in; False for a duplicate. `Refused` when its identity came before with other content."""
        identity = (version.source, version.id)
        known = self._identities.get(identity)
        if known is not None:
            if (known.order, known.data) == (version.order, version.data):
                return False
            raise Refused(
                Reason.IDENTITY_CONFLICT,
                f"source {version.source!r}, id {version.id!r} came before with other content",
            )
        self._identities[identity] = version
        latest = self._latest.get(version.key)
        if latest is None or version.order > latest.order:
            self._latest[version.key] = version
            if isinstance(version.data, PartnerData):
                self.partners[version.data.partner_org_id] = version.data
            else:
                self.subscriptions[version.data.subscription_id] = version.data
        return True

    def children_of(self, partner_id: str) -> list[str]:
        """The sub-partners of a partner: one level (rule 20)."""
        return sorted(
            child for child, data in self.partners.items() if data.parent_org_id == partner_id and child != partner_id
        )

    def default_subscription(self, owner_id: str) -> str | None:
        """The subscription of an org's customers that name none: a sub-partner's parent's, else its own (rule 22)."""
        owner = self.partners.get(owner_id)
        if owner is None:
            return None
        if owner.parent_org_id is None:
            return owner.subscription_id
        parent = self.partners.get(owner.parent_org_id)
        return None if parent is None else parent.subscription_id

    def service(self, subscription_id: str | None, item: str) -> ServiceEntry | None:
        """The purchase order's entry of an item: by name alone, in upper case, the first one (rule 19)."""
        subscription = None if subscription_id is None else self.subscriptions.get(subscription_id)
        if subscription is not None:
            for entry in subscription.services:
                if entry.service.upper() == item:
                    return entry
        return None
