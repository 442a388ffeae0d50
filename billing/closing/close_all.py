"""Closing a month of all partners in one run. The order of effects:

1. The moment: the cut, the catalog, and who has usage. It is the same for all.
2. Group by group: the group's invoices are read, and the evidence of those that have none of the period, each row of
   the store once.
3. Each partner is judged by itself. If a gate blocks, nothing is made of it, and the others go on.
4. Each invoice is written in a transaction of its own, by some threads, while the next group is read.

Whenever it is stopped, what is written stays, and the next run finds it and goes on with the rest. If somebody else
closed a partner meanwhile, its number is taken, and it is closed as if it were alone: with a new cut.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum

import msgspec
from msgspec import Struct

from billing.closing import gates
from billing.closing.close import Books, CloseOrder, CloseRefused, Drafted, check_apart, judge
from billing.closing.evidence import Moment, gather, moment_of
from billing.closing.invoices import Cut, GateSeen, Invoice, MadeMeanwhile
from billing.closing.partners import ROWS_PER_GROUP, groups_of, partners_to_close
from billing.closing.period import LAST_FIRST_DAY, period_of
from billing.closing.usage import rows_by_owner

#: Transactions at once: a server's each wait for its disk. SQLite does one after the other.
_WRITERS = 4


class Ending(StrEnum):
    """`READY`: it would be closed, but this is a dry run."""

    CLOSED = "closed"
    ALREADY = "closed before"
    READY = "can be closed"
    HELD_BACK = "held back"
    FAILED = "failed"


class Outcome(Struct, frozen=True):
    """What became of one partner. `why`: of each gate that blocks what it saw, or what failed."""

    partner_id: str
    ending: Ending
    invoice: Invoice | None = None
    why: tuple[str, ...] = ()


class Plan(Struct, frozen=True):
    """Whom a run is about, at which moment. `rows`: how many stored rows an org has."""

    month: str
    moment: Moment
    partner_ids: tuple[str, ...]
    strays: dict[str, str]
    rows: dict[str, int]

    @property
    def count(self) -> int:
        """How many outcomes there are in the end."""
        return len(self.partner_ids) + len(self.strays)


def plan_all(books: Books, month: str) -> Plan:
    """Step 1; ValueError if the month is none."""
    first, last = period_of(month).first_day, period_of(month, LAST_FIRST_DAY).last_day
    moment = moment_of(books.store, books.engine, books.names)
    rows = rows_by_owner(books.store, first, last)
    billed = partners_to_close(moment.catalog.state, rows)
    return Plan(month, moment, billed.partner_ids, billed.strays, rows)


def close_all(
    books: Books,
    plan: Plan,
    order: CloseOrder,
    stopped: Callable[[], bool],
    *,
    dry_run: bool = False,
    rows_per_group: int = ROWS_PER_GROUP,
) -> Iterator[Outcome]:
    """Close the month of every partner of the plan, and say what became of each; ends early once `stopped` is true.

    `order` holds for each of them, its partner aside.
    """
    for org_id, why in plan.strays.items():
        yield Outcome(org_id, Ending.HELD_BACK, None, (why,))
    writing: list[tuple[Drafted, Future[None]]] = []
    with ThreadPoolExecutor(_WRITERS) as writers:
        for group in groups_of(plan.partner_ids, plan.rows, plan.moment.catalog.state, rows_per_group):
            if stopped():
                break
            judged = _judged(books, plan, order, group, dry_run=dry_run)
            # The group before was written while this one was read: a run never holds more than two.
            yield from _written(books, order, writing)
            writing = []
            for outcome in judged:
                if isinstance(outcome, Outcome):
                    yield outcome
                elif gates.blocking(outcome.gates):
                    yield _held_back(outcome)
                elif dry_run:
                    yield Outcome(outcome.invoice.partner_id, Ending.READY, outcome.invoice)
                elif not stopped():
                    writing.append((outcome, writers.submit(books.keep, outcome)))
        yield from _written(books, order, writing)


def _judged(
    books: Books, plan: Plan, order: CloseOrder, group: Sequence[str], *, dry_run: bool
) -> list[Outcome | Drafted]:
    """Steps 2 and 3 of a group: what is known already, and for the others what could be made."""
    issued = books.invoices.of_partners(group)
    periods = books.periods(group, plan.month)
    approvals = books.invoices.unused_approvals(group)
    judged: list[Outcome | Drafted] = []
    open_ids: list[str] = []
    for partner_id in group:
        known = next((one for one in issued[partner_id] if one.period == periods[partner_id]), None)
        if known is not None:
            judged.append(Outcome(partner_id, Ending.ALREADY, known))
        elif any(_beyond(one.cut, plan.moment.cut) for one in issued[partner_id]):
            # It was closed for another month after our cut: at ours its corrections would go back in time.
            alone = msgspec.structs.replace(order, partner_id=partner_id)
            judged.append(books.draft(alone) if dry_run else _alone(books, alone))
        else:
            try:
                check_apart(periods[partner_id], issued[partner_id])
                open_ids.append(partner_id)
            except ValueError as error:
                judged.append(Outcome(partner_id, Ending.FAILED, None, (str(error),)))
    wanted = {one: [periods[one], *(invoice.period for invoice in issued[one])] for one in open_ids}
    evidence = gather(books.store, books.engine, plan.moment, wanted) if wanted else {}
    for partner_id in open_ids:
        ours = msgspec.structs.replace(order, partner_id=partner_id)
        try:
            judged.append(
                judge(
                    ours,
                    periods[partner_id],
                    issued[partner_id],
                    plan.moment,
                    evidence[partner_id],
                    approvals[partner_id],
                    books.now_ms(),
                )
            )
        except ValueError as error:
            judged.append(Outcome(partner_id, Ending.FAILED, None, (str(error),)))
    return judged


def _written(books: Books, order: CloseOrder, writing: Sequence[tuple[Drafted, Future[None]]]) -> Iterator[Outcome]:
    for drafted, future in writing:
        invoice = drafted.invoice
        try:
            future.result()
        except MadeMeanwhile:
            yield _alone(books, msgspec.structs.replace(order, partner_id=invoice.partner_id))
        else:
            yield Outcome(invoice.partner_id, Ending.CLOSED, invoice)


def _alone(books: Books, order: CloseOrder) -> Outcome:
    try:
        invoice, made = books.close(order)
    except CloseRefused as refused:
        return Outcome(order.partner_id, Ending.HELD_BACK, None, _said(refused.gates))
    except (MadeMeanwhile, ValueError) as error:
        return Outcome(order.partner_id, Ending.FAILED, None, (str(error),))
    return Outcome(order.partner_id, Ending.CLOSED if made else Ending.ALREADY, invoice)


def _held_back(drafted: Drafted) -> Outcome:
    return Outcome(drafted.invoice.partner_id, Ending.HELD_BACK, None, _said(drafted.gates))


def _said(seen: Sequence[GateSeen]) -> tuple[str, ...]:
    return tuple(f"{gate.name}: {gate.saw}" for gate in gates.blocking(seen))


def _beyond(cut: Cut, ours: Cut) -> bool:
    """Whether a cut knows of anything that ours does not."""
    more = any(length > ours.partitions.get(partition, 0) for partition, length in cut.partitions.items())
    return more or cut.catalog > ours.catalog
