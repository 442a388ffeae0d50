"""The demo's month: several partners, their customers, and what happens to them, the same for the same seed."""

import random
from collections import Counter
from datetime import date, timedelta
from typing import Final

from msgspec import Struct

from rtmeter.demo.calendar import Calendar
from rtmeter.demo.life import CustomerLife, Turn
from rtmeter.demo.offers import PackageChoice
from rtmeter.demo.owners import OWNERS, Owner, catalog_lines
from rtmeter.demo.trouble import SHARE_LATE, Arrivals
from rtmeter.demo.wire import Fact
from schemas.instants import MS_PER_DAY
from schemas.reasons import Reason

#: Of a partner's subscribers so many are of customers that were there when the month began.
_SHARE_OPENING: Final = 0.6
_MIGRATING: Final = "ternvale"
_SHARE_MIGRATED: Final = 0.6
_FEWEST_LATE: Final = 4
#: Sizes of customers: typically under twenty users.
_SIZES: Final = (2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 14, 16, 19, 24)
_FIRST_SIZE: Final = 9
#: What each owner's first customer goes through for certain, so that a month of fifty subscribers shows it too.
_CERTAIN: Final = (
    {Turn.CHANGED, Turn.OLD_REMOVED_LATE, Turn.MOVED, Turn.LEAVES, Turn.PACKAGE_REMOVED, Turn.RETURNS},
    {Turn.DEPROVISIONED, Turn.COMES_BACK, Turn.WORKSPACE},
    {Turn.VOIDED, Turn.LOWER_CASE, Turn.CONSOLE, Turn.CALLING_PLAN},
    {Turn.ORDER_EXPRESS, Turn.ORDER_CANCELLED, Turn.ORDER_STANDARD, Turn.UNLISTED},
    {Turn.INTERNAL, Turn.LEAVES},
)


class Description(Struct, frozen=True):
    """What is in the month. `on_time_lines`: so many of the event lines come first; then the days are closed, and the
    rest is late. `bad`: event lines that are refused, by reason; `bad_catalog` those of the catalog.
    """

    first_day: int
    last_day: int
    customers: int
    subscribers: int
    facts: Counter[str]
    on_time_lines: int
    late_facts: int
    duplicates: int
    disordered: int
    bad: Counter[Reason]
    bad_catalog: int


class DemoMonth(Struct, frozen=True):
    """Lines in order of arrival, without line ends."""

    catalog_lines: list[bytes]
    event_lines: list[bytes]
    description: Description


def generate(seed: int, subscribers: int, month: date) -> DemoMonth:
    """A month of about `subscribers` subscribers. `month` is its first day; it should be over.

    The same bytes for the same arguments. ValueError if `month` is not the first day of one.
    """
    rng = random.Random(seed)
    calendar = Calendar(month)
    facts: list[Fact] = []
    packages = PackageChoice(rng)
    for owner, certain in zip(OWNERS, _CERTAIN, strict=True):
        facts += _owner_facts(rng, calendar, packages, owner, certain, subscribers=subscribers * owner.share // 100)

    of_month = [place for place, fact in enumerate(facts) if fact.time_ms >= calendar.start_ms]
    late_places = set(rng.sample(of_month, max(_FEWEST_LATE, round(len(of_month) * SHARE_LATE))))
    on_time = [fact for place, fact in enumerate(facts) if place not in late_places]
    late = [facts[place] for place in sorted(late_places)]
    first, rest = Arrivals(rng, on_time), Arrivals(rng, late)
    first.disorder()
    first.repeat()
    first.spoil(subscribers)
    rest.disorder()
    rest.repeat()
    first_lines = first.lines()
    return DemoMonth(
        catalog_lines(month, calendar.start_ms - 20 * MS_PER_DAY, calendar.start_ms + 14 * MS_PER_DAY),
        first_lines + rest.lines(),
        Description(
            calendar.first_day,
            calendar.last_day,
            customers=len({fact.data["customerOrgId"] for fact in facts}),
            subscribers=len({fact.data["subscriberId"] for fact in facts if "subscriberId" in fact.data}),
            facts=Counter(fact.type for fact in facts),
            on_time_lines=len(first_lines),
            late_facts=len(late),
            duplicates=first.duplicates + rest.duplicates,
            disordered=first.disordered + rest.disordered,
            bad=first.bad + rest.bad,
            bad_catalog=1,
        ),
    )


def last_complete_month(today: date) -> date:
    """The first day of the calendar month before that of `today`."""
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


def _owner_facts(
    rng: random.Random,
    calendar: Calendar,
    packages: PackageChoice,
    owner: Owner,
    certain: set[Turn],
    *,
    subscribers: int,
) -> list[Fact]:
    """Customers until the subscribers are used up: those of before the month first."""
    facts: list[Fact] = []
    placed = 0
    while placed < max(1, subscribers):
        # The first is large enough for all that it goes through.
        size = min(rng.choice(_SIZES) if placed else _FIRST_SIZE, max(2, subscribers - placed))
        if placed < subscribers * _SHARE_OPENING:
            start_ms = calendar.before(rng)
        elif owner.org_id == _MIGRATING and rng.random() < _SHARE_MIGRATED:
            # A migration tool moves whole customers at once, at night.
            start_ms = calendar.migration_day * MS_PER_DAY + rng.randrange(MS_PER_DAY // 8)
        else:
            start_ms = calendar.within(rng)
        life = CustomerLife(rng, calendar, packages, owner, certain if placed == 0 else frozenset())
        facts += life.live(start_ms, size)
        placed += size
    return facts
