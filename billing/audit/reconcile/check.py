"""What a check is, what it looks at, and what it finds."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState

#: So many differences of a check are kept as examples; all are counted.
MAX_EXAMPLES = 20


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


class Subject(Struct, frozen=True):
    """Where a check looks."""

    store: ReadableStore
    names: TopicNames
    catalog: CatalogState
    scope: Scope


class Findings:
    """Counts findings, and keeps the first ones."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.passed_over = 0
        self._count = 0
        self._examples: list[Finding] = []

    def add(self, who: str, expected: object, found: object) -> None:
        self._count += 1
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(Finding(who, str(expected), str(found)))

    def result(self, name: str, weight: Weight) -> CheckResult:
        return CheckResult(name, weight, self.looked_at, self._count, tuple(self._examples), self.passed_over)


class Check(Struct, frozen=True):
    """A check: its name, what it proves, what a finding means, and how it is done."""

    name: str
    proves: str
    weight: Weight
    look: Callable[[Subject], Findings]

    def run(self, subject: Subject) -> CheckResult:
        return self.look(subject).result(self.name, self.weight)


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
