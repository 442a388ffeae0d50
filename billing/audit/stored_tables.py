"""Whether the tables hold what the raw events give: `timelines`, `customers`, `daily_usage`, or their history at a cut.

A row of revision r must be what the core makes of the first r records. A row that is not the state of now is either
behind, because the state as a whole has not come further yet, or it disagrees: the two are told apart by the progress
that the store claims for the partition.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from billing.audit.explanation import Agreement, Compared
from billing.audit.grid_arithmetic import Group, group_days
from billing.audit.judged import AccountFacts
from billing.audit.words import code, counted
from schemas.entitlements import ADDON, CustomerRecord, Interval, SubscriberRecord
from schemas.facts import CustomerFact
from schemas.instants import day_text
from sinks.store import ReadableStore
from streams.core.customer import deprovisions_of, fold_customer
from streams.core.fold import fold_subscriber
from streams.core.grid import microday

_STILL_RUNS = 2**63 - 1
#: More differences than these are counted, not listed.
_LISTED = 5

# A subscriber with many facts has its older intervals in rows of their own, the segments; only the row without a segment
# says who holds them. Together they are the state at the highest of their revisions.
_TIMELINES = """
SELECT subscriber_id, max(revision) AS last,
       anyIf(user_id, segment = ''), anyIf(workspace_id, segment = ''), anyIf(anomalies, segment = ''),
       arraySort(arrayFlatten(groupArray(arrayZip(start_ms, addon, items, locations, starts, ends, end_ms))))
FROM
(
    SELECT * FROM {table}
    WHERE partner_id = {{partner:String}} AND customer_id = {{customer:String}} AND revision <= {{cut:UInt64}}
      {only}
    ORDER BY subscriber_id, segment, revision DESC LIMIT 1 BY subscriber_id, segment
)
GROUP BY subscriber_id
"""
_CUSTOMERS = """
SELECT revision, external_id, subscription_id, name, internal,
       order_ids, order_items, order_locations, order_days, order_quantities
FROM {table}
WHERE partner_id = {{partner:String}} AND customer_id = {{customer:String}} AND revision <= {{cut:UInt64}}
ORDER BY revision DESC LIMIT 1
"""
_DAYS = """
SELECT location_id, item, toInt32(day) AS used_day, revision, quantity_microdays, active_licences
FROM {table}
WHERE partner_id = {{partner:String}} AND customer_id = {{customer:String}} AND revision <= {{cut:UInt64}}
  {only}
ORDER BY location_id, item, used_day, revision DESC LIMIT 1 BY location_id, item, used_day
"""
_LATEST = """
SELECT {key}, max(revision) FROM {table}
WHERE partner_id = {{partner:String}} AND customer_id = {{customer:String}} {only} GROUP BY {key}
"""
_PROGRESS = """
SELECT revision, toInt32(closed_through_day) FROM partition_progress FINAL WHERE partition = {partition:UInt32}
"""
_RAW_END = """
SELECT offset + 1 FROM raw_events WHERE topic = {topic:String} AND partition = {partition:UInt32}
ORDER BY topic DESC, partition DESC, offset DESC LIMIT 1
"""
_HAS_ACCOUNT = """
SELECT count() FROM
(
    SELECT 1 FROM timelines WHERE partner_id = {partner:String} AND customer_id = {customer:String} LIMIT 1
    UNION ALL
    SELECT 1 FROM customers WHERE partner_id = {partner:String} AND customer_id = {customer:String} LIMIT 1
)
"""
_EVERYTHING = 2**63 - 1


#: The cells of a row, arrays as tuples.
Cells = tuple[Any, ...]


class Progress(Struct, frozen=True):
    """How far a partition's raw events and state are stored: lengths of the input prefix."""

    raw_end: int
    state_end: int
    closed_through_day: int | None


def stored_progress(store: ReadableStore, topic: str, partition: int) -> Progress:
    """What the store claims to hold of a partition."""
    raw = store.query(_RAW_END, {"topic": topic, "partition": partition})
    state = store.query(_PROGRESS, {"partition": partition})
    return Progress(raw[0][0] if raw else 0, *(state[0] if state else (0, None)))


def has_account(store: ReadableStore, account: tuple[str, str]) -> bool:
    """Whether the tables know anything of a customer under a partner."""
    ((rows,),) = store.query(_HAS_ACCOUNT, {"partner": account[0], "customer": account[1]})
    return bool(rows)


class _Row(Struct, frozen=True):
    """A row as it is stored: `cells` None if there is none."""

    revision: int
    cells: Cells | None


_NO_ROW = _Row(0, None)


class _DayKey(NamedTuple):
    location_id: str
    item: str
    day: int


