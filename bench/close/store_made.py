"""A month of many partners, ready to be closed: `python -m bench.close.store_made FOLDER SUBSCRIBERS`.

Partners have sub-partners, a few of them most of the customers. As in production the history also has rows that were
restated before the cut, and rows that came after it: both with quantities that would be wrong on an invoice.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.reports.data import MONTH, RAW_EVENTS, SERVICES, SUBSCRIBERS_PER_CUSTOMER, customers, daily, timelines
from billing.audit.reconcile.check import Scope
from billing.audit.reconcile.record import ReconcileRuns
from billing.audit.reconcile.run import Reconciled
from rtmeter.installation import Installation
from rtmeter.options import now_ms
from rtmeter.relational_store import open_relational
from schemas.catalog import decode_catalog
from schemas.instants import MS_PER_DAY, time_text
from schemas.routing import route_of
from schemas.topics import CATALOG
from sinks.migrations import Placement, migrate
from sinks.rows import SinkRecord, catalog_blocks, raw_event_blocks
from sinks.store import Store, open_embedded
from streams.core.customer import EXPRESS

PARTNERS = 200
_ORGS_PER_PARTNER = 3
_PARTITIONS = 16
#: Subscribers must be a multiple of it: then all partitions have equally many records.
STEP = _PARTITIONS * SUBSCRIBERS_PER_CUSTOMER
_DAYS = MONTH[1] - MONTH[0] + 1
#: Days are made for about so many subscribers at once: the engine holds their sums in memory.
_SUBSCRIBERS_AT_ONCE = 500_000
#: Of so many customers one is internal, one was restated, and one has rows of after the cut.
_ONE_IN = 100

#: Whose month is billed, of the customers.
NOT_INTERNAL = "(partner_id, customer_id) NOT IN (SELECT partner_id, customer_id FROM customers FINAL WHERE internal)"


def fill(store: Store, installation: Installation, subscribers: int) -> None:
    """Make all of it. ValueError unless `subscribers` is a multiple of STEP."""
    if subscribers % STEP:
        raise ValueError(f"{subscribers} is no multiple of {STEP}")
    migrate(store, Placement())
    lines = list(_catalog())
    versions = [decode_catalog(line, route_of(line).key, _before(1), n) for n, line in enumerate(lines)]
    for block in catalog_blocks(versions):
        store.insert(block.table, block.names, block.columns)
    records = [SinkRecord(CATALOG, 0, n, _before(1), route_of(line).key, line) for n, line in enumerate(lines)]
    for block in raw_event_blocks(records):
        store.insert(block.table, block.names, block.columns)
    for what, sql in _statements(subscribers):
        print(f"    {what}", file=sys.stderr, flush=True)
        store.command(sql)
    scope = Scope(*MONTH, None, None, dict.fromkeys(range(_PARTITIONS), _cut(subscribers)))
    ReconcileRuns(open_relational(installation, None), now_ms).add(now_ms(), Reconciled(scope, ()))


def _cut(subscribers: int) -> int:
    """How many records each partition has: an event of each subscriber, the closing of each day, a late event."""
    return subscribers // _PARTITIONS + _DAYS + 1


def _before(days: int) -> int:
    """An instant before the month, in ms since the epoch."""
    return (MONTH[0] - days) * MS_PER_DAY


def _catalog() -> Iterator[bytes]:
    for partner in range(PARTNERS):
        top, subscription = _org_name(partner, 0), f"purchase-order-{partner}"
        for org in range(_ORGS_PER_PARTNER):
            more = {"parentOrgId": top} if org else {"subscriptionId": subscription}
            name = _org_name(partner, org)
            data = {"partnerOrgId": name, "name": name, "provisioningState": "active", **more}
            yield _event(f"{partner}-{org}", "wholesale.partner.upserted.v1", data)
        services = [
            {"service": service, "sku": f"A-{service}", "description": service.title(), "kind": kind, "unitPrice": "9.90"}
            for service, kind in [(SERVICES[2], "addon"), (EXPRESS, "one-time"), *((one, "package") for one in SERVICES[:2])]
        ]  # fmt: skip
        data = {"subscriptionId": subscription, "partnerOrgId": top, "currency": "EUR", "services": services}
        yield _event(subscription, "wholesale.subscription.upserted.v1", data)


def _event(name: str, event_type: str, data: dict[str, object]) -> bytes:
    envelope = {
        "specversion": "1.0",
        "id": name,
        "source": "/bench",
        "type": event_type,
        "time": time_text(_before(300)),
    }
    return msgspec.json.encode({**envelope, "data": data})


def _org_name(partner: int, org: int) -> str:
    return f"partner-{partner:03d}-{org}"


def _org_of(customer: str) -> str:
    """The name of a customer's org: of the product of two even draws, so that the first ones have most customers."""
    orgs = PARTNERS * _ORGS_PER_PARTNER
    org = f"intDiv((sipHash64({customer}) % {orgs}) * (sipHash64({customer}, 1) % {orgs}), {orgs})"
    partner = f"leftPad(toString(intDiv({org}, {_ORGS_PER_PARTNER})), 3, '0')"
    return f"concat('partner-', {partner}, '-', toString({org} % {_ORGS_PER_PARTNER}))"


