"""Twelve months of one large partner among others, made by the engine itself: `INSERT ... SELECT FROM numbers`.

The large partner's daily usage is computed from its subscribers' intervals, so that all report types must agree to the
microday; the others' is only there to be in the way.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from schemas.instants import day_number
from sinks.store import Store
from streams.core.customer import EXPRESS
from streams.core.grid import MICRODAYS_PER_DAY

PARTNER = "partner-large"
FIRST_DAY, LAST_DAY = day_number("2025-11-01"), day_number("2026-10-31")
MONTH = (day_number("2026-10-01"), day_number("2026-10-31"))
SUBSCRIBERS_PER_CUSTOMER = 10
_OTHER_PARTNERS = 50
_RUNS = 2**63 - 1
_SUBSCRIPTION = "purchase-order-1"
SERVICES = ("WEBEX_CALLING", "WEBEX_SUITE", "ATTENDANT_CONSOLE")
_SPAN = (LAST_DAY - FIRST_DAY + 1) * MICRODAYS_PER_DAY


class Size(Struct, frozen=True):
    """How many subscribers the large partner has, and the others together."""

    subscribers: int
    others: int


def statements(size: Size) -> Iterator[tuple[str, str]]:
    """What is made, and the SQL that makes it."""
    other = f"concat('partner-', toString(number % {_OTHER_PARTNERS}))"
    yield "the catalog", _catalog()
    yield "subscribers", timelines(size.subscribers, f"'{PARTNER}'", "large")
    yield "other subscribers", timelines(size.others, other, "other")
    yield "customers", customers(size.subscribers // SUBSCRIBERS_PER_CUSTOMER, f"'{PARTNER}'", "large")
    yield "other customers", customers(size.others // SUBSCRIBERS_PER_CUSTOMER, other, "other")
    for first, last in _months():
        yield f"daily usage, days {first} to {last}", daily(first, last, f"partner_id = '{PARTNER}'", str(last + 1))
        yield (
            f"other daily usage, days {first} to {last}",
            _other_daily(size.others // SUBSCRIBERS_PER_CUSTOMER, other, first, last),
        )
    yield "restated days", _restated()
    yield "events for weighted sums", _WEIGHTED_TABLE
    yield "events for weighted sums", _WEIGHTED_ROWS


def fill(store: Store, size: Size, tell: Callable[[str], None]) -> None:
    """Make all of it; `tell` hears what is being made."""
    for what, sql in statements(size):
        tell(what)
        store.command(sql)


def _months() -> Iterator[tuple[int, int]]:
    """Stretches of a month's length, that the days are made in."""
    for first in range(FIRST_DAY, LAST_DAY + 1, 31):
        yield first, min(first + 30, LAST_DAY)


def _catalog() -> str:
    services = ", ".join(
        f'{{"service": "{service}", "sku": "A-{service}", "description": "{service.title()}, monthly", '
        f'"kind": "package", "unitPrice": "9.90"}}'
        for service in SERVICES
    )
    partner = (
        f'{{"partnerOrgId": "{PARTNER}", "name": "Large", "subscriptionId": "{_SUBSCRIPTION}", '
        f'"provisioningState": "active"}}'
    )
    subscription = (
        f'{{"subscriptionId": "{_SUBSCRIPTION}", "partnerOrgId": "{PARTNER}", "currency": "EUR", '
        f'"services": [{services}]}}'
    )
    return f"""
INSERT INTO catalog_versions VALUES
('partner/{PARTNER}', 0, 0, NULL, '/bench', '0', '{partner}'),
('subscription/{_SUBSCRIPTION}', 1, 0, NULL, '/bench', '1', '{subscription}')"""


def timelines(count: int, partner: str, of: str, *, partition: str = "0", offset: str = "number") -> str:
    """Of ten subscribers one changed its package within the year, and one has an add-on.

    `partner`, `partition` and `offset`, that of its one event, are expressions of the subscriber's number.
    """
    return f"""
INSERT INTO timelines
SELECT {partner}, concat('{of}-', toString(intDiv(number, {SUBSCRIBERS_PER_CUSTOMER}))),
       concat(hex(sipHash64('{of}', number)), '-', toString(number)) AS subscriber, {offset} + 1, {partition}, subscriber, '', 0,
       multiIf(kind = 0, [false, false], kind = 1, [false, true], [false]),
       multiIf(kind = 0, ['WEBEX_CALLING', 'WEBEX_SUITE'], kind = 1, ['WEBEX_CALLING', 'ATTENDANT_CONSOLE'],
               ['WEBEX_CALLING']) AS held,
       arrayMap(item -> '', held),
       multiIf(kind = 0, [begin, change], kind = 1, [begin, begin], [begin]) AS since,
       multiIf(kind = 0, [change, {_RUNS}], kind = 1, [{_RUNS}, {_RUNS}], [{_RUNS}]) AS until,
       since, until, ''
FROM
(
    SELECT number, number % 10 AS kind,
           toInt64({FIRST_DAY * MICRODAYS_PER_DAY} + sipHash64(number) % {_SPAN // 2}) AS begin,
           toInt64({FIRST_DAY * MICRODAYS_PER_DAY + _SPAN // 2} + sipHash64(number, 1) % {_SPAN // 2}) AS change
    FROM numbers({count})
)"""


