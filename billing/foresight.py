"""What would become of records that are not sent yet: metered, duplicate or refused, and which usage changes. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from billing.audit.raw_events import RawEvent, state_from_events
from billing.difference import Change, Held, changes_between, held_of
from streams.core.account import Account

_ATTRIBUTES = ("externalId", "subscriptionId", "internal")


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
    """What would change of a customer under a partner: its usage, and what reports say of it otherwise.

    `described`: by attribute, before and after. `internal`: it stands on no invoice afterwards.
    """

    partner_id: str
    customer_id: str
    changes: list[Change]
    described: dict[str, tuple[str, str]] = {}
    internal: bool = False


class Foreseen(Struct, frozen=True):
    """`judged` in the order of the records; accounts of which neither usage nor description changes are left out."""

    judged: list[Judged]
    accounts: list[AccountChange]


def foresee(
    events: Sequence[RawEvent], records: Iterable[tuple[bytes | None, bytes]], topic: str, now_ms: int, last_day: int
) -> Foreseen:
    """What (key, value) records would do if they were appended now, after all that a customer's key has.

    `events`: every record under that key, in order; the records to judge have the same key. Usage is compared up to
    `last_day`.
    """
    state = state_from_events(events, topic, events[0].partition if events else 0)
    before = {owner: (held_of(account), _described(account)) for owner, account in state.accounts.items()}
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
        held, attributes = before.get(owner, (Held(), dict.fromkeys(_ATTRIBUTES, "")))
        changes = changes_between(held, held_of(account), last_day)
        after = _described(account)
        described = {name: (attributes[name], after[name]) for name in _ATTRIBUTES if attributes[name] != after[name]}
        if changes or described:
            accounts.append(AccountChange(*owner, changes, described, bool(after["internal"])))
    return Foreseen(judged, accounts)


def _described(account: Account) -> dict[str, str]:
    """What reports say of a customer beside its usage, or judge it by, as texts: '' for what is not said."""
    record = account.customer_record()
    if record is None:
        return dict.fromkeys(_ATTRIBUTES, "")
    texts = (record.external_id or "", record.subscription_id or "", "yes" if record.internal else "")
    return dict(zip(_ATTRIBUTES, texts, strict=True))
