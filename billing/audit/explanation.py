"""What an explanation says, as values: the shape of `rtmeter explain --format json` and of GET /v1/rtmeter/explain.

Instants are milliseconds since the epoch, days are days since it, quantities are microdays, all integers; members
are only ever added. How it is put into words is `billing.audit.words`.
"""

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from billing.audit.judged import Verdict


class Effect(StrEnum):
    """What a record did."""

    STARTED = "started"
    ENDED = "ended"
    CHANGED = "changed"  # one package ended, another started
    MOVED = "moved"
    RESUMED = "resumed"  # what had ended at this instant goes on
    LOCATED = "located"  # the location is another one, and nothing ran
    NOTHING = "nothing"  # what it states was so already
    FOUND_NOTHING = "found-nothing"  # what it ends did not run
    DESCRIBED = "described"
    ORDERED = "ordered"
    CANCELLED = "cancelled"
    DEPROVISIONED = "deprovisioned"
    NOT_COUNTED = "not-counted"  # an order that is cancelled
    VOIDED = "voided"
    VOIDS = "voids"
    VOIDS_NOTHING = "voids-nothing"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Anomaly(StrEnum):
    """What is counted as odd, and metered all the same (rules 9 and 10)."""

    FOUND_NOTHING = "found-nothing"
    ORDERED_BY_ID_ONLY = "ordered-by-id-only"


class Cited(Struct, frozen=True, rename="camel"):
    """A record that another one, or an interval, is explained by. `location_id` null: none; absent: not stated."""

    partition: int
    offset: int
    arrived_ms: int
    source: str
    id: str
    type: str
    time_ms: int
    item: str | None = None
    location_id: str | UnsetType | None = UNSET


class Held(Struct, frozen=True, rename="camel"):
    """Time in which a licence was held, as it stood after a record. `end_ms` null: it ran on."""

    item: str
    addon: bool
    location_id: str | None
    start_ms: int
    end_ms: int | None


class ExplainedRecord(Struct, rename="camel", omit_defaults=True):
    """One record of the input, what it states, and what it did.

    `because`: the record that is the reason of the effect: which it repeats, which voided it, which had ended what it
    wants to end, which had started what it wants to start. `overridden_by`: the one that took its effect back.
    `voids`: the record that a void names, and `names` how it names it. `holder_changed`: the user or workspace is another
    one from then on. `ended_intervals`: of all subscribers, by a deprovisioning. Of a refused record, everything but its place is only what it claims.
    """

    partition: int
    offset: int
    arrived_ms: int
    verdict: Verdict
    effect: Effect
    said: str
    type: str | None = None
    source: str | None = None
    id: str | None = None
    time_ms: int | None = None
    sequence: str | None = None
    subscriber_id: str | None = None
    item: str | None = None
    location_id: str | UnsetType | None = UNSET
    user_id: str | None = None
    workspace_id: str | None = None
    order_id: str | None = None
    seats: int | None = None
    attributes: dict[str, str | bool] = {}
    voids: Cited | None = None
    names: str | None = None
    holder_changed: bool = False
    ended_intervals: int = 0
    ended: list[Held] = []
    started: list[Held] = []
    resumed: list[Held] = []
    because: Cited | None = None
    overridden_by: Cited | None = None
    anomaly: Anomaly | None = None
    reason: str = ""
    detail: str = ""


class DayPart(Struct, frozen=True, rename="camel"):
    """The part of an interval on one day: `end_microday` − `start_microday`, both clipped to the day (rule 14)."""

    day: int
    start_microday: int
    end_microday: int
    quantity_microdays: int


class ExplainedInterval(Struct, rename="camel"):
    """One interval that touches the days asked for. `start_microday` and `end_microday` are its own, not clipped.

    `assigned_by`: what had assigned the item, which a move then carried on; `located_by`: what had put the subscriber at
    the location; null if it is `started_by`.
    """

    item: str
    addon: bool
    location_id: str | None
    start_ms: int
    end_ms: int | None
    start_microday: int
    end_microday: int | None
    days: list[DayPart]
    quantity_microdays: int
    started_by: Cited
    ended_by: Cited | None
    assigned_by: Cited | None
    located_by: Cited | None
    said: str