def customers(
    count: int, partner: str, of: str, *, partition: str = "0", revision: str = "1", internal: str = "false"
) -> str:
    """Of fifty customers one has ordered Setup Assist. The texts are expressions of the customer's number."""
    ordered = "number % 50 = 0"
    return f"""
INSERT INTO customers
SELECT {partner}, concat('{of}-', toString(number)), {revision}, {partition}, concat('external-', toString(number)), '', '',
       {internal}, if({ordered}, ['order'], []), if({ordered}, ['{EXPRESS}'], []), if({ordered}, [''], []),
       if({ordered}, [toInt32({MONTH[0] + 10})], []), if({ordered}, [toInt64({MICRODAYS_PER_DAY})], [])
FROM numbers({count})"""


def daily(first: int, last: int, whose: str, revision: str) -> str:
    """What each day's close wrote: intervals and orders cut to days.

    `whose`: a condition that rows of `timelines` and of `customers` can be asked for; `revision`: an expression of `day`.
    """
    return f"""
INSERT INTO daily_usage
SELECT partner_id, customer_id, '', item, toDate32(day), sum(quantity), sum(running), {revision}
FROM
(
    SELECT partner_id, customer_id, item, day,
           least(end, (day + 1) * {MICRODAYS_PER_DAY}) - greatest(start, day * {MICRODAYS_PER_DAY}) AS quantity,
           toInt64(end > (day + 1) * {MICRODAYS_PER_DAY}) AS running
    FROM (SELECT * FROM timelines WHERE {whose})
    ARRAY JOIN items AS item, starts AS start, ends AS end
    ARRAY JOIN range({first}, {last + 1}) AS day
    WHERE start < (day + 1) * {MICRODAYS_PER_DAY} AND end > day * {MICRODAYS_PER_DAY}
    UNION ALL
    SELECT partner_id, customer_id, item, toUInt16(day), quantity, 0
    FROM customers ARRAY JOIN order_items AS item, order_days AS day, order_quantities AS quantity
    WHERE {whose} AND day BETWEEN {first} AND {last}
)
GROUP BY partner_id, customer_id, item, day"""


def _other_daily(customers: int, partner: str, first: int, last: int) -> str:
    return f"""
INSERT INTO daily_usage
SELECT {partner}, concat('other-', toString(number)), '', 'WEBEX_CALLING', toDate32(day),
       {SUBSCRIBERS_PER_CUSTOMER * MICRODAYS_PER_DAY} - sipHash64(number, day) % 1000, {SUBSCRIBERS_PER_CUSTOMER}, {last + 1}
FROM numbers({customers}) ARRAY JOIN range({first}, {last + 1}) AS day"""


def _restated() -> str:
    """Late facts touched the month again for one customer in a hundred: other rows of the same keys."""
    return f"""
INSERT INTO daily_usage
SELECT * REPLACE (revision + 100 AS revision) FROM daily_usage
WHERE partner_id = '{PARTNER}' AND sipHash64(customer_id) % 100 = 0
  AND day BETWEEN toDate32({MONTH[0]}) AND toDate32({MONTH[1]})"""


#: The event of each subscriber, as it came.
RAW_EVENTS = """
INSERT INTO raw_events
SELECT 'package-assignments', partition, revision - 1, fromUnixTimestamp64Milli(toInt64(starts[1] * 86.4), 'UTC'), customer_id,
       concat('{"specversion":"1.0","id":"', toString(revision - 1), '","source":"/bench","type":"wholesale.package.assigned.v1","time":"',
              formatDateTime(fromUnixTimestamp64Milli(toInt64(starts[1] * 86.4), 'UTC'), '%FT%TZ'),
              '","data":{"partnerOrgId":"', partner_id, '","customerOrgId":"', customer_id, '","subscriberId":"', subscriber_id,
              '","package":"', items[1], '"}}')
FROM timelines"""

#: What the engine does by itself with a month that has rested for an hour.
MERGE = "OPTIMIZE TABLE daily_usage PARTITION 202610 FINAL"

_WEIGHTED_TABLE = """
CREATE TABLE weighted_events
(partner_id String, customer_id String, item LowCardinality(String), at Int64, delta Int8)
ENGINE = MergeTree ORDER BY (partner_id, customer_id, item, at)"""

_WEIGHTED_ROWS = f"""
INSERT INTO weighted_events
SELECT partner_id, customer_id, item, at, delta
FROM timelines ARRAY JOIN items AS item, starts AS start, ends AS end
ARRAY JOIN [start, end] AS at, [1, -1] AS delta
WHERE partner_id = '{PARTNER}' AND at != {_RUNS}"""

#: The month's quantity by service as weighted sums per request: how many are held, times how long until that changes.
WEIGHTED_SUM = f"""
SELECT item, sum(held * (next - at)) AS quantity
FROM
(
    SELECT item, at, sum(delta) OVER (PARTITION BY customer_id, item ORDER BY at ROWS UNBOUNDED PRECEDING) AS held,
           leadInFrame(at, 1, toInt64({{end:Int64}})) OVER
               (PARTITION BY customer_id, item ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS next
    FROM
    (
        SELECT customer_id, item, greatest(at, {{start:Int64}}) AS at, delta
        FROM weighted_events WHERE partner_id = '{PARTNER}' AND at < {{end:Int64}}
    )
)
GROUP BY item ORDER BY item"""
