"""What a check is, what it looks at, and what it finds."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState

#: So many differences of a check are kept as examples; all are counted.
MAX_EXAMPLES = 20
#: Of so many findings the next look still knows whom they were about. Rows that are just on their way are far fewer.
MAX_REMEMBERED = 100_000


class Weight(StrEnum):
    """What a finding means: a number may be wrong, or somebody should look."""

    DIFFERENCE = "difference"
    NOTICE = "notice"


class Finding(Struct, frozen=True):
    """One thing that is not as it should be. `who`: ids, joined by slashes."""

    who: str
    expected: str
    found: str


class CheckResult(Struct, frozen=True):
    """What one check saw. `passed_over`: rows that changed while it looked, or that it could not judge."""

    name: str
    weight: Weight
    looked_at: int
    findings: int
    examples: tuple[Finding, ...]
    passed_over: int = 0

    @property
    def differs(self) -> bool:
        """Whether a number may be wrong."""
        return self.weight is Weight.DIFFERENCE and self.findings > 0


class Slice(Struct, frozen=True):
    """The customers whose hash falls into one of `count` slices: over `count` runs everybody has a turn."""

    number: int
    count: int


class Scope(Struct, frozen=True):
    """What is looked at: days (both included, since the epoch), orgs (None: all), customers (None: all).

    `cuts`: per partition the input prefix that is judged; what is newer is left alone.
    """

    first_day: int
    last_day: int
    org_ids: tuple[str, ...] | None
    customers: Slice | None
    cuts: dict[int, int]


class Findings:
    """Counts findings, and keeps the first ones."""

    def __init__(self, found_before: frozenset[str] | None = None) -> None:
        """`found_before`: whom an earlier look found; the others are only passing, and passed over."""
        self.looked_at = 0
        self.passed_over = 0
        self._found_before = found_before
        self._found: set[str] = set()
        self._count = 0
        self._examples: list[Finding] = []

    def add(self, who: str, expected: object, found: object) -> None:
        if self._found_before is not None and who not in self._found_before:
            self.passed_over += 1
            return
        self._count += 1
        if len(self._found) <= MAX_REMEMBERED:
            self._found.add(who)
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(Finding(who, str(expected), str(found)))

    @property
    def count(self) -> int:
        """How many there are; more than the examples, perhaps."""
        return self._count

    @property
    def found(self) -> frozenset[str] | None:
        """Whom this look found; None if they are too many to be only passing."""
        return None if len(self._found) > MAX_REMEMBERED else frozenset(self._found)

    def result(self, name: str, weight: Weight) -> CheckResult:
        return CheckResult(name, weight, self.looked_at, self._count, tuple(self._examples), self.passed_over)


class Subject(Struct, frozen=True):
    """Where a check looks. `found_before`: as in `Findings`."""

    store: ReadableStore
    names: TopicNames
    catalog: CatalogState
    scope: Scope
    found_before: frozenset[str] | None = None

    def findings(self) -> Findings:
        """What a look begins with."""
        return Findings(self.found_before)


class Check(Struct, frozen=True):
    """A check: its name, what it proves, what a finding means, and how it is done."""

    name: str
    proves: str
    weight: Weight
    look: Callable[[Subject], Findings]


def scope_condition(scope: Scope, partner: str = "partner_id", customer: str = "customer_id") -> str:
    """The SQL condition on a table's columns that keeps to the scope; its parameters are `scope_parameters`."""
    conditions = ["1"]
    if scope.org_ids is not None:
        conditions.append(f"{partner} IN {{orgs:Array(String)}}")
    if scope.customers is not None:
        conditions.append(f"cityHash64({customer}) % {{slices:UInt64}} = {{slice:UInt64}}")
    return " AND ".join(conditions)


def scope_parameters(scope: Scope) -> dict[str, object]:
    parameters: dict[str, object] = {"first_day": scope.first_day, "last_day": scope.last_day}
    if scope.org_ids is not None:
        parameters["orgs"] = list(scope.org_ids)
    if scope.customers is not None:
        parameters |= {"slices": scope.customers.count, "slice": scope.customers.number}
    return parameters
