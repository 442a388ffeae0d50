"""What happens to one customer and its subscribers in the month, as facts in any order."""

import random
from collections.abc import Set as AbstractSet
from enum import Enum, auto
from typing import Final

from rtmeter.demo.calendar import Calendar
from rtmeter.demo.offers import UNLISTED, WORKSPACE_PACKAGE, PackageChoice, company_name
from rtmeter.demo.owners import Owner, subscription_of
from rtmeter.demo.wire import Fact, new_id

_SOURCE: Final = "/demo/provisioning"
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000


class Turn(Enum):
    """What may happen to a customer or subscriber. With how often, in `_CHANCES`."""

    INTERNAL = auto()
    OWN_SUBSCRIPTION = auto()
    RENAMED = auto()
    ORDER_EXPRESS = auto()
    ORDER_STANDARD = auto()
    ORDER_CANCELLED = auto()
    DEPROVISIONED = auto()
    COMES_BACK = auto()
    VOIDED = auto()
    WORKSPACE = auto()
    NO_LOCATION = auto()
    LOWER_CASE = auto()
    UNLISTED = auto()
    CALLING_PLAN = auto()
    ADDON_REMOVED = auto()
    CONSOLE = auto()
    JOINS_LATER = auto()
    CHANGED = auto()
    OLD_REMOVED_LATE = auto()
    MOVED = auto()
    LEAVES = auto()
    PACKAGE_REMOVED = auto()
    RETURNS = auto()


#: What would undo other turns: not by chance where turns are certain.
_UNDOING: Final = (Turn.DEPROVISIONED, Turn.VOIDED)
_CHANCES: Final = {
    Turn.INTERNAL: 0.006,
    Turn.OWN_SUBSCRIPTION: 0.05,
    Turn.RENAMED: 0.04,
    Turn.ORDER_EXPRESS: 0.15,
    Turn.ORDER_STANDARD: 0.2,
    Turn.ORDER_CANCELLED: 0.1,
    Turn.DEPROVISIONED: 0.04,
    Turn.COMES_BACK: 0.35,
    Turn.VOIDED: 0.06,
    Turn.WORKSPACE: 0.1,
    Turn.NO_LOCATION: 0.05,
    Turn.LOWER_CASE: 0.03,
    Turn.UNLISTED: 0.006,
    Turn.CALLING_PLAN: 0.18,
    Turn.ADDON_REMOVED: 0.15,
    Turn.CONSOLE: 0.04,
    Turn.JOINS_LATER: 0.12,
    Turn.CHANGED: 0.1,
    Turn.OLD_REMOVED_LATE: 0.08,
    Turn.MOVED: 0.06,
    Turn.LEAVES: 0.08,
    Turn.PACKAGE_REMOVED: 0.5,
    Turn.RETURNS: 0.3,
}


