"""An explanation from the records of a customer's key: pure, so that it is the same wherever they were read from."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from billing.audit.citing import Citations, held
from billing.audit.customer_story import CustomerStory, customer_story
from billing.audit.explanation import (
    Cited,
    DaySum,
    ExplainedInterval,
    ExplainedOrder,
    ExplainedRecord,
    Explanation,
    Known,
    NotFound,
    SubscriberSum,
)
from billing.audit.fold_steps import steps_of
from billing.audit.grid_arithmetic import day_parts, day_sums, totals_of
from billing.audit.judged import AccountFacts, JudgedRecord, Verdict, facts_of
from billing.audit.question import Question
from billing.audit.reported import Used, reported
from billing.audit.shown_records import choose
from billing.audit.subscriber_story import SubscriberStory, TracedInterval, subscriber_story
from billing.audit.told import Told
from billing.audit.words import code, interval_said, known_said, period, record_said, summary_said
from schemas.facts import Kind
from schemas.instants import MS_PER_DAY, day_text
from streams.core.catalog import CatalogState
from streams.core.customer import deprovisions_of
from streams.core.fold import fold_subscriber
from streams.core.grid import microday

#: More records or intervals than these are counted, not told, unless all of them are asked for.
MOST_TOLD = 500


class Extent(Struct, frozen=True):
    """How far the partition is known: lengths of the input prefix, as raw events and as the tables' state."""

    cut: int
    state_end: int


def explained(
    records: Sequence[JudgedRecord], question: Question, catalog: CatalogState, extent: Extent
) -> Explanation:
    """The explanation, no tables compared. `records`: all under the customer's key that are known, in order.

    NotFound if none is about what is asked for.
    """
    account = _Account(question, _own(records, question))
    known = _known(account, question, extent)
    if question.subscriber_id is None:
        return _customer(account, catalog, known)
    if not account.is_known(question.subscriber_id):
        customer = f"Customer {code(question.customer_id)} of {code(question.partner_id)}"
        raise NotFound(f"{customer} has no subscriber {code(question.subscriber_id)}.")
    return _subscriber(account, question.subscriber_id, catalog, known)


class _Account:
    """The records of the account that is asked about, and the story of each part."""

    def __init__(self, question: Question, records: Sequence[JudgedRecord]) -> None:
        self.question = question
        self.records = records
        self.facts: AccountFacts = facts_of(records, question.partner_id)
        self.citations = Citations(records)
        self.deprovisions = deprovisions_of(self.facts.customer)
        offsets = {fact.offset for fact in self.deprovisions}
        self._deprovision_records = [record for record in records if record.offset in offsets]
        self._by_subscriber: dict[str | None, list[JudgedRecord]] = {}
        for record in records:
            self._by_subscriber.setdefault(record.subscriber_id, []).append(record)

    def is_known(self, subscriber_id: str) -> bool:
        return subscriber_id in self._by_subscriber

    def records_of(self, subscriber_id: str | None) -> list[JudgedRecord]:
        """Those about a subscriber; about none (None)."""
        return self._by_subscriber.get(subscriber_id, [])

    def subscriber_ids(self) -> list[str]:
        return sorted(name for name in self._by_subscriber if name is not None)

    def story_of(self, subscriber_id: str) -> SubscriberStory:
        return subscriber_story(self.records_of(subscriber_id), self._deprovision_records, self.citations)

    def story(self, *, count_ended: bool) -> CustomerStory:
        """The customer's own; what its deprovisionings ended is counted, if wanted, over all subscribers."""
        ended: Counter[int] = Counter()
        if self.deprovisions and count_ended:
            for facts in self.facts.subscribers.values():
                for step in steps_of(facts, self.deprovisions).steps:
                    if step.fact.kind == Kind.CUSTOMER_DEPROVISIONED:
                        ended[step.fact.offset] += len(step.ended)
        return customer_story(self.records_of(None), ended, self.citations)


