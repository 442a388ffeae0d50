"""Lines of events as records under their keys, in one partition: what an explanation is made from, without a store."""

from collections.abc import Iterable, Sequence

from billing.audit.explained import Extent, explained
from billing.audit.explanation import Explanation
from billing.audit.judged import JudgedRecord, judge
from billing.audit.question import Question
from billing.audit.raw_events import RawEvent
from schemas.instants import day_number
from schemas.routing import route_of
from streams.core.catalog import CatalogState

FIRST_DAY, LAST_DAY = day_number("2026-10-01"), day_number("2026-10-31")


def raw_events(lines: Sequence[bytes], arrived_ms: int, partition: int = 0) -> list[RawEvent]:
    """Each line as a record under the key that it routes to, at the offset of its number."""
    return [RawEvent(partition, offset, arrived_ms, route_of(line).key, line) for offset, line in enumerate(lines)]


def judged_of(events: Iterable[RawEvent], customer_id: str) -> list[JudgedRecord]:
    """The judged records under a customer's key."""
    return judge([event for event in events if event.key == customer_id.encode()])


def explained_at(
    records: Sequence[JudgedRecord],
    partner_id: str,
    customer_id: str,
    subscriber_id: str | None,
    catalog: CatalogState,
    *,
    every_record: bool = False,
    own_only: bool = False,
) -> Explanation:
    """The explanation of October, with the tables' state as far as the records go."""
    question = Question(
        partner_id,
        customer_id,
        subscriber_id,
        FIRST_DAY,
        LAST_DAY,
        every_record=every_record,
        own_only=own_only,
    )
    end = records[-1].offset + 1 if records else 0
    return explained(records, question, catalog, Extent(end, end))