class _Difference(Struct, frozen=True):
    said: str
    agreement: Agreement


class Tables:
    """The tables' rows of one account beside its facts.

    `cut`: the length of the input prefix that is asked about, and then `facts` are of that; None: now.
    """

    def __init__(
        self,
        store: ReadableStore,
        account: tuple[str, str],
        facts: AccountFacts,
        progress: Progress,
        cut: int | None,
    ) -> None:
        self._store = store
        self._account = account
        self._facts = facts
        self._progress = progress
        self._cut = cut
        #: The prefix whose state the tables should hold: no further than either side is stored.
        self._due = min(progress.raw_end, progress.state_end, _EVERYTHING if cut is None else cut)
        self._deprovisions: dict[int, tuple[CustomerFact, ...]] = {}

    def compare(self, subscriber_id: str | None, first_day: int, last_day: int) -> list[Compared]:
        """Each table beside the facts: one subscriber's timeline, or all of them; days of the whole customer."""
        return [self._timelines(subscriber_id), self._customer(), self._days(first_day, last_day)]

    # ---- timelines

    def _timelines(self, subscriber_id: str | None) -> Compared:
        only = "" if subscriber_id is None else "AND subscriber_id = {subscriber:String}"
        bound = {} if subscriber_id is None else {"subscriber": subscriber_id}
        found = {row[0]: _Row(row[1], _cells(row[2:])) for row in self._rows(_TIMELINES, "timelines", only, bound)}
        latest = self._latest("timelines", "subscriber_id", only, bound)
        wanted = {*found, *self._facts.subscribers} if subscriber_id is None else {subscriber_id}
        differences = [
            self._difference(
                f"subscriber {code(name)}",
                found.get(name, _NO_ROW),
                functools.partial(self._timeline, name),
                latest.get((name,), 0),
            )
            for name in sorted(wanted)
        ]
        return self._result("timelines", differences, counted(len(wanted), "subscriber"))

    def _timeline(self, subscriber_id: str, length: int) -> Cells | None:
        own = [fact for fact in self._facts.subscribers.get(subscriber_id, []) if fact.offset < length]
        if not own:
            return None
        if length not in self._deprovisions:
            customer = (fact for fact in self._facts.customer if fact.offset < length)
            self._deprovisions[length] = deprovisions_of(customer)
        return _timeline_row(fold_subscriber(own, self._deprovisions[length]))

    # ---- customers

    def _customer(self) -> Compared:
        rows = self._rows(_CUSTOMERS, "customers", "", {})
        row = _Row(rows[0][0], _cells(rows[0][1:])) if rows else _NO_ROW
        latest = self._latest("customers", "customer_id", "", {}).get((self._account[1],), 0)

        def state(length: int) -> Cells | None:
            own = [fact for fact in self._facts.customer if fact.offset < length]
            return _customer_row(fold_customer(own)) if own else None

        difference = self._difference("the customer's row", row, state, latest)
        return self._result("customers", [difference], "what is said of the customer, and its orders")

    # ---- daily usage

    def _days(self, first_day: int, last_day: int) -> Compared:
        only = "AND day BETWEEN toDate32({first_day:Int32}) AND toDate32({last_day:Int32})"
        bound = {"first_day": first_day, "last_day": last_day}
        found = {
            _DayKey(*row[:3]): _Row(row[3], _cells(row[4:])) for row in self._rows(_DAYS, "daily_usage", only, bound)
        }
        latest = self._latest("daily_usage", "location_id, item, toInt32(day)", only, bound)
        usage = functools.cache(lambda length: _usage(self._facts.before(length), first_day, last_day))
        keys = set(found)
        # Which days were closed at a cut is not kept: there, only what has a row can be compared.
        closed_through = self._progress.closed_through_day
        if self._cut is None and closed_through is not None:
            keys |= {key for key, cells in usage(self._due).items() if key.day <= closed_through and any(cells)}
        differences = [
            self._difference(
                f"{code(key.item)}{' at ' + code(key.location_id) if key.location_id else ''} on {day_text(key.day)}",
                found.get(key, _NO_ROW),
                lambda length, key=key: usage(length).get(key, (0, 0)),  # type: ignore[misc]
                latest.get(tuple(key), 0),
            )
            for key in sorted(keys, key=lambda key: (key.day, key))
        ]
        return self._result("daily_usage", differences, f"{counted(len(keys), 'row')} of these days")

    # ---- judging

    def _difference(
        self, what: str, row: _Row, state: Callable[[int], Cells | None], latest: int
    ) -> _Difference | None:
        """How a row differs from the state that is due, if it does. `latest`: the key's latest revision in the history."""
        revision, raw_end = row.revision, self._progress.raw_end
        if revision > raw_end:
            said = f"{what} is of revision {revision}, and raw events are stored up to {raw_end} only"
            return _Difference(said, Agreement.BEHIND)
        if row.cells == state(max(self._due, revision)):
            return None
        if row.cells is not None and row.cells != state(revision):
            return _Difference(f"{what} is not what the first {revision} records give", Agreement.DISAGREES)
        # Right as far as it goes. A run of records is written as a whole: at a cut inside it there is no row.
        if self._cut is not None and latest > self._cut:
            kept = f"{revision} and {latest}" if revision else f"{latest} and later"
            return _Difference(f"of {what} only revisions {kept} are kept", Agreement.NOT_KEPT)
        if row.cells is None:
            return _Difference(f"{what} has no row", Agreement.DISAGREES)
        said = f"{what} is right for the first {revision} records, and not for the first {self._due}"
        return _Difference(said, Agreement.DISAGREES)

    def _result(self, table: str, found: Sequence[_Difference | None], what: str) -> Compared:
        differences = [difference for difference in found if difference is not None]
        name = table if self._cut is None else f"{table}_history"
        for agreement in (Agreement.DISAGREES, Agreement.BEHIND, Agreement.NOT_KEPT):
            said = [difference.said for difference in differences if difference.agreement is agreement]
            if said:
                return Compared(name, agreement, _some(said))
        return Compared(name, Agreement.AGREES, f"{what}, as of the first {self._due} records of the partition")

    def _rows(self, sql: str, table: str, only: str, bound: Mapping[str, object]) -> list[tuple[Any, ...]]:
        partner_id, customer_id = self._account
        cut = _EVERYTHING if self._cut is None else self._cut
        source = f"{table} FINAL" if self._cut is None else f"{table}_history"
        parameters = {"partner": partner_id, "customer": customer_id, "cut": cut, **bound}
        return self._store.query(sql.format(table=source, only=only), parameters)

    def _latest(self, table: str, key: str, only: str, bound: Mapping[str, object]) -> dict[tuple[Any, ...], int]:
        """The latest revision of each key in the history; nothing if it is now that is asked about."""
        if self._cut is None:
            return {}
        partner_id, customer_id = self._account
        sql = _LATEST.format(key=key, table=f"{table}_history", only=only)
        rows = self._store.query(sql, {"partner": partner_id, "customer": customer_id, **bound})
        return {tuple(row[:-1]): row[-1] for row in rows}