def _statements(subscribers: int) -> Iterator[tuple[str, str]]:
    """What is made, and the SQL that makes it. A customer's subscribers have neighbouring offsets."""
    each = SUBSCRIBERS_PER_CUSTOMER
    customer = f"intDiv(number, {each})"
    yield (
        "subscribers",
        timelines(
            subscribers,
            _org_of(customer),
            "of",
            partition=f"{customer} % {_PARTITIONS}",
            offset=f"intDiv({customer}, {_PARTITIONS}) * {each} + number % {each}",
        ),
    )
    yield (
        "customers",
        customers(
            subscribers // each,
            _org_of("number"),
            "of",
            partition=f"number % {_PARTITIONS}",
            revision=f"(intDiv(number, {_PARTITIONS}) + 1) * {each}",
            internal=f"sipHash64(number, 2) % {_ONE_IN} = 0",
        ),
    )
    yield "their history", "INSERT INTO timelines_history SELECT * FROM timelines"
    yield "their history", "INSERT INTO customers_history SELECT * FROM customers"
    yield "events", RAW_EVENTS
    events = subscribers // _PARTITIONS
    step = _SUBSCRIBERS_AT_ONCE // STEP * each
    for first in range(0, events, step):
        whose = f"revision > {first} AND revision <= {first + step}"
        yield f"daily usage from offset {first} on", daily(*MONTH, whose, f"{events} + day - {MONTH[0] - 1}")
    draw = f"sipHash64(customer_id) % {_ONE_IN}"
    yield (
        "its history",
        f"""
INSERT INTO daily_usage_history
SELECT * REPLACE (quantity_microdays + if({draw} = 0, 777, 0) AS quantity_microdays) FROM daily_usage""",
    )
    for what, draw_is, more, revision in (
        ("restated days", 0, 0, _cut(subscribers)),
        ("days of after the cut", 1, 1_000_000, _cut(subscribers) + 1),
    ):
        yield (
            what,
            f"""
INSERT INTO daily_usage_history
SELECT * REPLACE (quantity_microdays + {more} AS quantity_microdays, {revision} AS revision) FROM daily_usage
WHERE {draw} = {draw_is}""",
        )
    yield (
        "closed days",
        f"""
INSERT INTO raw_events
SELECT 'package-assignments', number % {_PARTITIONS}, {events} + intDiv(number, {_PARTITIONS}),
       toDateTime64('2026-11-01 00:20:00', 3, 'UTC'), NULL, '{{}}'
FROM numbers({_PARTITIONS * (_DAYS + 1)})""",
    )
    yield (
        "closed days",
        f"""
INSERT INTO partition_progress
SELECT number, {_cut(subscribers)}, toDate32({MONTH[1]}), {events}, 0, 0, {_DAYS} FROM numbers({_PARTITIONS})""",
    )


def main(folder: Path, subscribers: int) -> None:
    installation = Installation(folder, None, "")
    began = time.perf_counter()
    with open_embedded(installation.store_folder) as store:
        fill(store, installation, subscribers)
    print(f"    made in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
