"""What redriving would change, asked of the store: nothing is sent."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.audit.raw_events import events_of_customer
from billing.difference import Change, months_of, stretches, total_microdays, totals_by_item
from billing.foresight import AccountChange, Fate, Judged, foresee
from billing.queries import PROGRESS
from billing.report import quantity_text
from rtmeter.pointed_json import printable
from rtmeter.redrive import Copy
from schemas.catalog import decode_catalog
from schemas.dead_letters import Origin
from schemas.instants import day_text
from schemas.reasons import Refused
from schemas.topics import CATALOG, TopicNames
from sinks.catalog import load_catalog
from sinks.store import ReadableStore


class Prospect(Struct, frozen=True):
    """What would become of one copy."""

    original: Origin
    judged: Judged


class DryRun(Struct, frozen=True):
    """What would become of all copies. `closed_through`: by partition; days up to it would be restated."""

    prospects: list[Prospect]
    accounts: list[AccountChange]
    last_day: int
    closed_through_day: int | None

    @property
    def refused(self) -> int:
        return sum(prospect.judged.fate is Fate.REFUSED for prospect in self.prospects)

    def restated(self, changes: Sequence[Change]) -> int:
        """How many closed days the changes touch."""
        closed = self.closed_through_day
        return 0 if closed is None else len({change.day for change in changes if change.day <= closed})


def dry_run(store: ReadableStore, names: TopicNames, copies: Iterable[Copy], now_ms: int, last_day: int) -> DryRun:
    """Judge the copies as if they were sent now, in order, each customer after all that the store has of it."""
    by_key: dict[bytes | None, list[Copy]] = {}
    entries: list[Copy] = []
    for copy in copies:
        if copy.topic == CATALOG:
            entries.append(copy)
        else:
            by_key.setdefault(copy.key, []).append(copy)
    prospects = list(_judged_entries(store, entries, now_ms)) if entries else []
    accounts: list[AccountChange] = []
    topic = names.package_assignments
    for key, same in by_key.items():
        events = [] if key is None else list(events_of_customer(store, topic, key.decode()))
        foreseen = foresee(events, [(copy.key, copy.value) for copy in same], topic, now_ms, last_day)
        prospects += [Prospect(copy.original, judged) for copy, judged in zip(same, foreseen.judged, strict=True)]
        accounts += foreseen.accounts
    closed = [row[2] for row in store.query(PROGRESS) if row[2] is not None]
    return DryRun(prospects, accounts, last_day, max(closed, default=None))


def show_dry_run(found: DryRun, console: Console) -> None:
    """What would become of the copies, and the usage that would change, by customer."""
    for prospect in found.prospects:
        judged = prospect.judged
        why = f": {judged.reason}: {printable(judged.detail)}" if judged.fate is Fate.REFUSED else ""
        console.print(f"{prospect.original} would be {judged.fate}{why}", markup=False)
    changed = [account for account in found.accounts if account.changes]
    for account in changed:
        _show_account(found, account, console)
    if not changed:
        console.print(f"no usage through {day_text(found.last_day)} would change")


def _show_account(found: DryRun, account: AccountChange, console: Console) -> None:
    changes = account.changes
    title = f"customer {printable(account.customer_id)} of {printable(account.partner_id)}"
    table = Table("service", "subscriber", "location", "first day", "last day", title=title)
    for name in ("before a day", "after a day", "difference"):
        table.add_column(name, justify="right")
    for stretch in stretches(changes):
        place = stretch.place
        cells = [
            place.item,
            printable(place.subscriber_id),
            printable(place.location_id),
            day_text(stretch.first_day),
            day_text(stretch.last_day),
            quantity_text(stretch.before_microdays),
            quantity_text(stretch.after_microdays),
            signed_text(stretch.difference_microdays),
        ]
        table.add_row(*map(Text, cells))
    console.print(table)
    for item, microdays in sorted(totals_by_item(changes).items()):
        console.print(f"{item}: {signed_text(microdays)}", markup=False)
    console.print(
        f"in all {signed_text(total_microdays(changes))} through {day_text(found.last_day)}; "
        f"months touched: {', '.join(months_of(changes))}; closed days restated: {found.restated(changes)}",
        markup=False,
    )


def signed_text(microdays: int) -> str:
    """A difference in days, with its sign."""
    return ("-" if microdays < 0 else "+") + quantity_text(abs(microdays))


def _judged_entries(store: ReadableStore, copies: list[Copy], now_ms: int) -> Iterator[Prospect]:
    catalog = load_catalog(store)
    for copy in copies:
        try:
            added = catalog.add(decode_catalog(copy.value, copy.key, now_ms, 1 << 62))
        except Refused as refused:
            yield Prospect(copy.original, Judged(Fate.REFUSED, refused.reason, refused.detail))
        else:
            yield Prospect(copy.original, Judged(Fate.METERED if added else Fate.DUPLICATE))
