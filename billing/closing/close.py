"""Closing a month of a partner. The order of effects:

1. The partner's invoices are read. One of the period is the answer.
2. The cut of now; the catalog, and the usage of the period and of every closed one, at that cut.
3. The gates. If one blocks, nothing is made.
4. The invoice with the next number, its lines, and the use of approvals, in one transaction.

Nothing is written before step 4, so a crash before it leaves nothing, and after it the invoice. If somebody else made an
invoice of the partner meanwhile its number is taken: then all begins again with 1, and the correction that he issued is
not issued twice.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from msgspec import Struct
from sqlalchemy import Engine

from billing.closing import gates
from billing.closing.corrections import DEFAULT_LIMIT_PERCENT, Approval, Correction
from billing.closing.draft import Draft, corrections_of, draft_invoice
from billing.closing.evidence import Evidence, Moment, gather, moment_of, usage_of
from billing.closing.first_days import FirstDays
from billing.closing.invoices import (
    Daily,
    GateSeen,
    Invoice,
    Invoices,
    MadeMeanwhile,
    Manifest,
    PriceVersion,
    WaitingCorrection,
    closed_periods,
)
from billing.closing.lines import RULES, sha256_of, totals
from billing.closing.money import amount_text
from billing.closing.period import Period
from billing.closing.recomputed import CatalogThen
from billing.closing.schedule import scheduled_period
from billing.closing.usage import usage_by_days
from schemas.topics import TopicNames
from sinks.store import ReadableStore

#: So often another close of the same partner may come first.
_TRIES = 10


class CloseRefused(Exception):
    """A gate does not hold, and nobody accepted that."""

    def __init__(self, seen: Sequence[GateSeen]) -> None:
        self.gates = tuple(seen)
        shown = "; ".join(f"{gate.name}: {gate.saw}" for gate in gates.blocking(seen))
        super().__init__(f"not closed: {shown}")


class CloseOrder(Struct, frozen=True):
    """What somebody wants closed, and what he accepts. `prices_before_ms` None: the versions at the period's end."""

    partner_id: str
    month: str
    closed_by: str
    accept_open: str = ""
    accept_unpriced: str = ""
    prices_before_ms: int | None = None
    limit_percent: int = DEFAULT_LIMIT_PERCENT


class Drafted(Struct, frozen=True):
    """An invoice that could be made now, and what its gates saw."""

    invoice: Invoice
    draft: Draft
    gates: tuple[GateSeen, ...]
    daily: Daily


class Books:
    """Where months are closed: the store that has the usage, the register that has the invoices."""

    def __init__(self, store: ReadableStore, engine: Engine, names: TopicNames, now_ms: Callable[[], int]) -> None:
        self.store = store
        self.engine = engine
        self.names = names
        self.now_ms = now_ms
        self.invoices = Invoices(engine)
        self.first_days = FirstDays(engine)

    def period(self, partner_id: str, month: str) -> Period:
        """The period of a partner that begins in a month YYYY-MM; ValueError if that is none."""
        return self.periods([partner_id], month)[partner_id]

    def periods(self, partner_ids: Sequence[str], month: str) -> dict[str, Period]:
        """The same of each of some partners."""
        choices = self.first_days.of_partners(partner_ids)
        return {partner_id: scheduled_period(choices[partner_id], month) for partner_id in partner_ids}

    def close(self, order: CloseOrder) -> tuple[Invoice, bool]:
        """The invoice of a period, and whether this call made it; CloseRefused, ValueError if periods would overlap."""
        for _ in range(_TRIES):
            issued = self.invoices.of_partner(order.partner_id)
            period = self.period(order.partner_id, order.month)
            known = next((one for one in issued if one.period == period), None)
            if known is not None:
                return known, False
            drafted = self._draft(order, period, issued)
            if gates.blocking(drafted.gates):
                raise CloseRefused(drafted.gates)
            try:
                self.keep(drafted)
            except MadeMeanwhile:
                continue
            return drafted.invoice, True
        raise MadeMeanwhile(f"other invoices of {order.partner_id} came first {_TRIES} times: try again")

    def keep(self, drafted: Drafted) -> None:
        """Step 4; MadeMeanwhile if another invoice of the partner came first."""
        self.invoices.add(drafted.invoice, drafted.draft.used, drafted.daily)

    def draft(self, order: CloseOrder) -> Drafted:
        """What `close` would make now, and what its gates see; for a closed period too, as if it were the first one."""
        period = self.period(order.partner_id, order.month)
        issued = self.invoices.of_partner(order.partner_id)
        return self._draft(order, period, [one for one in issued if one.period != period])

    def waiting(self, partner_id: str, limit_percent: int) -> list[Correction]:
        """The corrections that would be left out of an invoice that was made now."""
        return [correction for correction in self.corrections(partner_id, limit_percent) if correction.waits]

    def corrections(self, partner_id: str, limit_percent: int) -> list[Correction]:
        """What has changed of the closed periods since they were invoiced: what a next invoice has of it, and what waits."""
        issued = self.invoices.of_partner(partner_id)
        moment = moment_of(self.store, self.engine, self.names)
        before = {one.period: one.prices_before_ms for one in issued}
        return corrections_of(
            usage_of(self.store, moment, {partner_id: list(before)}, usage_by_days)[partner_id],
            closed_periods(issued),
            moment.catalog.prices,
            before.__getitem__,
            self.invoices.approvals(partner_id),
            limit_percent,
        )

    def _draft(self, order: CloseOrder, period: Period, issued: Sequence[Invoice]) -> Drafted:
        check_apart(period, issued)
        moment = moment_of(self.store, self.engine, self.names)
        wanted = {order.partner_id: [period, *(one.period for one in issued)]}
        evidence = gather(self.store, self.engine, moment, wanted)[order.partner_id]
        approvals = self.invoices.approvals(order.partner_id)
        return judge(order, period, issued, moment, evidence, approvals, self.now_ms())


