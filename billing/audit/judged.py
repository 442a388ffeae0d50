"""Each record under a customer's key, judged as the core judges it: metered, a duplicate, a conflict or refused."""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from billing.audit.raw_events import RawEvent
from schemas.decode import CustomerEvent, SubscriberEvent, decode_assignments
from schemas.facts import CustomerFact, SubscriberFact, same_customer_content, same_subscriber_content
from schemas.json_text import MAX_VALUE_BYTES
from schemas.reasons import Reason, Refused

#: Longer than any id may be.
_LONGEST_CLAIM = 300

Fact = SubscriberFact | CustomerFact


class Verdict(StrEnum):
    """What became of a record. A conflict is refused too, as `identity-conflict`."""

    METERED = "metered"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Claimed(Struct, frozen=True):
    """What a refused record says of itself, so far as it can be read: none of it was checked."""

    partner_id: str | None = None
    subscriber_id: str | None = None
    type: str | None = None
    source: str | None = None
    id: str | None = None
    time: str | None = None


class JudgedRecord(Struct, frozen=True):
    """One record. `fact`: what it states, None if refused; `same_as`: the offset of the first of its identity.

    `partner_id` and `subscriber_id` of a refused record are what it claims.
    """

    partition: int
    offset: int
    arrived_ms: int
    verdict: Verdict
    partner_id: str | None
    subscriber_id: str | None
    fact: Fact | None = None
    same_as: int | None = None
    reason: str = ""
    detail: str = ""
    claimed: Claimed = Claimed()


class AccountFacts(Struct):
    """The facts of one account that count or are voided, in order of offset: the state, before any folding."""

    customer: list[CustomerFact]
    subscribers: dict[str, list[SubscriberFact]]

    def before(self, offset: int) -> "AccountFacts":
        """The same of the input prefix of this length."""
        subscribers = {
            name: [fact for fact in facts if fact.offset < offset] for name, facts in self.subscribers.items()
        }
        return AccountFacts(
            [fact for fact in self.customer if fact.offset < offset],
            {name: facts for name, facts in subscribers.items() if facts},
        )


def judge(events: Sequence[RawEvent]) -> list[JudgedRecord]:
    """The records of one key, in order of offset, each with what became of it.

    Identities are the core's: within the account and subscriber, the first one counts, a refused record takes none.
    """
    first: dict[tuple[str, str, str | None, str, str], Fact] = {}
    judged = []
    for event, decoded in zip(events, decode_assignments(events), strict=True):
        if not isinstance(decoded, SubscriberEvent | CustomerEvent):
            # A day close has no key: under one it is refused.
            assert isinstance(decoded, Refused)
            judged.append(_refused(event, decoded))
            continue
        fact = decoded.fact
        subscriber_id = decoded.subscriber_id if isinstance(decoded, SubscriberEvent) else None
        known = first.setdefault((decoded.partner_id, decoded.customer_id, subscriber_id, fact.source, fact.id), fact)
        verdict, reason = Verdict.METERED, ""
        if known is not fact:
            same = _same_content(known, fact)
            verdict, reason = (Verdict.DUPLICATE, "") if same else (Verdict.CONFLICT, Reason.IDENTITY_CONFLICT)
        judged.append(
            JudgedRecord(
                event.partition,
                event.offset,
                event.timestamp,
                verdict,
                decoded.partner_id,
                subscriber_id,
                fact,
                None if known is fact else known.offset,
                reason,
            )
        )
    return judged


def facts_of(records: Iterable[JudgedRecord], partner_id: str) -> AccountFacts:
    """The facts of one partner's account among the records of a customer's key."""
    facts = AccountFacts([], {})
    for record in records:
        if record.verdict is not Verdict.METERED or record.partner_id != partner_id:
            continue
        if isinstance(record.fact, SubscriberFact):
            assert record.subscriber_id is not None
            facts.subscribers.setdefault(record.subscriber_id, []).append(record.fact)
        else:
            assert record.fact is not None
            facts.customer.append(record.fact)
    return facts


def _same_content(known: Fact, fact: Fact) -> bool:
    if isinstance(known, SubscriberFact):
        assert isinstance(fact, SubscriberFact)
        return same_subscriber_content(known, fact)
    assert isinstance(fact, CustomerFact)
    return same_customer_content(known, fact)


def _refused(event: RawEvent, refused: Refused) -> JudgedRecord:
    claimed = _claimed(event.value)
    return JudgedRecord(
        event.partition,
        event.offset,
        event.timestamp,
        Verdict.REFUSED,
        claimed.partner_id,
        claimed.subscriber_id,
        reason=refused.reason,
        detail=refused.detail,
        claimed=claimed,
    )


def _claimed(value: bytes | None) -> Claimed:
    """Only to show a reader which record it was: an unreadable one claims nothing."""
    if value is None or len(value) > MAX_VALUE_BYTES:
        return Claimed()
    try:
        document: Any = json.loads(value)
    except (ValueError, RecursionError):
        return Claimed()
    envelope = document if isinstance(document, dict) else {}
    data = envelope.get("data")
    members = data if isinstance(data, dict) else {}
    found = [members.get(name) for name in ("partnerOrgId", "subscriberId")]
    found += [envelope.get(name) for name in ("type", "source", "id", "time")]
    return Claimed(*(_readable(text) if isinstance(text, str) else None for text in found))


def _readable(text: str) -> str:
    """Lone surrogates cannot be written down anywhere, and a claim may be as long as the record."""
    return text[:_LONGEST_CLAIM].encode("utf-8", "backslashreplace").decode()