def _some(said: Sequence[str]) -> str:
    more = f"; and {len(said) - _LISTED} more" if len(said) > _LISTED else ""
    return "; ".join(said[:_LISTED]) + more


def _cells(row: Sequence[Any]) -> Cells:
    """The cells with arrays, and tuples in them, as tuples: another process's store sends both as lists."""
    return tuple(_cells(cell) if isinstance(cell, list | tuple) else cell for cell in row)


def _timeline_row(record: SubscriberRecord) -> Cells:
    """As a row of `_TIMELINES`: the intervals are in the same order, by start, slot and item."""
    return (
        record.user_id or "",
        record.workspace_id or "",
        record.anomalies,
        tuple(
            (
                interval.start_ms,
                interval.slot == ADDON,
                interval.item,
                interval.location_id or "",
                microday(interval.start_ms),
                _STILL_RUNS if interval.end_ms is None else microday(interval.end_ms),
                _STILL_RUNS if interval.end_ms is None else interval.end_ms,
            )
            for interval in record.intervals
        ),
    )


def _customer_row(record: CustomerRecord) -> Cells:
    orders = record.orders
    return (
        record.external_id or "",
        record.subscription_id or "",
        record.name or "",
        record.internal,
        tuple(order.order_id for order in orders),
        tuple(order.item for order in orders),
        tuple(order.location_id or "" for order in orders),
        tuple(order.day for order in orders),
        tuple(order.quantity_microdays for order in orders),
    )


def _usage(facts: AccountFacts, first_day: int, last_day: int) -> dict[_DayKey, Cells]:
    """{(location, item, day): (microdays, active licences)} of an account's whole state."""
    deprovisions = deprovisions_of(facts.customer)
    intervals: list[Interval] = []
    for own in facts.subscribers.values():
        intervals += fold_subscriber(own, deprovisions).intervals
    orders: list[tuple[Group, int, int]] = [
        ((order.location_id, order.item), order.day, order.quantity_microdays)
        for order in fold_customer(facts.customer).orders
    ]
    return {
        _DayKey(location_id or "", item, day): (quantity, active)
        for (location_id, item), day, quantity, active in group_days(intervals, orders, first_day, last_day)
    }
