"""Records as they are told, and those that no fold sees: voided ones, voids, duplicates, conflicts, refused ones."""

from collections.abc import Sequence

from billing.audit.citing import TYPES, Citations, claimed_time_ms, location_stated
from billing.audit.explanation import Effect, ExplainedRecord
from billing.audit.judged import Fact, JudgedRecord, Verdict
from schemas.facts import CustomerFact, Kind, SubscriberFact

Told = tuple[JudgedRecord, ExplainedRecord]

_NOT_METERED = {
    Verdict.DUPLICATE: Effect.DUPLICATE,
    Verdict.CONFLICT: Effect.CONFLICT,
    Verdict.REFUSED: Effect.REFUSED,
}


def told(record: JudgedRecord, fact: Fact | None, effect: Effect) -> ExplainedRecord:
    """A record with all that it states, and its effect; what follows from others is the caller's to add."""
    explained = ExplainedRecord(
        record.partition,
        record.offset,
        record.arrived_ms,
        record.verdict,
        effect,
        "",
        subscriber_id=record.subscriber_id,
        reason=record.reason,
        detail=record.detail,
    )
    if fact is None:
        claimed = record.claimed
        explained.type, explained.source, explained.id = claimed.type, claimed.source, claimed.id
        explained.time_ms = claimed_time_ms(record)
        return explained
    explained.type, explained.source, explained.id = TYPES[fact.kind], fact.source, fact.id
    explained.time_ms, explained.sequence = fact.time_ms, fact.sequence
    explained.location_id = location_stated(fact)
    if isinstance(fact, SubscriberFact):
        explained.item = fact.item
        explained.user_id, explained.workspace_id = fact.user_id, fact.workspace_id
    else:
        explained.order_id, explained.seats = fact.order_id, fact.seats
        explained.attributes = attributes_stated(fact)
    return explained


def attributes_stated(fact: CustomerFact) -> dict[str, str | bool]:
    """The customer attributes that a fact carries, by the names of the contract."""
    carried = {
        "externalId": fact.external_id,
        "subscriptionId": fact.subscription_id,
        "name": fact.name,
        "internal": fact.internal,
    }
    return {name: value for name, value in carried.items() if value is not None}


def told_voids(records: Sequence[JudgedRecord], citations: Citations) -> list[Told]:
    """The voids of one subscriber, or of the customer, and what they void: neither is in the fold (rule 11)."""
    metered = [(record, record.fact) for record in records if record.verdict is Verdict.METERED and record.fact]
    voids = [(record, fact) for record, fact in metered if fact.kind == Kind.VOIDED]
    if not voids:
        return []
    first_void: dict[tuple[str | None, str | None], Fact] = {}
    for _, fact in voids:
        first_void.setdefault((fact.voids_source, fact.voids_id), fact)
    by_identity = {(fact.source, fact.id): fact for _, fact in metered}
    found: list[Told] = []
    for record, fact in metered:
        void = first_void.get((fact.source, fact.id))
        if fact.kind != Kind.VOIDED and void is not None:
            explained = told(record, fact, Effect.VOIDED)
            explained.because = citations.of(void)
            found.append((record, explained))
    for record, fact in voids:
        target = by_identity.get((fact.voids_source or "", fact.voids_id or ""))
        counts = target is not None and target.kind != Kind.VOIDED
        explained = told(record, fact, Effect.VOIDS if counts else Effect.VOIDS_NOTHING)
        if target is not None:
            explained.voids = citations.of(target)
        explained.names = f"{fact.voids_id} of {fact.voids_source}"
        found.append((record, explained))
    return found


def told_unmetered(records: Sequence[JudgedRecord], citations: Citations) -> list[Told]:
    """Duplicates, conflicts and refused records; the first two with the record that they repeat."""
    first = {record.offset: record.fact for record in records if record.verdict is Verdict.METERED}
    found: list[Told] = []
    for record in records:
        effect = _NOT_METERED.get(record.verdict)
        if effect is not None:
            explained = told(record, record.fact, effect)
            original = None if record.same_as is None else first.get(record.same_as)
            if original is not None:
                explained.because = citations.of(original)
            found.append((record, explained))
    return found
