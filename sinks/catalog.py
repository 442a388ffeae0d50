"""The catalog as the store has it."""

from typing import Any, Protocol

import msgspec

from schemas.catalog import CatalogVersion
from schemas.events import PartnerData, SubscriptionData
from streams.core.catalog import CatalogState


class Answers(Protocol):
    """What is asked here of a store."""

    def query(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]: ...


def load_catalog(store: Answers) -> CatalogState:
    """The catalog as stored: every version, in order of offset."""
    found = store.query(
        "SELECT entry, offset, time_ms, sequence, source, id, data FROM catalog_versions FINAL ORDER BY offset"
    )
    state = CatalogState()
    for entry, offset, time_ms, sequence, source, identifier, data in found:
        kind: type[PartnerData | SubscriptionData] = PartnerData if entry.startswith("partner/") else SubscriptionData
        state.add(CatalogVersion(time_ms, sequence, source, identifier, offset, msgspec.json.decode(data, type=kind)))
    return state
