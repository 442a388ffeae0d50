"""What would become of records that are not sent yet: metered, duplicate or refused, and which usage changes. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from billing.audit.raw_events import RawEvent, state_from_events
from billing.difference import Change, Held, changes_between, held_of


class Fate(StrEnum):
    """What the pipeline would do with a record."""

    METERED = "metered"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class Judged(Struct, frozen=True):
    """What would become of one record; `reason` and `detail` when it would be refused."""

    fate: Fate
    reason: str = ""
    detail: str = ""


class AccountChange(Struct, frozen=True):
    """What would change in the usage of a customer under a partner."""

    partner_id: str
    customer_id: str
    changes: list[Change]


class Foreseen(Struct, frozen=True):
    """`judged` in the order of the records; accounts without a change are left out."""

    judged: list[Judged]
    accounts: list[AccountChange]


def foresee(
    events: Sequence[RawEvent], records: Iterable[tuple[bytes | None, bytes]], topic: str, now_ms: int, last_day: int
) -> Foreseen:
    """What (key, value) records would do if they were appended now, after all that a customer's key has.

    `events`: every record under that key, in order; the records to judge have the same key. Usage is compared up to
    `last_day`.
    """
    state = state_from_events(events, topic)
    before = {owner: held_of(account) for owner, account in state.accounts.items()}
    judged = []
    for key, value in records:
        counted = state.watermark
        applied = state.apply([RawEvent(state.partition, counted.next_offset, now_ms, key, value)])
        if applied.dead_letters:
            letter = applied.dead_letters[0]
            judged.append(Judged(Fate.REFUSED, letter.reason, letter.detail))
        else:
            repeated = applied.watermark.duplicates > counted.duplicates
            judged.append(Judged(Fate.DUPLICATE if repeated else Fate.METERED))
    accounts = []
    for owner, account in sorted(state.accounts.items(), key=lambda entry: entry[0]):
        changes = changes_between(before.get(owner, Held()), held_of(account), last_day)
        if changes:
            accounts.append(AccountChange(*owner, changes))
    return Foreseen(judged, accounts)
