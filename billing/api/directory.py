"""Who is whose sub-partner, as the catalog in the store says, looked at again every few seconds."""

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from billing.api.errors import unavailable
from schemas.events import PartnerData
from sinks.catalog import load_catalog
from sinks.store import ReadableStore, StoreFailed, StoreUnavailable

_FRESH_SECONDS = 2.0
_FIRST_VERSIONS = "SELECT entry, min(time_ms) FROM catalog_versions GROUP BY entry"


class SubPartner(Struct, frozen=True):
    """A sub-partner, the subscription that its customers are billed under (rule 22), and since when we know of it."""

    partner: PartnerData
    subscription_id: str | None
    created_ms: int


class Directory:
    """Parents and sub-partners. ApiError 503 if the store does not answer."""

    def __init__(self, open_store: Callable[[], ReadableStore]) -> None:
        self._open_store = open_store
        self._lock = threading.Lock()
        self._read_at = -_FRESH_SECONDS
        self._children: dict[str, list[SubPartner]] = {}

    def sub_partners_of(self, org_id: str) -> list[SubPartner]:
        """The sub-partners of an org, by id; none for one that is unknown or a sub-partner itself (rule 20)."""
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._children = self._read()
                self._read_at = time.monotonic()
            return self._children.get(org_id, [])

    def scope_of(self, org_id: str) -> list[str]:
        """The orgs whose reports an org sees: its own and its sub-partners' (rule 21)."""
        return [org_id, *(child.partner.partner_org_id for child in self.sub_partners_of(org_id))]

    def _read(self) -> dict[str, list[SubPartner]]:
        try:
            store = self._open_store()
            try:
                catalog = load_catalog(store)
                created: dict[str, int] = dict(store.query(_FIRST_VERSIONS))  # type: ignore[arg-type]
            finally:
                store.close()
        except (StoreFailed, StoreUnavailable, OSError):
            raise unavailable() from None
        children: dict[str, list[SubPartner]] = {}
        for org_id, partner in sorted(catalog.partners.items()):
            if partner.parent_org_id is not None and partner.parent_org_id != org_id:
                children.setdefault(partner.parent_org_id, []).append(
                    SubPartner(partner, catalog.default_subscription(org_id), created.get(f"partner/{org_id}", 0))
                )
        return children
