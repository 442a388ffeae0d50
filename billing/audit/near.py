"""Where something like it is, when what was asked for is not there: other partners, other customers, other spellings."""

import difflib
from collections.abc import Iterable, Sequence

from billing.audit.judged import JudgedRecord, Verdict
from billing.audit.words import code
from sinks.store import ReadableStore

_MOST = 5
_SAME_SUBSCRIBER = """
SELECT DISTINCT partner_id, customer_id FROM timelines
WHERE subscriber_id = {subscriber:String} AND NOT (partner_id = {partner:String} AND customer_id = {customer:String})
ORDER BY partner_id, customer_id LIMIT {most:UInt32}
"""
_CUSTOMERS_OF_PARTNER = """
SELECT DISTINCT customer_id FROM timelines WHERE partner_id = {partner:String}
UNION DISTINCT SELECT DISTINCT customer_id FROM customers WHERE partner_id = {partner:String}
"""
_PARTNERS = "SELECT DISTINCT partner_id FROM timelines"


def near_customer(
    store: ReadableStore, partner_id: str, customer_id: str, subscriber_id: str | None, records: Iterable[JudgedRecord]
) -> list[str]:
    """Sentences on where the customer, or the like, is. `records`: those under the customer's key, of whichever partner."""
    said = []
    partners = sorted(
        {record.partner_id for record in records if record.partner_id and record.verdict is Verdict.METERED}
    )
    if partners:
        said.append(f"Customer {code(customer_id)} is one of {_listed(partners)}.")
    customers = [row[0] for row in store.query(_CUSTOMERS_OF_PARTNER, {"partner": partner_id})]
    if customers:
        said += _alike(f"Customers of {code(partner_id)}", customer_id, customers)
    elif not partners:
        said += _alike("Partners with usage", partner_id, [row[0] for row in store.query(_PARTNERS)])
    if subscriber_id is not None:
        said += _same_subscriber(store, partner_id, customer_id, subscriber_id)
    return said


def near_subscriber(
    store: ReadableStore, partner_id: str, customer_id: str, subscriber_id: str, records: Sequence[JudgedRecord]
) -> list[str]:
    """Sentences on where the subscriber, or the like, is. `records`: those under the customer's key."""
    metered = [record for record in records if record.verdict is Verdict.METERED and record.subscriber_id is not None]
    elsewhere = sorted(
        {record.partner_id for record in metered if record.subscriber_id == subscriber_id and record.partner_id}
    )
    said = []
    if elsewhere:
        said.append(f"The same customer under {_listed(elsewhere)} has a subscriber of that id.")
    own = {record.subscriber_id for record in metered if record.partner_id == partner_id and record.subscriber_id}
    said += _alike(f"Subscribers of customer {code(customer_id)}", subscriber_id, own)
    return said + _same_subscriber(store, partner_id, customer_id, subscriber_id)


def _same_subscriber(store: ReadableStore, partner_id: str, customer_id: str, subscriber_id: str) -> list[str]:
    bound: dict[str, object] = {"partner": partner_id, "customer": customer_id, "subscriber": subscriber_id}
    found = store.query(_SAME_SUBSCRIBER, {**bound, "most": _MOST})
    places = [f"customer {code(customer)} of {code(partner)}" for partner, customer in found]
    return [f"A subscriber of that id is one of {', '.join(places)}."] if places else []


def _alike(whose: str, wanted: str, names: Iterable[str]) -> list[str]:
    alike = difflib.get_close_matches(wanted, sorted(names), _MOST)
    return [f"{whose} with a name like it: {_listed(alike)}."] if alike else []


def _listed(names: Iterable[str]) -> str:
    return ", ".join(code(name) for name in names)
