"""Our running licences beside a provisioning system's own list of who holds what, both ways, with the likely cause of
each difference."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

from billing.audit.raw_events import events_of_customer
from schemas.decode import CustomerEvent, SubscriberEvent, decode_assignments
from schemas.facts import Kind
from schemas.instants import parse_time_ms, time_text
from schemas.reasons import Refused
from schemas.topics import TopicNames
from sinks.store import ReadableStore

#: The columns of a list, by what their names may be once letters and digits alone are kept, in lower case.
_COLUMNS = {
    "customer_id": ("customerorgid", "customerid", "customer"),
    "subscriber_id": ("subscriberid", "subscriber"),
    "item": ("package", "service", "servicename", "addon"),
    "user_id": ("userid", "user"),
    "location_id": ("locationid", "location"),
    "since_ms": ("since", "from", "start"),
}
_REQUIRED = ("customer_id", "subscriber_id", "item")
# Who a subscriber is stands in its row without a segment.
_HELD = """
SELECT customer_id, subscriber_id, item, location, who.user_id, start
FROM
(
    SELECT partner_id, customer_id, subscriber_id, item, location, start
    FROM timelines FINAL
    ARRAY JOIN items AS item, locations AS location, start_ms AS start, end_ms AS end
    WHERE partner_id IN {orgs:Array(String)} AND start <= {at_ms:Int64} AND end > {at_ms:Int64}
) AS held
LEFT ANY JOIN
(
    SELECT partner_id, customer_id, subscriber_id, user_id FROM timelines FINAL
    WHERE partner_id IN {orgs:Array(String)} AND segment = ''
) AS who USING (partner_id, customer_id, subscriber_id)
"""
_ELSEWHERE = """
SELECT subscriber_id, partner_id, customer_id FROM timelines FINAL
ARRAY JOIN start_ms AS start, end_ms AS end
WHERE subscriber_id IN {subscribers:Array(String)} AND start <= {at_ms:Int64} AND end > {at_ms:Int64}
"""
_REMOVALS = (Kind.PACKAGE_REMOVED, Kind.ADDON_REMOVED, Kind.SUBSCRIBER_REMOVED)
_LOOKED_UP_TOGETHER = 5_000


class BadList(ValueError):
    """The list cannot be read. The message says which line or column."""


class What(StrEnum):
    """How two lists differ about one licence."""

    ONLY_THERE = "only in their list"
    ONLY_HERE = "only here"
    OTHER_PACKAGE = "another package"
    OTHER_LOCATION = "another location"
    OTHER_USER = "another user"
    OTHER_SINCE = "held since another time"


class Held(Struct, frozen=True):
    """A licence that is held. A member that a list does not have is None: nothing is said about it."""

    customer_id: str
    subscriber_id: str
    item: str
    location_id: str | None = None
    user_id: str | None = None
    since_ms: int | None = None


class ListDifference(Struct, frozen=True):
    """One difference. `cause` is the likely one, as a short text that can be grouped by; `detail` says more."""

    what: What
    customer_id: str
    subscriber_id: str
    theirs: str
    ours: str
    cause: str = ""
    detail: str = ""


def read_list(lines: Iterable[str]) -> Iterator[Held]:
    """The licences of a CSV list with a header; BadList for a column that is missing or a time that is none."""
    rows = csv.reader(lines)
    header = ["".join(filter(str.isalnum, name)).lower() for name in next(rows, [])]
    places = {
        member: next((header.index(name) for name in names if name in header), None)
        for member, names in _COLUMNS.items()
    }
    missing = [_COLUMNS[member][0] for member in _REQUIRED if places[member] is None]
    if missing:
        raise BadList(f"the list has no column {', '.join(missing)}; its header is {', '.join(header) or 'empty'}")
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            cells = {member: row[place] for member, place in places.items() if place is not None}
            since = cells.get("since_ms")
            yield Held(
                cells["customer_id"],
                cells["subscriber_id"],
                cells["item"].upper(),
                cells.get("location_id"),
                cells.get("user_id"),
                parse_time_ms(since) if since else None,
            )
        except (IndexError, ValueError) as error:
            raise BadList(f"line {number} of the list: {error}") from None


def held_here(store: ReadableStore, org_ids: list[str], at_ms: int) -> Iterator[Held]:
    """What the orgs' subscribers hold at an instant, as is known now."""
    for rows in store.stream(_HELD, {"orgs": org_ids, "at_ms": at_ms}):
        for customer_id, subscriber_id, item, location_id, user_id, since_ms in rows:
            yield Held(customer_id, subscriber_id, item, location_id, user_id, since_ms)


def differences(theirs: Iterable[Held], ours: Iterable[Held]) -> list[ListDifference]:
    """Both ways, by customer and subscriber, without causes. A subscriber with one other package is one difference."""
    lists: tuple[dict[tuple[str, str], dict[str, Held]], dict[tuple[str, str], dict[str, Held]]] = (
        defaultdict(dict),
        defaultdict(dict),
    )
    for side, holds in zip(lists, (theirs, ours), strict=True):
        for held in holds:
            side[held.customer_id, held.subscriber_id][held.item] = held
    found: list[ListDifference] = []
    for who in sorted(lists[0].keys() | lists[1].keys()):
        there, here = lists[0].get(who, {}), lists[1].get(who, {})
        only_there, only_here = sorted(there.keys() - here.keys()), sorted(here.keys() - there.keys())
        if len(only_there) == 1 and len(only_here) == 1:
            found.append(ListDifference(What.OTHER_PACKAGE, *who, only_there[0], only_here[0]))
        else:
            found += [ListDifference(What.ONLY_THERE, *who, item, "") for item in only_there]
            found += [ListDifference(What.ONLY_HERE, *who, "", item) for item in only_here]
        for item in sorted(there.keys() & here.keys()):
            found += _of_one(who, there[item], here[item])
    return found