class DaySum(Struct, frozen=True, rename="camel"):
    """What the intervals, or orders, of a day add up to."""

    day: int
    quantity_microdays: int


class Total(Struct, frozen=True, rename="camel"):
    """What the days of one service at one location add up to."""

    item: str
    location_id: str | None
    quantity_microdays: int


class ExplainedOrder(Struct, frozen=True, rename="camel"):
    """A Setup Assist order that counts (rule 18). `in_period`: its day is one of those asked for."""

    order_id: str
    item: str
    location_id: str | None
    day: int
    seats: int
    quantity_microdays: int
    in_period: bool
    ordered_by: Cited


class Attribute(Struct, frozen=True, rename="camel"):
    """A customer attribute, and the record that it comes from (rule 11)."""

    name: str
    value: str | bool
    stated_by: Cited


class ReportedRow(Struct, frozen=True, rename="camel"):
    """What the reports hold of it: one row of a USER report, or of CUSTOMER when a customer is explained.

    `listed`: the subscription lists the service; otherwise SKU, description and price are empty (rule 19).
    `cut_microdays`: usage before the sub-partner's billing start, which is not in `quantity_microdays` (rule 23).
    """

    subscription_id: str
    item: str
    location_id: str | None
    first_used_day: int | None
    last_used_day: int | None
    quantity_microdays: int
    cut_microdays: int
    listed: bool
    sku: str = ""
    description: str = ""
    unit_price: str = ""
    currency: str = ""


class Reported(Struct, frozen=True, rename="camel"):
    """How it is reported. `internal`: left out of reports unless asked for, and of invoices always."""

    internal: bool
    external_id: str
    rows: list[ReportedRow]
    said: list[str]


class Agreement(StrEnum):
    """How a table stands to the raw events."""

    AGREES = "agrees"
    BEHIND = "behind"  # the other way round: the table is ahead of the raw events that are stored
    NOT_KEPT = "not-kept"  # a run of records is stored as a whole, and the cut is inside one
    DISAGREES = "disagrees"


class Compared(Struct, frozen=True, rename="camel"):
    """One table beside what the raw events give."""

    table: str
    agreement: Agreement
    said: str


class Known(Struct, frozen=True, rename="camel"):
    """What the explanation is made from: records of the customer's key in its partition, and up to where.

    `cut`: the length of the input prefix. `behind`: so many records of the partition before it are stored raw, and
    not in the state that the tables hold.
    """

    partition: int
    records: int
    cut: int
    behind: int
    as_of: str | None
    verdicts: dict[str, int]


class SubscriberSum(Struct, frozen=True, rename="camel"):
    """One subscriber of a customer: what it holds of the days asked for."""

    subscriber_id: str
    user_id: str | None
    workspace_id: str | None
    records: int
    anomalies: int
    totals: list[Total]
    quantity_microdays: int


class Explanation(Struct, rename="camel"):
    """Why a quantity is what it is: of a subscriber, or, without one, of a customer.

    `records` are those that touch the days asked for and those that these are explained by, in the order of rule 10;
    `left_out` counts the others. `intervals` are a subscriber's (those beyond a limit are in `days` and `totals`, and
    counted in `intervals_left_out`); `subscribers`, `orders` and `attributes` a customer's.
    """

    partner_id: str
    customer_id: str
    subscriber_id: str | None
    first_day: int
    last_day: int
    said: list[str]
    known: Known
    quantity_microdays: int
    totals: list[Total]
    days: list[DaySum]
    reported: Reported
    tables: list[Compared]
    records: list[ExplainedRecord]
    left_out: int
    user_id: str | None = None
    workspace_id: str | None = None
    anomalies: int = 0
    intervals: list[ExplainedInterval] = []
    intervals_left_out: int = 0
    subscribers: list[SubscriberSum] = []
    orders: list[ExplainedOrder] = []
    attributes: list[Attribute] = []

    @property
    def disagrees(self) -> bool:
        return any(compared.agreement is Agreement.DISAGREES for compared in self.tables)


class NotFound(Exception):
    """No record is about what was asked for. `near`: sentences on where something like it is."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.near: list[str] = []
