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
        # Who asks for the children of each of many thousand partners must not look at all of them each time.
        self._children: dict[str, set[str]] = {}
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
                self._set_partner(version.data)
            else:
                self.subscriptions[version.data.subscription_id] = version.data
        return True

    def children_of(self, partner_id: str) -> list[str]:
        """The sub-partners of a partner: one level (rule 20)."""
        return sorted(self._children.get(partner_id, ()))

    def _set_partner(self, data: PartnerData) -> None:
        org_id = data.partner_org_id
        known = self.partners.get(org_id)
        if known is not None and known.parent_org_id is not None:
            self._children.get(known.parent_org_id, set()).discard(org_id)
        self.partners[org_id] = data
        if data.parent_org_id is not None and data.parent_org_id != org_id:
            self._children.setdefault(data.parent_org_id, set()).add(org_id)

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
        return None if subscription is None else service_of(subscription, item)


def service_of(subscription: SubscriptionData, item: str) -> ServiceEntry | None:
    """A purchase order's entry of an item: by name alone, in upper case, the first one (rule 19)."""
    for entry in subscription.services:
        if entry.service.upper() == item:
            return entry
    return None
