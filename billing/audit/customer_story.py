"""The story of a customer itself: its attributes and Setup Assist orders, and which record each comes from.

As for a subscriber, what a fact did is the difference of two folds of the core: of the facts before it, and with it.
Of those before it only the few that can matter are folded: the latest of each attribute, and of the order that the
fact is about, the latest fact and a cancellation. All together must be what the core makes of all facts at once.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from billing.audit.citing import Citations
from billing.audit.explanation import Attribute, Effect, ExplainedRecord
from billing.audit.fold_steps import StepsDiffer
from billing.audit.judged import JudgedRecord
from billing.audit.told import Told, attributes_stated, told, told_unmetered, told_voids
from schemas.entitlements import CustomerRecord, Order
from schemas.facts import CustomerFact, Kind
from streams.core.customer import customer_in_force, fold_customer


class TracedOrder(Struct, frozen=True):
    """An order that counts, with the fact that it comes from."""

    order: Order
    fact: CustomerFact


class CustomerStory(Struct, frozen=True):
    """Every record of a customer that is about no subscriber, with what it did; what they come to."""

    records: list[Told]
    attributes: list[Attribute]
    orders: list[TracedOrder]
    record: CustomerRecord


def customer_story(
    records: Sequence[JudgedRecord], ended_by_deprovision: Mapping[int, int], citations: Citations
) -> CustomerStory:
    """`records`: those about no subscriber; `ended_by_deprovision`: intervals that each deprovisioning ended."""
    metered = {
        record.fact: record for record in records if isinstance(record.fact, CustomerFact) and record.same_as is None
    }
    facts = [fact for fact in metered if isinstance(fact, CustomerFact)]
    tracer = _Tracer(citations)
    explained: list[Told] = []
    for fact in customer_in_force(facts):
        record = metered[fact]
        entry = tracer.take(fact, record)
        if fact.kind == Kind.CUSTOMER_DEPROVISIONED:
            entry.ended_intervals = ended_by_deprovision.get(fact.offset, 0)
        explained.append((record, entry))
    explained += told_voids(records, citations)
    explained += told_unmetered(records, citations)
    whole = fold_customer(facts)
    return CustomerStory(explained, tracer.attributes(whole), tracer.orders(whole), whole)


class _Tracer:
    """Goes through the facts in the order of rule 10 and remembers which of them stand."""

    def __init__(self, citations: Citations) -> None:
        self._citations = citations
        self._attributes: dict[str, CustomerFact] = {}
        #: Of each order: its latest order fact, and its first cancellation.
        self._ordered: dict[str, CustomerFact] = {}
        self._cancelled: dict[str, CustomerFact] = {}
        self._explained: dict[int, ExplainedRecord] = {}

    def take(self, fact: CustomerFact, record: JudgedRecord) -> ExplainedRecord:
        """What a fact did, given all before it."""
        if fact.kind in (Kind.CUSTOMER_PROVISIONED, Kind.CUSTOMER_UPDATED):
            explained = self._described(fact, record)
        elif fact.kind in (Kind.SETUP_ASSIST_ORDERED, Kind.SETUP_ASSIST_CANCELLED):
            explained = self._about_order(fact, record)
        else:
            explained = told(record, fact, Effect.DEPROVISIONED)
        self._explained[fact.offset] = explained
        return explained

    def attributes(self, whole: CustomerRecord) -> list[Attribute]:
        """What the customer is described as, each with the record that it comes from."""
        found = [
            Attribute(name, attributes_stated(fact)[name], self._citations.of(fact))
            for name, fact in sorted(self._attributes.items())
        ]
        shown = {attribute.name: attribute.value for attribute in found}
        folded = {
            "externalId": whole.external_id,
            "subscriptionId": whole.subscription_id,
            "name": whole.name,
            "internal": whole.internal or None,
        }
        if {name: value for name, value in folded.items() if value} != {n: v for n, v in shown.items() if v}:
            raise StepsDiffer("the customer's facts, one by one, do not give the attributes that they give together")
        return found

    def orders(self, whole: CustomerRecord) -> list[TracedOrder]:
        """The orders that count, each with the record that it comes from."""
        found = []
        for order_id in sorted(self._ordered):
            fact = self._ordered[order_id]
            found += [TracedOrder(order, fact) for order in fold_customer(self._facts_of_order(order_id)).orders]
        if [traced.order for traced in found] != whole.orders:
            raise StepsDiffer("the customer's facts, one by one, do not give the orders that they give together")
        return found

    def _described(self, fact: CustomerFact, record: JudgedRecord) -> ExplainedRecord:
        before = fold_customer(list(set(self._attributes.values())))
        after = fold_customer([*set(self._attributes.values()), fact])
        same = (before.external_id, before.subscription_id, before.name, before.internal) == (
            after.external_id,
            after.subscription_id,
            after.name,
            after.internal,
        )
        stated = attributes_stated(fact)
        explained = told(
            record, fact, Effect.NOTHING if same and stated.keys() <= self._attributes.keys() else Effect.DESCRIBED
        )
        for name in stated:
            former = self._attributes.get(name)
            self._attributes[name] = fact
            if former is not None and former not in self._attributes.values():
                # The last of what it stated has been replaced.
                self._explained[former.offset].overridden_by = self._citations.of(fact)
        return explained

    def _about_order(self, fact: CustomerFact, record: JudgedRecord) -> ExplainedRecord:
        order_id = fact.order_id
        assert order_id is not None
        known = self._facts_of_order(order_id)
        before, after = fold_customer(known).orders, fold_customer([*known, fact]).orders
        former, cancelled = self._ordered.get(order_id), self._cancelled.get(order_id)
        if fact.kind == Kind.SETUP_ASSIST_ORDERED:
            explained = told(record, fact, Effect.ORDERED if after else Effect.NOT_COUNTED)
            if not after and cancelled is not None:
                explained.because = self._citations.of(cancelled)
            if former is not None:
                self._explained[former.offset].overridden_by = self._citations.of(fact)
            self._ordered[order_id] = fact
            return explained
        if before:
            assert former is not None
            explained = told(record, fact, Effect.CANCELLED)
            explained.because = self._citations.of(former)
            self._explained[former.offset].overridden_by = self._citations.of(fact)
        elif cancelled is not None:
            explained = told(record, fact, Effect.NOTHING)
            explained.because = self._citations.of(cancelled)
        else:
            explained = told(record, fact, Effect.FOUND_NOTHING)
        self._cancelled.setdefault(order_id, fact)
        return explained

    def _facts_of_order(self, order_id: str) -> list[CustomerFact]:
        both = (self._ordered.get(order_id), self._cancelled.get(order_id))
        return [fact for fact in both if fact is not None]
