"""Usage of a report straight from the core's state: what `rtmeter meter` reports from, without a store."""

from collections.abc import Iterable, Iterator

from billing.report import Owner, ReportRequest, ReportType, UsageRow, owners_of
from schemas.entitlements import SubscriberRecord
from streams.core.account import Account
from streams.core.catalog import CatalogState
from streams.core.grid import MICRODAYS_PER_DAY, microday


def usage_rows(request: ReportRequest, accounts: Iterable[Account], catalog: CatalogState) -> list[UsageRow]:
    """The rows of the report in its order, from every account of the state."""
    owners = {owner.org_id: owner for owner in owners_of(request, catalog)}
    rows: dict[tuple[str, ...], UsageRow] = {}
    for account in accounts:
        owner = owners.get(account.partner_id)
        if owner is None:
            continue
        for row in _account_rows(request, account, owner):
            known = rows.get(row.order)
            rows[row.order] = row if known is None else sum_rows(known, row)
    return [rows[order] for order in sorted(rows)]


def sum_rows(one: UsageRow, other: UsageRow) -> UsageRow:
    """Two parts of one row of a report: of two partitions, or two places."""
    return UsageRow(
        one.owner_id,
        one.subscription_id,
        one.item,
        one.customer_id,
        one.location_id,
        one.subscriber_id,
        one.external_id,
        one.user_id,
        one.workspace_id,
        min(one.first_used_day, other.first_used_day),
        max(one.last_used_day, other.last_used_day),
        one.quantity_microdays + other.quantity_microdays,
    )


def _account_rows(request: ReportRequest, account: Account, owner: Owner) -> Iterator[UsageRow]:
    customer = account.customer_record()
    internal = customer is not None and customer.internal
    if internal and not request.internal:
        return
    subscription_id = (customer.subscription_id if customer else None) or owner.subscription_id
    external_id = (customer.external_id if customer else None) or ""
    shown = request.report_type

    def row(
        item: str, location_id: str | None, first: int, last: int, quantity: int, who: tuple[str, str, str]
    ) -> UsageRow:
        if shown is ReportType.PARTNER:
            return UsageRow(account.partner_id, subscription_id, item, "", "", "", "", "", "", first, last, quantity)
        return UsageRow(
            account.partner_id,
            subscription_id,
            item,
            account.customer_id,
            location_id or "",
            who[0],
            external_id,
            who[1],
            who[2],
            first,
            last,
            quantity,
        )

    if shown is not ReportType.USER:
        for (location_id, item), day_map in account.groups.items():
            used = [(day, q) for day, q, _ in day_map.usage(owner.first_day, request.last_day) if q]
            if used:
                yield row(item, location_id, used[0][0], used[-1][0], sum(q for _, q in used), ("", "", ""))
        return
    for order in customer.orders if customer else ():
        if owner.first_day <= order.day <= request.last_day:
            yield row(order.item, order.location_id, order.day, order.day, order.quantity_microdays, ("", "", ""))
    for subscriber_id, record in account.subscriber_records():
        who = (subscriber_id, record.user_id or "", record.workspace_id or "")
        for item, location_id, first, last, quantity in _clipped(record, owner.first_day, request.last_day):
            yield row(item, location_id, first, last, quantity, who)


def _clipped(
    record: SubscriberRecord, first_day: int, last_day: int
) -> Iterator[tuple[str, str | None, int, int, int]]:
    """(item, location, first day, last day, quantity) of each interval's part within the days."""
    begin = first_day * MICRODAYS_PER_DAY
    end = (last_day + 1) * MICRODAYS_PER_DAY
    for interval in record.intervals:
        start = max(begin, microday(interval.start_ms))
        stop = end if interval.end_ms is None else min(end, microday(interval.end_ms))
        if start < stop:
            yield (
                interval.item,
                interval.location_id,
                start // MICRODAYS_PER_DAY,
                (stop - 1) // MICRODAYS_PER_DAY,
                stop - start,
            )