class CustomerLife:
    """Makes one customer's facts. `certain`: turns that are taken once whatever the dice say, so that the smallest
    month has them too.
    """

    def __init__(
        self, rng: random.Random, calendar: Calendar, packages: PackageChoice, owner: Owner, certain: AbstractSet[Turn]
    ) -> None:
        self._rng = rng
        self._calendar = calendar
        self._packages = packages
        self._owner = owner
        self._certain = set(certain)
        self._scripted = bool(certain)
        self._customer_id = new_id(rng)
        self._locations = [new_id(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
        self.facts: list[Fact] = []

    def live(self, start_ms: int, size: int) -> list[Fact]:
        """Its facts from `start_ms` on, with `size` subscribers."""
        self._provision(start_ms)
        self._order_setup(start_ms, size)
        joined = start_ms + self._rng.randrange(5, 60) * _MINUTE_MS
        for _ in range(size):
            # Added together in one go, as an import does; some later, one by one.
            joined += self._rng.randrange(20, 900)
            later = self._moment_of(Turn.JOINS_LATER, start_ms)
            self._subscribe(joined if later is None else later)
        if self._takes(Turn.VOIDED):
            self._void_one()
        ended_ms = self._moment_of(Turn.DEPROVISIONED, start_ms + 48 * _HOUR_MS)
        if ended_ms is not None:
            self._deprovision(ended_ms)
        return self.facts

    def _takes(self, turn: Turn) -> bool:
        if turn in self._certain:
            self._certain.discard(turn)
            return True
        if self._scripted and turn in _UNDOING:
            return False
        return self._rng.random() < _CHANCES[turn]

    def _moment_of(self, turn: Turn, after_ms: int) -> int | None:
        """When a turn is taken; None if it is not. One that is certain waits for a subscriber with time left for it."""
        moment = self._calendar.later(self._rng, after_ms)
        return moment if moment is not None and self._takes(turn) else None

    def _state(self, time_ms: int, kind: str, **members: object) -> Fact:
        owned: dict[str, object] = {"partnerOrgId": self._owner.org_id, "customerOrgId": self._customer_id}
        fact = Fact(min(time_ms, self._calendar.end_ms - 1), kind, _SOURCE, new_id(self._rng), owned | members)
        self.facts.append(fact)
        return fact

    # ---- the customer

    def _provision(self, time_ms: int) -> None:
        number = self._rng.randrange(1000, 10_000)
        # One in forty begins like a spreadsheet formula, which the reports must defuse (rule 32).
        external_id = f"+{number}" if self._rng.random() < 1 / 40 else f"CRM-{number}"
        members: dict[str, object] = {"externalId": external_id, "name": company_name(self._rng)}
        if self._takes(Turn.INTERNAL):
            members["internal"] = True
        if self._takes(Turn.OWN_SUBSCRIPTION):
            members["subscriptionId"] = subscription_of(self._owner.top_id)
        self._state(time_ms, "customer.provisioned", **members)
        renamed = self._moment_of(Turn.RENAMED, time_ms)
        if renamed is not None:
            self._state(renamed, "customer.updated", name=company_name(self._rng))

    def _order_setup(self, start_ms: int, size: int) -> None:
        """Five seats or fewer are Express, more are Standard (rule 18)."""
        if start_ms < self._calendar.start_ms and not self._certain & {Turn.ORDER_EXPRESS, Turn.ORDER_STANDARD}:
            return
        for turn, seats in (
            (Turn.ORDER_EXPRESS, self._rng.randint(1, 5)),
            (Turn.ORDER_STANDARD, max(6, size)),
        ):
            if not self._takes(turn):
                continue
            order_id = new_id(self._rng)
            ordered_ms = max(start_ms, self._calendar.start_ms) + self._rng.randrange(_HOUR_MS)
            self._state(
                ordered_ms,
                "setup-assist.ordered",
                orderId=order_id,
                locationId=self._rng.choice(self._locations),
                seats=seats,
            )
            if self._takes(Turn.ORDER_CANCELLED):
                self._state(ordered_ms + 26 * _HOUR_MS, "setup-assist.cancelled", orderId=order_id)

    def _deprovision(self, ended_ms: int) -> None:
        """What was planned for later does not happen; some customers come back with most of their users (rule 5)."""
        self.facts = [fact for fact in self.facts if fact.time_ms < ended_ms]
        assigned = {fact.data["subscriberId"]: fact for fact in self.facts if fact.type == "package.assigned"}
        self._state(ended_ms, "customer.deprovisioned")
        back_ms = self._moment_of(Turn.COMES_BACK, ended_ms)
        if back_ms is None:
            return
        self._provision(back_ms)
        for fact in assigned.values():
            if self._rng.random() < 0.7:
                back_ms += self._rng.randrange(20, 900)
                self._state(back_ms, fact.type, **fact.data)

    def _void_one(self) -> None:
        """An event that was sent in error is taken back: it counts as never sent (rule 11)."""
        fact = self._rng.choice([fact for fact in self.facts if fact.type == "package.assigned"])
        voids = {"source": fact.source, "id": fact.id}
        time_ms = fact.time_ms + self._rng.randrange(1, 72) * _HOUR_MS
        self._state(time_ms, "event.voided", subscriberId=fact.data["subscriberId"], voids=voids)

    # ---- a subscriber

    def _subscribe(self, time_ms: int) -> None:
        subscriber = new_id(self._rng)
        in_workspace = self._takes(Turn.WORKSPACE)
        who: dict[str, object] = {"subscriberId": subscriber, "workspaceId" if in_workspace else "userId": subscriber}
        where = {} if self._takes(Turn.NO_LOCATION) else {"locationId": self._rng.choice(self._locations)}
        package = WORKSPACE_PACKAGE if in_workspace else self._package()
        self._state(time_ms, "package.assigned", **who, **where, package=package)
        last_ms = time_ms
        if not in_workspace:
            self._add_ons(time_ms, who, where)
            package, last_ms = self._change(last_ms, who, package)
        if (moved_ms := self._moment_of(Turn.MOVED, last_ms)) is not None:
            self._state(moved_ms, "subscriber.moved", subscriberId=subscriber, locationId=new_id(self._rng))
            last_ms = moved_ms
        if (left_ms := self._moment_of(Turn.LEAVES, last_ms)) is not None:
            self._leave(left_ms, who, package)

    def _package(self) -> str:
        if self._takes(Turn.UNLISTED):
            return UNLISTED
        package = self._packages.next()
        # The provisioning API's spelling, which is accepted (contract, "Types").
        return package.lower() if self._takes(Turn.LOWER_CASE) else package

    def _add_ons(self, time_ms: int, who: dict[str, object], where: dict[str, str]) -> None:
        for turn, addon in ((Turn.CALLING_PLAN, "CISCO_CALLING_PLAN"), (Turn.CONSOLE, "ATTENDANT_CONSOLE")):
            if not self._takes(turn):
                continue
            added_ms = time_ms + self._rng.randrange(1, 240) * _MINUTE_MS
            self._state(added_ms, "addon.assigned", **who, **where, addon=addon)
            if (end_ms := self._moment_of(Turn.ADDON_REMOVED, added_ms)) is not None:
                self._state(end_ms, "addon.removed", subscriberId=who["subscriberId"], addon=addon)

    def _change(self, after_ms: int, who: dict[str, object], package: str) -> tuple[str, int]:
        changed_ms = self._moment_of(Turn.CHANGED, after_ms)
        if changed_ms is None:
            return package, after_ms
        changed = self._packages.other_than(package.upper())
        self._state(changed_ms, "package.changed", **who, package=changed)
        if self._takes(Turn.OLD_REMOVED_LATE):
            # A removal ends the package that it names and no other: this one finds nothing, an anomaly (rule 9).
            self._state(changed_ms + 2 * _HOUR_MS, "package.removed", subscriberId=who["subscriberId"], package=package)
        return changed, changed_ms + 3 * _HOUR_MS

    def _leave(self, left_ms: int, who: dict[str, object], package: str) -> None:
        if not self._takes(Turn.PACKAGE_REMOVED):
            self._state(left_ms, "subscriber.removed", subscriberId=who["subscriberId"])
        else:
            named = {"package": package} if self._rng.random() < 0.7 else {}
            self._state(left_ms, "package.removed", subscriberId=who["subscriberId"], **named)
        if (back_ms := self._moment_of(Turn.RETURNS, left_ms)) is not None:
            self._state(back_ms, "package.assigned", **who, package=package)
