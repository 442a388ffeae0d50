"""An invoice summed up for its reader: by service, by org, its corrections by month. Pure; every sum is of its lines."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from billing.closing.invoices import Invoice
from billing.closing.lines import Line, totals
from billing.closing.period import Period

_K = TypeVar("_K", bound=tuple[object, ...])


class Sum(Struct, frozen=True):
    """Lines of one service together. `amounts`: minor units by currency; `unpriced`: the part that has no price."""

    service: str
    descriptions: tuple[str, ...]
    skus: tuple[str, ...]
    prices: tuple[str, ...]
    quantity_microdays: int
    unpriced_microdays: int
    amounts: dict[str, int]


class OfOrg(Struct, frozen=True):
    """The own lines of one org: the partner, or a sub-partner of it."""

    org_id: str
    services: tuple[Sum, ...]
    amounts: dict[str, int]


class OfMonth(Struct, frozen=True):
    """The corrections of one earlier period."""

    period: Period
    corrects: int
    services: tuple[Sum, ...]
    amounts: dict[str, int]


class Summary(Struct, frozen=True):
    """Own lines by service, and by org; corrections by the period that they correct; all amounts together."""

    services: tuple[Sum, ...]
    orgs: tuple[OfOrg, ...]
    corrections: tuple[OfMonth, ...]
    own_amounts: dict[str, int]
    corrected_amounts: dict[str, int]
    amounts: dict[str, int]


def summary_of(invoice: Invoice) -> Summary:
    """The sums of an invoice's lines. Own and corrected amounts add up to all."""
    own = [line for line in invoice.lines if line.corrects is None]
    corrections = [line for line in invoice.lines if line.corrects is not None]
    return Summary(
        _by_service(own),
        tuple(
            OfOrg(org_id, _by_service(lines), totals(lines))
            for (org_id,), lines in _grouped(own, lambda line: (line.key.owner_id,))
        ),
        tuple(
            OfMonth(period, number, _by_service(lines), totals(lines))
            for (period, number), lines in _grouped(corrections, lambda line: (line.period, line.corrects or 0))
        ),
        totals(own),
        totals(corrections),
        totals(invoice.lines),
    )


def _by_service(lines: Iterable[Line]) -> tuple[Sum, ...]:
    return tuple(_sum(service, of_one) for (service,), of_one in _grouped(lines, lambda line: (line.key.service,)))


def _sum(service: str, lines: list[Line]) -> Sum:
    prices = [line.price for line in lines if line.price is not None]
    return Sum(
        service,
        tuple(sorted({price.description for price in prices if price.description})),
        tuple(sorted({price.sku for price in prices if price.sku})),
        tuple(sorted({f"{price.unit_price} {price.currency}" for price in prices})),
        sum(line.quantity_microdays for line in lines),
        sum(line.quantity_microdays for line in lines if line.price is None),
        totals(lines),
    )


def _grouped(lines: Iterable[Line], key_of: Callable[[Line], _K]) -> list[tuple[_K, list[Line]]]:
    groups: dict[_K, list[Line]] = {}
    for line in lines:
        groups.setdefault(key_of(line), []).append(line)
    return sorted(groups.items(), key=lambda group: group[0])
