"""The catalog as the store has it."""

import msgspec

from schemas.catalog import CatalogVersion
from schemas.events import PartnerData, SubscriptionData
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState


def load_catalog(store: ReadableStore) -> CatalogState:
    """The catalog as stored: every version, in order of offset."""
    found = store.query(
        "SELECT entry, offset, time_ms, sequence, source, id, data FROM catalog_versions FINAL ORDER BY offset"
    )
    state = CatalogState()
    for entry, offset, time_ms, sequence, source, identifier, data in found:
        kind: type[PartnerData | SubscriptionData] = PartnerData if entry.startswith("partner/") else SubscriptionData
        state.add(CatalogVersion(time_ms, sequence, source, identifier, offset, msgspec.json.decode(data, type=kind)))
    return state
