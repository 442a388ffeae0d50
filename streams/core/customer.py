"""What follows from a customer's facts: attributes, Setup Assist orders, deprovisionings. Rules 5, 11 and 18."""

from collections.abc import Iterable

from schemas.entitlements import CustomerRecord, Order
from schemas.facts import CustomerFact, Kind, order_of
from schemas.instants import day_of_ms
from streams.core.grid import MICRODAYS_PER_DAY

EXPRESS = "SETUP_ASSIST_EXPRESS"
STANDARD = "SETUP_ASSIST_STANDARD"
#: Up to this many seats an order is Express: flat, quantity 1 (rule 18).
EXPRESS_SEATS = 5


def customer_in_force(facts: Iterable[CustomerFact]) -> list[CustomerFact]:
    """The facts that count, in the order of rule 10: a voided one counts as never sent, and a void states nothing."""
    facts = list(facts)
    voided = {(fact.voids_source, fact.voids_id) for fact in facts if fact.kind == Kind.VOIDED}
    counting = [fact for fact in facts if fact.kind != Kind.VOIDED and (fact.source, fact.id) not in voided]
    counting.sort(key=order_of)
    return counting


def deprovisions_of(facts: Iterable[CustomerFact]) -> tuple[CustomerFact, ...]:
    """The deprovisionings in force, in order: with them each subscriber of the customer is folded."""
    return tuple(fact for fact in customer_in_force(facts) if fact.kind == Kind.CUSTOMER_DEPROVISIONED)


def fold_customer(facts: list[CustomerFact]) -> CustomerRecord:
    """The customer's record from all its facts, in any order. Attributes are the latest, member by member."""
    record = CustomerRecord(facts, None, None, None, False, [])
    ordered: dict[str, CustomerFact] = {}
    cancelled: set[str] = set()
    for fact in customer_in_force(facts):
        if fact.kind in (Kind.CUSTOMER_PROVISIONED, Kind.CUSTOMER_UPDATED):
            if fact.external_id is not None:
                record.external_id = fact.external_id
            if fact.subscription_id is not None:
                record.subscription_id = fact.subscription_id
            if fact.name is not None:
                record.name = fact.name
            if fact.internal is not None:
                record.internal = fact.internal
        elif fact.kind == Kind.SETUP_ASSIST_ORDERED:
            assert fact.order_id is not None
            ordered[fact.order_id] = fact
        elif fact.kind == Kind.SETUP_ASSIST_CANCELLED:
            assert fact.order_id is not None
            cancelled.add(fact.order_id)
    record.orders = [_order(fact) for order_id, fact in sorted(ordered.items()) if order_id not in cancelled]
    return record


def _order(fact: CustomerFact) -> Order:
    assert fact.order_id is not None and fact.seats is not None
    if fact.seats <= EXPRESS_SEATS:
        item, quantity = EXPRESS, 1
    else:
        item, quantity = STANDARD, fact.seats
    return Order(fact.order_id, item, fact.location_id, day_of_ms(fact.time_ms), quantity * MICRODAYS_PER_DAY)