def _own(records: Sequence[JudgedRecord], question: Question) -> list[JudgedRecord]:
    """The records of the account, and, if they may be told, refused ones that do not say whose they are."""
    nobodys = () if question.own_only else (None,)
    own = [record for record in records if record.partner_id in (question.partner_id, *nobodys)]
    if any(record.partner_id == question.partner_id for record in own):
        return own
    then = "" if question.as_of_text is None else f", as known at {question.as_of_text}"
    raise NotFound(f"No record is known of customer {code(question.customer_id)} of {code(question.partner_id)}{then}.")


def _known(account: _Account, question: Question, extent: Extent) -> Known:
    told = account.records if question.subscriber_id is None else account.records_of(question.subscriber_id)
    verdicts = Counter(record.verdict for record in told)
    return Known(
        account.records[0].partition,
        len(told),
        extent.cut,
        max(0, extent.cut - extent.state_end),
        question.as_of_text,
        {verdict.value: verdicts[verdict] for verdict in Verdict},
    )


def _subscriber(account: _Account, subscriber_id: str, catalog: CatalogState, known: Known) -> Explanation:
    question = account.question
    days = (question.first_day, question.last_day)
    story = account.story_of(subscriber_id)
    customer = account.story(count_ended=False)
    touching = [(traced, day_parts(traced.interval, *days)) for traced in story.intervals]
    held_then = [traced for traced, parts in touching if parts or _touches(traced, question)]
    parts = [part for _, of_interval in touching for part in of_interval]
    used: list[Used] = [
        (traced.interval.item, traced.interval.location_id, part.day, part.quantity_microdays)
        for traced, of_interval in touching
        for part in of_interval
    ]
    told_intervals = held_then if question.every_record else held_then[:MOST_TOLD]
    intervals = [_interval(traced, account) for traced in told_intervals]
    needed = [each for interval in intervals for each in _cited(interval)]
    holder = [] if story.record.holder < 0 else [account.citations.of(story.record.facts[story.record.holder])]
    records = _told(story.records, question, [*needed, *holder])
    totals = totals_of((item, location, quantity) for item, location, _, quantity in used)
    return Explanation(
        question.partner_id,
        question.customer_id,
        subscriber_id,
        *days,
        [
            *summary_said(question.partner_id, question.customer_id, subscriber_id, days, totals),
            *known_said(known),
            *_not_over(question),
        ],
        known,
        sum(total.quantity_microdays for total in totals),
        totals,
        day_sums(parts),
        reported(question.partner_id, days, catalog, customer.record, customer.attributes, used),
        [],
        records,
        len(story.records) - len(records),
        user_id=story.record.user_id,
        workspace_id=story.record.workspace_id,
        anomalies=story.record.anomalies,
        intervals=intervals,
        intervals_left_out=len(held_then) - len(intervals),
    )


def _customer(account: _Account, catalog: CatalogState, known: Known) -> Explanation:
    question = account.question
    days = (question.first_day, question.last_day)
    story = account.story(count_ended=True)
    used: list[Used] = []
    subscribers = []
    for subscriber_id in account.subscriber_ids():
        of_subscriber, summed = _summed(account, subscriber_id)
        used += of_subscriber
        subscribers.append(summed)
    orders = [
        ExplainedOrder(
            traced.order.order_id,
            traced.order.item,
            traced.order.location_id,
            traced.order.day,
            traced.fact.seats or 0,
            traced.order.quantity_microdays,
            days[0] <= traced.order.day <= days[1],
            account.citations.of(traced.fact),
        )
        for traced in story.orders
    ]
    used += [
        (order.item, order.location_id, order.day, order.quantity_microdays) for order in orders if order.in_period
    ]
    day_quantities: Counter[int] = Counter()
    for _, _, day, quantity in used:
        day_quantities[day] += quantity
    totals = totals_of((item, location, quantity) for item, location, _, quantity in used)
    told = list(story.records)
    if question.every_record:
        deprovisions = {fact.offset for fact in account.deprovisions}
        for subscriber_id in account.subscriber_ids():
            told += [pair for pair in account.story_of(subscriber_id).records if pair[0].offset not in deprovisions]
    # What describes the customer and its orders counts whenever it was stated.
    records = _told(told, question, [account.citations.of(fact) for fact in account.facts.customer])
    return Explanation(
        question.partner_id,
        question.customer_id,
        None,
        *days,
        [
            *summary_said(question.partner_id, question.customer_id, None, days, totals),
            *known_said(known),
            *_not_over(question),
        ],
        known,
        sum(total.quantity_microdays for total in totals),
        totals,
        [DaySum(day, quantity) for day, quantity in sorted(day_quantities.items())],
        reported(question.partner_id, days, catalog, story.record, story.attributes, used),
        [],
        records,
        len(account.records) - len(records),
        anomalies=sum(subscriber.anomalies for subscriber in subscribers),
        subscribers=subscribers,
        orders=orders,
        attributes=story.attributes,
    )


