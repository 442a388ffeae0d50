"""Which partners there are to close, and how they are read in groups. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from streams.core.catalog import CatalogState

#: So many stored rows of daily usage and intervals are summed at once, unless one partner alone has more: some hundred
#: megabytes in the engine.
ROWS_PER_GROUP = 2_000_000
#: So many orgs are named in one query: the engine reads a long list slowly.
_ORGS_PER_GROUP = 500


class Billed(Struct, frozen=True):
    """`partner_ids`: whose month is closed. `strays`: orgs with usage that stand on none of their invoices, and why."""

    partner_ids: tuple[str, ...]
    strays: dict[str, str]


def partners_to_close(catalog: CatalogState, with_usage: Iterable[str]) -> Billed:
    """Every partner that is no sub-partner, and every org with usage that the catalog does not know (rule 19).

    There is one level of sub-partners (rule 20): one below a sub-partner is on nobody's invoice, and is said.
    """
    with_usage = set(with_usage)
    entries = catalog.partners
    parents = {data.parent_org_id for data in entries.values() if data.parent_org_id is not None}
    tops = {org for org, data in entries.items() if data.parent_org_id in (None, org)}
    tops |= {org for org in parents | with_usage if org not in entries}
    billed = tops | {child for top in tops for child in catalog.children_of(top)}
    strays = {
        org: f"sub-partner of {entries[org].parent_org_id}, which is one itself: its usage is on no invoice"
        for org in sorted(with_usage - billed)
    }
    return Billed(tuple(sorted(tops)), strays)


def groups_of(
    partner_ids: Iterable[str], rows: Mapping[str, int], catalog: CatalogState, rows_per_group: int = ROWS_PER_GROUP
) -> Iterator[list[str]]:
    """The partners in order, in groups that are read at once. `rows`: how many stored rows an org has."""
    group: list[str] = []
    group_rows = group_orgs = 0
    for partner_id in partner_ids:
        orgs = [partner_id, *catalog.children_of(partner_id)]
        own_rows = sum(rows.get(org, 0) for org in orgs)
        if group and (group_rows + own_rows > rows_per_group or group_orgs + len(orgs) > _ORGS_PER_GROUP):
            yield group
            group, group_rows, group_orgs = [], 0, 0
        group.append(partner_id)
        group_rows += own_rows
        group_orgs += len(orgs)
    if group:
        yield group