def _of_one(who: tuple[str, str], there: Held, here: Held) -> Iterator[ListDifference]:
    for what, theirs, ours in (
        (What.OTHER_LOCATION, there.location_id, here.location_id),
        (What.OTHER_USER, there.user_id, here.user_id),
    ):
        if theirs is not None and theirs != (ours or ""):
            yield ListDifference(what, *who, f"{there.item} {theirs}", f"{here.item} {ours or ''}")
    if there.since_ms is not None and here.since_ms is not None and there.since_ms != here.since_ms:
        yield ListDifference(What.OTHER_SINCE, *who, time_text(there.since_ms), time_text(here.since_ms))


def with_causes(
    found: list[ListDifference], store: ReadableStore, names: TopicNames, org_ids: list[str], at_ms: int
) -> Iterator[ListDifference]:
    """The differences with their likely causes: from the raw events of the customers that they are about."""
    elsewhere: dict[str, list[tuple[str, str]]] = defaultdict(list)
    subscribers = sorted({one.subscriber_id for one in found if one.what is What.ONLY_THERE})
    for start in range(0, len(subscribers), _LOOKED_UP_TOGETHER):
        some = subscribers[start : start + _LOOKED_UP_TOGETHER]
        for subscriber_id, *owner in store.query(_ELSEWHERE, {"subscribers": some, "at_ms": at_ms}):
            elsewhere[subscriber_id].append((owner[0], owner[1]))
    stories: dict[str, dict[str, list[_Told]]] = {}
    for one in found:
        if one.customer_id not in stories:
            stories = {one.customer_id: _told(store, names.package_assignments, one.customer_id, org_ids)}
        told = stories[one.customer_id]
        cause, detail = _cause(one, told, elsewhere, at_ms)
        yield ListDifference(one.what, one.customer_id, one.subscriber_id, one.theirs, one.ours, cause, detail)


class _Told(Struct, frozen=True):
    """One event about a subscriber (or a customer): what it says, or why it was refused, and whence it is."""

    kind: int | None
    time_ms: int
    arrived_ms: int
    refused: str
    whence: str


def _told(store: ReadableStore, topic: str, customer_id: str, org_ids: list[str]) -> dict[str, list[_Told]]:
    """What was said about a customer's subscribers, by their ids; about the customer itself under the empty one."""
    by_subscriber: dict[str, list[_Told]] = defaultdict(list)
    records = list(events_of_customer(store, topic, customer_id))
    for record, event in zip(records, decode_assignments(records), strict=True):
        place = f"{topic}/{record.partition}/{record.offset}"
        if isinstance(event, Refused):
            subscriber_id = _subscriber_in(record.value)
            by_subscriber[subscriber_id].append(_Told(None, 0, record.timestamp, event.reason, f"dead letter {place}"))
        elif isinstance(event, (SubscriberEvent, CustomerEvent)) and event.partner_id in org_ids:
            fact = event.fact
            about = event.subscriber_id if isinstance(event, SubscriberEvent) else ""
            whence = f"event {fact.id} of {fact.source} ({place})"
            by_subscriber[about].append(_Told(fact.kind, fact.time_ms, record.timestamp, "", whence))
    return by_subscriber


def _subscriber_in(value: bytes | None) -> str:
    """The subscriber that a refused record names, as well as can be told."""
    try:
        document: Any = json.loads(value or b"")
        named = document["data"]["subscriberId"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return named if isinstance(named, str) else ""


def _last(events: Iterable[_Told]) -> _Told | None:
    """The one that arrived last."""
    return max(events, key=lambda event: event.arrived_ms, default=None)


def _cause(
    one: ListDifference,
    told_of: dict[str, list[_Told]],
    elsewhere: dict[str, list[tuple[str, str]]],
    at_ms: int,
) -> tuple[str, str]:
    """The likely cause, and what shows it."""
    told = told_of.get(one.subscriber_id, [])
    refused = _last(event for event in told if event.refused)
    if refused is not None:
        return f"an event was refused: {refused.refused}", refused.whence
    later = _last(event for event in told if event.time_ms > at_ms)
    if later is not None:
        return "it changes after the time of the list", f"{later.whence} holds from {time_text(later.time_ms)}"
    late = _last(event for event in told if event.arrived_ms > at_ms)
    if late is not None:
        return "we heard of it after the time of the list", f"{late.whence} arrived {time_text(late.arrived_ms)}"
    if one.what is not What.ONLY_THERE:
        if one.what is What.ONLY_HERE:
            return "their list lacks it", told[-1].whence if told else ""
        return "the two say otherwise", told[-1].whence if told else ""
    if elsewhere.get(one.subscriber_id):
        return "another customer holds it here", ", ".join("/".join(owner) for owner in elsewhere[one.subscriber_id])
    removed = _last(event for event in told if event.kind in _REMOVALS)
    if removed is not None:
        return "it was removed here", f"{removed.whence}, from {time_text(removed.time_ms)} on"
    ended = _last(event for event in told_of.get("", []) if event.kind == Kind.CUSTOMER_DEPROVISIONED)
    if ended is not None and told:
        return "the customer was deprovisioned here", f"{ended.whence}, from {time_text(ended.time_ms)} on"
    if told:
        return "its events say otherwise", told[-1].whence
    if told_of:
        return "no event about this subscriber", ""
    return "no event about this customer", ""