def _summed(account: _Account, subscriber_id: str) -> tuple[list[Used], SubscriberSum]:
    facts = account.facts.subscribers.get(subscriber_id, [])
    record = fold_subscriber(facts, account.deprovisions)
    used: list[Used] = [
        (interval.item, interval.location_id, part.day, part.quantity_microdays)
        for interval in record.intervals
        for part in day_parts(interval, account.question.first_day, account.question.last_day)
    ]
    totals = totals_of((item, location, quantity) for item, location, _, quantity in used)
    return used, SubscriberSum(
        subscriber_id,
        record.user_id,
        record.workspace_id,
        len(account.records_of(subscriber_id)),
        record.anomalies,
        totals,
        sum(total.quantity_microdays for total in totals),
    )


def _interval(traced: TracedInterval, account: _Account) -> ExplainedInterval:
    question = account.question
    days = (question.first_day, question.last_day)
    interval, citations = traced.interval, account.citations
    started_by = citations.of(traced.started_by)
    ended_by, assigned_by, located_by = (
        None if fact is None else citations.of(fact)
        for fact in (traced.ended_by, traced.assigned_by, traced.located_by)
    )
    parts = day_parts(interval, *days)
    quantity = sum(part.quantity_microdays for part in parts)
    shown = held(interval)
    explained = ExplainedInterval(
        shown.item,
        shown.addon,
        shown.location_id,
        shown.start_ms,
        shown.end_ms,
        microday(interval.start_ms),
        None if interval.end_ms is None else microday(interval.end_ms),
        parts,
        quantity,
        started_by,
        ended_by,
        assigned_by,
        located_by,
        "",
    )
    explained.said = interval_said(explained, period(*days))
    return explained


def _cited(interval: ExplainedInterval) -> list[Cited]:
    """The records that an interval is explained by."""
    by = (interval.started_by, interval.ended_by, interval.assigned_by, interval.located_by)
    return [cited for cited in by if cited is not None]


def _touches(traced: TracedInterval, question: Question) -> bool:
    """Whether an interval lies in the days, also if it is too short to be anything on the grid."""
    since_ms, until_ms = question.first_day * MS_PER_DAY, (question.last_day + 1) * MS_PER_DAY
    end_ms = traced.interval.end_ms
    return traced.interval.start_ms < until_ms and (end_ms is None or end_ms > since_ms)


def _not_over(question: Question) -> list[str]:
    if question.today is None or question.last_day < question.today:
        return []
    first = day_text(max(question.first_day, question.today))
    return [f"Days from {first} on are not over: what runs is counted as if it ran on."]


def _told(told: Sequence[Told], question: Question, needed: Sequence[Cited]) -> list[ExplainedRecord]:
    most = None if question.every_record else MOST_TOLD
    records = choose(told, question.first_day, question.last_day, needed, most)
    for record in records:
        record.said = record_said(record)
    return records
