"""Why a quantity is what it is, from the raw events of its customer: the one entry point of every explanation."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

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
    Total,
)
from billing.audit.fold_steps import steps_of
from billing.audit.grid_arithmetic import day_parts, day_sums, totals_of
from billing.audit.judged import AccountFacts, JudgedRecord, Verdict, facts_of, judge
from billing.audit.known_then import LastRecord, catalog_then, last_known
from billing.audit.near import near_customer, near_subscriber
from billing.audit.raw_events import NOW, AsOf, events_of_customer
from billing.audit.reported import Used, reported
from billing.audit.shown_records import choose
from billing.audit.stored_tables import Progress, Tables, stored_progress
from billing.audit.subscriber_story import SubscriberStory, TracedInterval, subscriber_story
from billing.audit.told import Told
from billing.audit.words import code, interval_said, known_said, period, record_said, summary_said
from schemas.facts import Kind
from schemas.instants import MS_PER_DAY, day_text
from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.core.catalog import CatalogState
from streams.core.customer import deprovisions_of
from streams.core.fold import fold_subscriber
from streams.core.grid import microday

#: More records or intervals than these are counted, not told, unless all of them are asked for.
MOST_TOLD = 500


class TooManyRecords(Exception):
    """Explaining it here would take too long."""


class Question(Struct, frozen=True):
    """What is to be explained: a subscriber, or a customer if it is None, over days, both included.

    `as_of` and `as_of_text`: what was known then, and how it was asked for. `every_record`: leave none out.
    `own_only`: nothing of other partners may be told, nor of records that do not say whose they are. `today`: days from
    it on are not over, which is said. `most_records`: with more under the customer's key, nothing is explained.
    """

    partner_id: str
    customer_id: str
    subscriber_id: str | None
    first_day: int
    last_day: int
    as_of: AsOf = NOW
    as_of_text: str | None = None
    every_record: bool = False
    own_only: bool = False
    today: int | None = None
    most_records: int | None = None


def explain(store: ReadableStore, names: TopicNames, question: Question) -> Explanation:
    """The explanation, recomputed from the raw events, and whether the tables agree with it.

    NotFound if no record is about what is asked for; TooManyRecords if there are more than may be read. StepsDiffer if this module has a bug.
    """
    topic = names.package_assignments
    events = list(
        islice(
            events_of_customer(store, topic, question.customer_id, question.as_of),
            question.most_records and question.most_records + 1,
        )
    )
    if question.most_records is not None and len(events) > question.most_records:
        raise TooManyRecords(f"There are more than {question.most_records} records under the customer's key.")
    records = judge(events)
    account = _Account(question, _own(records, question))
    if not any(record.partner_id == question.partner_id for record in account.records):
        raise _customer_not_found(store, question, records)
    partition = account.records[0].partition
    last = last_known(store, topic, partition, question.as_of)
    assert last is not None
    progress = stored_progress(store, topic, partition)
    cut = None if question.as_of == NOW else last.offset + 1
    tables = Tables(store, (question.partner_id, question.customer_id), account.facts, progress, cut)
    compared = tables.compare(question.subscriber_id, question.first_day, question.last_day)
    catalog = catalog_then(store, names, question.as_of, last)
    known = _known(account, question, last, progress)
    if question.subscriber_id is None:
        explained = _customer(account, catalog, known)
    elif account.is_known(question.subscriber_id):
        explained = _subscriber(account, question.subscriber_id, catalog, known)
    else:
        said = f"Customer {code(question.customer_id)} of {code(question.partner_id)} has no subscriber {code(question.subscriber_id)}."
        near = (
            []
            if question.own_only
            else near_subscriber(store, question.partner_id, question.customer_id, question.subscriber_id, records)
        )
        raise NotFound(said, near)
    explained.tables = compared
    return explained


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
    return [record for record in records if record.partner_id in (question.partner_id, *nobodys)]


def _known(account: _Account, question: Question, last: LastRecord, progress: Progress) -> Known:
    told = account.records if question.subscriber_id is None else account.records_of(question.subscriber_id)
    cut = last.offset + 1
    verdicts = Counter(record.verdict for record in told)
    return Known(
        account.records[0].partition,
        len(told),
        cut,
        max(0, cut - progress.state_end),
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
    needed = [each for interval in intervals for each in (interval.started_by, interval.ended_by, interval.located_by)]
    holder = [] if story.record.holder < 0 else [account.citations.of(story.record.facts[story.record.holder])]
    records = _told(story.records, question, [*(each for each in needed if each is not None), *holder])
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
    totals: list[Total] = totals_of((item, location, quantity) for item, location, _, quantity in used)
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
    ended_by = None if traced.ended_by is None else citations.of(traced.ended_by)
    located_by = None if traced.located_by is None else citations.of(traced.located_by)
    parts = day_parts(interval, *days)
    quantity = sum(part.quantity_microdays for part in parts)
    shown = held(interval)
    return ExplainedInterval(
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
        located_by,
        interval_said(shown, started_by, ended_by, located_by, quantity, period(*days)),
    )


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


def _customer_not_found(store: ReadableStore, question: Question, records: Sequence[JudgedRecord]) -> NotFound:
    then = "" if question.as_of_text is None else f", as known at {question.as_of_text}"
    said = f"No record is known of customer {code(question.customer_id)} of {code(question.partner_id)}{then}."
    if question.own_only:
        return NotFound(said, [])
    near = near_customer(store, question.partner_id, question.customer_id, question.subscriber_id, records)
    return NotFound(said, near)