def judge(
    order: CloseOrder,
    period: Period,
    issued: Sequence[Invoice],
    moment: Moment,
    evidence: Evidence,
    approvals: Sequence[Approval],
    now_ms: int,
) -> Drafted:
    """The next invoice of a partner from what was read, and its gates. Pure."""
    prices_before = period.end_ms if order.prices_before_ms is None else order.prices_before_ms
    before = {one.period: one.prices_before_ms for one in issued} | {period: prices_before}
    draft = draft_invoice(
        period,
        evidence.by_days,
        closed_periods(issued),
        moment.catalog.prices,
        before.__getitem__,
        approvals,
        order.limit_percent,
    )
    seen = (
        gates.days_closed(moment.progress, period),
        gates.sinks_caught_up(moment.progress, evidence.by_days, evidence.by_intervals),
        gates.reconciled(evidence.runs, period, evidence.org_ids),
        gates.no_open_letters(evidence.letters, order.accept_open),
        gates.priced(draft, order.accept_unpriced),
    )
    sha256 = sha256_of(draft.lines)
    invoice = Invoice(
        order.partner_id,
        len(issued) + 1,
        period,
        prices_before,
        moment.cut,
        order.limit_percent,
        draft.lines,
        sha256,
        _manifest(draft, sha256, moment.catalog, seen),
        order.closed_by,
        now_ms,
    )
    return Drafted(invoice, draft, seen, evidence.daily)


def check_apart(period: Period, issued: Sequence[Invoice]) -> None:
    """ValueError if a period would overlap one that is closed."""
    for one, other in pairwise(sorted([*(invoice.period for invoice in issued), period])):
        if other.first_day <= one.last_day:
            raise ValueError(f"{one} and {other} overlap")


def _manifest(draft: Draft, sha256: str, catalog: CatalogThen, seen: tuple[GateSeen, ...]) -> Manifest:
    used = {line.price.version for line in draft.lines if line.price is not None}
    versions = tuple(
        PriceVersion(version.key.removeprefix("subscription/"), version.offset, version.source, version.id, version.time_ms)
        for version in catalog.versions
        if version.offset in used
    )  # fmt: skip
    return Manifest(
        RULES,
        len(draft.lines),
        sum(line.corrects is not None for line in draft.lines),
        sum(line.price is None for line in draft.lines),
        sum(line.quantity_microdays for line in draft.lines),
        _texts(totals(draft.lines)),
        sha256,
        versions,
        seen,
        tuple(WaitingCorrection(one.period, one.number, _texts(totals(one.lines))) for one in draft.waiting),
    )


def _texts(sums: dict[str, int]) -> dict[str, str]:
    return {currency: amount_text(amount, currency) for currency, amount in sums.items()}
