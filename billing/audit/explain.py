"""Why a quantity is what it is: reads the raw events, explains them, and holds the tables against them."""

from itertools import islice

from billing.audit.explained import Extent, explained
from billing.audit.explanation import Explanation, NotFound
from billing.audit.judged import JudgedRecord, facts_of, judge
from billing.audit.known_then import catalog_then, last_known
from billing.audit.near import near_customer, near_subscriber
from billing.audit.question import Question
from billing.audit.raw_events import NOW, events_of_customer
from billing.audit.stored_tables import Tables, has_account, stored_progress
from billing.audit.words import not_closed_said
from schemas.topics import TopicNames
from sinks.store import ReadableStore


class TooManyRecords(Exception):
    """Explaining it here would take too long."""


def explain(store: ReadableStore, names: TopicNames, question: Question) -> Explanation:
    """The explanation, recomputed from the raw events, and whether the tables agree with it.

    NotFound if no record is about what is asked for; TooManyRecords if there are more than may be read; StepsDiffer if
    the explanation has a bug.
    """
    topic = names.package_assignments
    account = (question.partner_id, question.customer_id)
    # Not even how long it takes may tell one partner that a customer is another's.
    hidden = question.own_only and not has_account(store, account)
    records = [] if hidden else _records(store, topic, question)
    partition = records[0].partition if records else 0
    last = last_known(store, topic, partition, question.as_of)
    progress = stored_progress(store, topic, partition)
    catalog = catalog_then(store, names, question.as_of, last)
    extent = Extent(0 if last is None else last.offset + 1, progress.state_end)
    try:
        made = explained(records, question, catalog, extent)
    except NotFound as not_found:
        if not question.own_only:
            not_found.near = _near(store, question, records)
        raise
    closed_through_day = progress.closed_through_day
    if question.as_of == NOW and (closed_through_day is None or closed_through_day < question.last_day):
        made.reported.said.append(not_closed_said(closed_through_day))
    cut = None if question.as_of == NOW else extent.cut
    tables = Tables(store, account, facts_of(records, question.partner_id), progress, cut)
    made.tables = tables.compare(question.subscriber_id, question.first_day, question.last_day)
    return made


def _records(store: ReadableStore, topic: str, question: Question) -> list[JudgedRecord]:
    most = question.most_records
    events = events_of_customer(store, topic, question.customer_id, question.as_of)
    read = list(islice(events, None if most is None else most + 1))
    if most is not None and len(read) > most:
        raise TooManyRecords(f"There are more than {most} records under the customer's key.")
    return judge(read)


def _near(store: ReadableStore, question: Question, records: list[JudgedRecord]) -> list[str]:
    partner_id, customer_id, subscriber_id = question.partner_id, question.customer_id, question.subscriber_id
    if subscriber_id is not None and any(record.partner_id == partner_id for record in records):
        return near_subscriber(store, partner_id, customer_id, subscriber_id, records)
    return near_customer(store, partner_id, customer_id, subscriber_id, records)
