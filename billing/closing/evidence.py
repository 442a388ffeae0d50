"""What invoices are made from, read from the stores for any number of partners at once, all at one cut.

Everything is asked by one pass over the rows of all owners: the engine reads each row of a period once, however many
partners there are. One partner is the case of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from sqlalchemy import Engine

from billing.closing.gates import Progress, ReconcileSeen, read_progress, reconcile_runs_over
from billing.closing.invoices import Cut, Daily
from billing.closing.lines import Quantities
from billing.closing.period import Period
from billing.closing.recomputed import CatalogThen, catalog_at
from billing.closing.usage import billed_owners, daily_usage, usage_by_days, usage_by_intervals
from billing.dead_letters import OpenLetters, open_letters_by_owner
from billing.dismissals import Dismissals
from billing.report import Owner
from schemas.dead_letters import Origin
from schemas.topics import TopicNames
from sinks.store import ReadableStore


class Moment(Struct, frozen=True):
    """What is the same for every partner: the cut of now, the catalog at it, who dismissed which letters."""

    progress: Progress
    catalog: CatalogThen
    dismissed: tuple[Origin, ...]

    @property
    def cut(self) -> Cut:
        return self.progress.cut


class Evidence(Struct, frozen=True):
    """What one partner's invoice is made from and judged by. `by_days`, `by_intervals`: of its period and the closed ones."""

    org_ids: tuple[str, ...]
    daily: Daily
    by_days: dict[Period, Quantities]
    by_intervals: dict[Period, Quantities]
    letters: OpenLetters
    runs: tuple[ReconcileSeen, ...]


def moment_of(store: ReadableStore, engine: Engine, names: TopicNames) -> Moment:
    """The cut of this moment; RawEventsMissing if the catalog's are."""
    progress = read_progress(store, names)
    catalog = catalog_at(store, names, progress.catalog)
    return Moment(progress, catalog, tuple(Dismissals(engine).letters()))


def gather(
    store: ReadableStore, engine: Engine, moment: Moment, wanted: Mapping[str, Sequence[Period]]
) -> dict[str, Evidence]:
    """Of each partner, its evidence. `wanted`: the period to close first, then those closed before.

    Partners that want the same period share one pass. No org may be of two of the partners.
    """
    closed = {partner_id: periods[1:] for partner_id, periods in wanted.items()}
    by_days = usage_of(store, moment, closed, usage_by_days)
    daily = _daily(store, moment, {partner_id: periods[0] for partner_id, periods in wanted.items()}, by_days)
    by_intervals = usage_of(store, moment, wanted, usage_by_intervals)
    org_ids = {
        partner_id: tuple(owner.org_id for owner in billed_owners(moment.catalog.state, partner_id, periods[0]))
        for partner_id, periods in wanted.items()
    }
    letters: dict[str, OpenLetters] = {}
    runs: dict[Period, tuple[ReconcileSeen, ...]] = {}
    for period in {periods[0] for periods in wanted.values()}:
        of_period = [org for partner, periods in wanted.items() if periods[0] == period for org in org_ids[partner]]
        letters |= open_letters_by_owner(store, of_period, period.first_day, period.last_day, moment.dismissed)
        runs[period] = tuple(reconcile_runs_over(engine, period.first_day, period.last_day))
    return {
        partner_id: Evidence(
            org_ids[partner_id],
            daily[partner_id],
            by_days[partner_id],
            by_intervals[partner_id],
            _sum([letters[org] for org in org_ids[partner_id] if org in letters]),
            runs[periods[0]],
        )
        for partner_id, periods in wanted.items()
    }


class AskUsage(Protocol):
    """`usage_by_days` or `usage_by_intervals`."""

    def __call__(self, store: ReadableStore, cut: Cut, owners: Sequence[Owner], period: Period) -> Quantities: ...


def usage_of(
    store: ReadableStore, moment: Moment, wanted: Mapping[str, Sequence[Period]], ask: AskUsage
) -> dict[str, dict[Period, Quantities]]:
    """Of each partner, the usage of each of its periods."""
    found: dict[str, dict[Period, Quantities]] = {
        partner: {period: {} for period in periods} for partner, periods in wanted.items()
    }
    for period in sorted({period for periods in wanted.values() for period in periods}):
        owners, partner_of = _billed(
            moment, (partner for partner, periods in wanted.items() if period in periods), period
        )
        for key, quantity in ask(store, moment.cut, owners, period).items():
            found[partner_of[key.owner_id]][period][key] = quantity
    return found


def _daily(
    store: ReadableStore, moment: Moment, wanted: Mapping[str, Period], by_days: Mapping[str, dict[Period, Quantities]]
) -> dict[str, Daily]:
    """Of each partner, the usage by day of the period that is closed; its sums go to `by_days`."""
    found: dict[str, Daily] = {partner_id: {} for partner_id in wanted}
    for period in sorted(set(wanted.values())):
        of_period = [partner_id for partner_id, one in wanted.items() if one == period]
        owners, partner_of = _billed(moment, of_period, period)
        for partner_id in of_period:
            by_days[partner_id][period] = {}
        for (key, day), quantity in daily_usage(store, moment.cut, owners, period).items():
            partner_id = partner_of[key.owner_id]
            sums = by_days[partner_id][period]
            sums[key] = sums.get(key, 0) + quantity
            days = found[partner_id].setdefault(key.service, [0] * period.days)
            days[day - period.first_day] += quantity
    return {partner_id: dict(sorted(daily.items())) for partner_id, daily in found.items()}


def _billed(moment: Moment, partner_ids: Iterable[str], period: Period) -> tuple[list[Owner], dict[str, str]]:
    """The orgs that some partners' invoices are over, and whose of the partners each is."""
    owners: list[Owner] = []
    partner_of: dict[str, str] = {}
    for partner_id in partner_ids:
        of_partner = billed_owners(moment.catalog.state, partner_id, period)
        owners += of_partner
        partner_of |= {owner.org_id: partner_id for owner in of_partner}
    return owners, partner_of


def _sum(letters: Sequence[OpenLetters]) -> OpenLetters:
    return OpenLetters(sum(one.of_period for one in letters), sum(one.before for one in letters))
