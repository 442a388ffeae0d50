"""What is foreseen is what then happens: the same records, applied, are judged alike and change what was said."""

import json

from hypothesis import given
from hypothesis import strategies as st

from billing.audit.raw_events import RawEvent
from billing.difference import total_microdays
from billing.foresight import Fate, foresee
from schemas.instants import day_number
from streams.core.partition import PartitionState
from tests.billing.test_difference import days_differ, state_of, summed
from tests.streams.laws import TOPIC
from tests.streams.strategies import APPENDED_MS, LAST_DAY, Event, as_records, worlds

KEY = b"c1"


@given(events=worlds(conflicts=True), cut=st.integers(0, 12))
def test_what_is_foreseen_is_what_happens(events: list[Event], cut: int) -> None:
    mine = [event for event in events if event.key == KEY]
    records = [RawEvent(0, r.offset, r.timestamp, r.key, r.value) for r in as_records(mine)]
    foreseen = foresee(records[:cut], [(r.key, r.value or b"") for r in records[cut:]], TOPIC, APPENDED_MS, LAST_DAY)

    before, after = state_of(mine[:cut]), state_of(mine)
    fates = [judged.fate for judged in foreseen.judged]
    assert fates.count(Fate.METERED) == after.watermark.metered - before.watermark.metered
    assert fates.count(Fate.DUPLICATE) == after.watermark.duplicates - before.watermark.duplicates
    assert fates.count(Fate.REFUSED) == after.watermark.refused - before.watermark.refused
    assert all(account.changes or account.described for account in foreseen.accounts)
    changed = {(account.partner_id, account.customer_id): account.changes for account in foreseen.accounts}
    assert summed({owner: changes for owner, changes in changed.items() if changes}) == days_differ(before, after)
    described = {(account.partner_id, account.customer_id): account.described for account in foreseen.accounts}
    for owner in after.accounts:
        old, new = (_says(state, owner) for state in (before, after))
        assert described.get(owner, {}) == {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def _says(state: PartitionState, owner: tuple[str, str]) -> dict[str, str]:
    """What a state says of a customer beside its usage."""
    account = state.accounts.get(owner)
    record = None if account is None else account.customer_record()
    external = None if record is None else record.external_id
    subscription = None if record is None else record.subscription_id
    internal = record is not None and record.internal
    return {"externalId": external or "", "subscriptionId": subscription or "", "internal": "yes" if internal else ""}


def _assigned(number: int, time: str, **changes: object) -> tuple[bytes, bytes]:
    data = {"partnerOrgId": "p", "customerOrgId": "c1", "subscriberId": "s", "userId": "u", "package": "WEBEX_CALLING"}
    whole = {"specversion": "1.0", "id": f"e{number}", "source": "/s", "type": "wholesale.package.assigned.v1"}
    return KEY, json.dumps({**whole, "time": time, "data": data, **changes}).encode()


def test_each_record_is_judged_after_those_before_it() -> None:
    first = _assigned(1, "2026-10-01T00:00:00Z")
    other = _assigned(1, "2026-10-02T00:00:00Z")
    foreseen = foresee([], [first, first, other], TOPIC, APPENDED_MS, day_number("2026-10-10"))
    assert [judged.fate for judged in foreseen.judged] == [Fate.METERED, Fate.DUPLICATE, Fate.REFUSED]
    assert foreseen.judged[2].reason == "identity-conflict"
    ((account),) = foreseen.accounts
    assert total_microdays(account.changes) == 10_000_000


def test_a_wrong_key_is_foreseen() -> None:
    _, value = _assigned(1, "2026-10-01T00:00:00Z")
    foreseen = foresee([], [(b"c2", value)], TOPIC, APPENDED_MS, LAST_DAY)
    assert (foreseen.judged[0].fate, foreseen.judged[0].reason, foreseen.accounts) == (Fate.REFUSED, "key-mismatch", [])
