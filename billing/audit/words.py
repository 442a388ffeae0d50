"""An explanation in words. Every sentence is made here, for the terminal, for JSON and for the API alike."""

from collections.abc import Sequence

from msgspec import UNSET

from billing.audit.explanation import Anomaly, Cited, Effect, ExplainedInterval, ExplainedRecord, Held, Known, Total
from billing.report import quantity_text
from schemas.instants import day_text, time_text
from streams.core.customer import EXPRESS, STANDARD

_ASSIGNED = ("wholesale.package.assigned.v1", "wholesale.package.changed.v1", "wholesale.addon.assigned.v1")
_ATTRIBUTES = {
    "externalId": "external id",
    "subscriptionId": "subscription",
    "name": "name",
    "internal": "internal",
}


def printable(text: str) -> str:
    """A text of somebody else's as it can be shown: what is not printable is escaped, so that it moves no cursor."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def code(text: str) -> str:
    """A name or id in a sentence."""
    return f"`{printable(text)}`"


def instant(time_ms: int) -> str:
    """An instant in UTC, to the millisecond."""
    return time_text(time_ms).replace("T", " ")


def days_text(quantity_microdays: int) -> str:
    """A quantity as a decimal, with its unit."""
    days = quantity_text(quantity_microdays)
    return f"{days} day" if days == "1" else f"{days} days"


def counted(count: int, noun: str) -> str:
    """1 record, 2 records."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def period(first_day: int, last_day: int) -> str:
    return (
        f"on {day_text(first_day)}" if first_day == last_day else f"from {day_text(first_day)} to {day_text(last_day)}"
    )


def cited_event(cited: Cited) -> str:
    """The event of a record, short."""
    return f"event {printable(cited.id)} of {printable(cited.source)}"


def cited_fully(cited: Cited) -> str:
    """The event of a record, when it arrived, and where it stands in the log."""
    place = f"partition {cited.partition}, offset {cited.offset}"
    return f"{cited_event(cited)}, arrived {instant(cited.arrived_ms)}, {place}"


def deed(cited: Cited) -> str:
    """What an event states, as a clause."""
    item = "" if cited.item is None else code(cited.item)
    clause = {
        "wholesale.package.assigned.v1": f"{item} was assigned",
        "wholesale.package.changed.v1": f"the package was changed to {item}",
        "wholesale.package.removed.v1": f"{item or 'the package that ran'} was removed",
        "wholesale.addon.assigned.v1": f"the add-on {item} was assigned",
        "wholesale.addon.removed.v1": f"the add-on {item} was removed",
        "wholesale.subscriber.removed.v1": "the subscriber was removed",
        "wholesale.subscriber.moved.v1": "the subscriber moved",
        "wholesale.customer.deprovisioned.v1": "wholesale services were removed from the customer",
    }.get(cited.type, f"{cited.type} was stated")
    if cited.location_id is not UNSET and cited.type != "wholesale.package.removed.v1":
        moved = cited.type == "wholesale.subscriber.moved.v1"
        where = "no location" if cited.location_id is None else code(cited.location_id)
        return f"{clause} {'to' if moved else 'at'} {where}"
    return clause


def interval_said(interval: ExplainedInterval, days: str) -> str:
    """The story of an interval: what started it, what ended it, and what it comes to `days` (from ... to ...)."""
    named = _named(Held(interval.item, interval.addon, None, 0, None))
    said = f"On {instant(interval.start_ms)} {deed(interval.started_by)} ({cited_fully(interval.started_by)})"
    if interval.assigned_by is not None:
        said += f": {named}, assigned by {cited_event(interval.assigned_by)}, went on there"
    said += ". "
    if interval.located_by is not None and interval.location_id is not None:
        said += f"The subscriber was at {code(interval.location_id)} by {cited_event(interval.located_by)}. "
    if interval.end_ms is None:
        said += "It still runs."
    else:
        assert interval.ended_by is not None
        why = f"{deed(interval.ended_by)} ({cited_fully(interval.ended_by)})"
        said += f"It ended on {instant(interval.end_ms)} because {why}."
    on_grid = "" if interval.quantity_microdays else "on the grid, "
    return f"{said} That is {days_text(interval.quantity_microdays)} {on_grid}{days}."


def record_said(record: ExplainedRecord) -> str:
    """What a record did, and why, in one or two sentences."""
    said = [_effect_said(record)]
    if record.holder_changed:
        holder = f"user {code(record.user_id)}" if record.user_id else f"workspace {code(record.workspace_id or '')}"
        said.append(f"From here on it is {holder}.")
    if record.anomaly is Anomaly.ORDERED_BY_ID_ONLY and record.because is not None:
        said.append(
            f"Anomaly: nothing but source and id puts it after {cited_event(record.because)}, which assigns something "
            "else at the same instant."
        )
    if record.overridden_by is not None:
        said.append(_overridden_said(record, record.overridden_by))
    return " ".join(said)


def _effect_said(record: ExplainedRecord) -> str:
    effect, because = record.effect, record.because
    if effect in (
        Effect.STARTED,
        Effect.ENDED,
        Effect.CHANGED,
        Effect.MOVED,
        Effect.RESUMED,
    ):
        return _change_said(record)
    if effect is Effect.NOTHING:
        return _nothing_said(record)
    if effect is Effect.FOUND_NOTHING:
        return _found_nothing_said(record)
    if effect is Effect.LOCATED:
        where = "no location" if record.location_id is None else code(str(record.location_id))
        return f"Moved the subscriber to {where}, when nothing ran: what starts next, starts there."
    if effect is Effect.DESCRIBED:
        stated = [f"{_ATTRIBUTES[name]} {_value(value)}" for name, value in record.attributes.items()]
        return f"Described the customer: {_listed(stated)}."
    if effect is Effect.ORDERED:
        return f"Ordered Setup Assist for {counted(record.seats or 0, 'seat')}, order {code(record.order_id or '')}."
    if effect is Effect.NOT_COUNTED:
        assert because is not None
        return f"Order {code(record.order_id or '')} has no usage: it is cancelled by {cited_event(because)}."
    if effect is Effect.CANCELLED:
        return f"Cancelled order {code(record.order_id or '')}: it counts as never placed."
    if effect is Effect.DEPROVISIONED:
        return f"Removed wholesale services from the customer: it ended {counted(record.ended_intervals, 'interval')}."
    return _unfolded_said(record)


def _unfolded_said(record: ExplainedRecord) -> str:
    effect, because = record.effect, record.because
    if effect is Effect.VOIDED:
        assert because is not None
        return f"Counts as never sent: it is voided by {cited_event(because)}."
    if effect is Effect.VOIDS:
        assert record.voids is not None
        return f"Voids {cited_event(record.voids)} (offset {record.voids.offset}), which counts as never sent."
    if effect is Effect.VOIDS_NOTHING:
        if record.voids is not None:
            return f"Voids nothing: {cited_event(record.voids)} is a void itself, and a void cannot be voided."
        whose = "of this subscriber" if record.subscriber_id else "of the customer itself"
        return f"Voids nothing: no event {whose} is {printable(record.names or '')}."
    if effect is Effect.DUPLICATE:
        assert because is not None
        return f"Changed nothing: a duplicate of offset {because.offset}, the same event with the same content."
    if effect is Effect.CONFLICT:
        assert because is not None
        return (
            f"Refused: a conflict with offset {because.offset}, the same event with other content. The first one counts; "
            "this one is a dead letter."
        )
    assert effect is Effect.REFUSED
    return f"Refused, and a dead letter: {record.reason}: {printable(record.detail)}."


def _change_said(record: ExplainedRecord) -> str:
    """What ended, started, went on elsewhere, or goes on after all."""
    begun = {(held.addon, held.item): held for held in [*record.started, *record.resumed]}
    said = []
    for held in record.ended:
        after = begun.get((held.addon, held.item))
        if after is not None:
            del begun[held.addon, held.item]
            said.append(f"moved {_named(held)} from {_place(held.location_id)} to {_place(after.location_id)}")
        elif held.start_ms == held.end_ms:
            said.append(f"ended {_named(held)} (it had started at this very instant: nothing is left of it)")
        else:
            said.append(f"ended {_named(held)} (it had run since {instant(held.start_ms)})")
    resumed = {(held.addon, held.item) for held in record.resumed}
    for key, held in begun.items():
        if key in resumed:
            said.append(
                f"took back the end of {_named(held)} at this instant: it goes on, as from {instant(held.start_ms)}"
            )
        else:
            said.append(f"started {_named(held)}{'' if held.location_id is None else ' at ' + code(held.location_id)}")
    sentence = _listed(said)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _nothing_said(record: ExplainedRecord) -> str:
    because = record.because
    since = "" if because is None else f", since {instant(because.time_ms)} by {cited_event(because)}"
    if record.type in _ASSIGNED:
        return f"Changed nothing: {code(record.item or '')} ran already at that location{since}."
    if record.type == "wholesale.subscriber.moved.v1":
        return f"Changed nothing: the subscriber was at {_place(record.location_id or None)} already{since}."
    if record.type == "wholesale.customer.deprovisioned.v1":
        return "Changed nothing: the subscriber held nothing."
    if record.type == "wholesale.setup-assist.cancelled.v1":
        by = "" if because is None else f" by {cited_event(because)}"
        return f"Changed nothing: order {code(record.order_id or '')} was cancelled already{by}."
    return "Changed nothing: the customer was described so already."


def _found_nothing_said(record: ExplainedRecord) -> str:
    if record.type == "wholesale.setup-assist.cancelled.v1":
        return f"No order {code(record.order_id or '')} was placed before it. If one is, it has no usage."
    what = "nothing ran" if record.item is None else f"{code(record.item)} did not run"
    said = f"Found nothing to end: {what}."
    if record.because is not None:
        ended = "It had ended" if record.item is not None else "The last had ended"
        said += f" {ended} on {instant(record.because.time_ms)} because {deed(record.because)} ({cited_event(record.because)})."
    return f"{said} Counted as an anomaly."


def _overridden_said(record: ExplainedRecord, by: Cited) -> str:
    if record.effect is Effect.ORDERED:
        what = "Cancelled" if by.type == "wholesale.setup-assist.cancelled.v1" else "Replaced"
        return f"{what} by {cited_event(by)}."
    if record.effect is Effect.DESCRIBED or record.effect is Effect.NOTHING:
        return f"All of that was replaced by {cited_event(by)}."
    if record.effect is Effect.ENDED:
        return f"That was taken back at the same instant by {cited_event(by)}."
    if record.effect in (Effect.STARTED, Effect.CHANGED):
        return f"What it started was overridden at the same instant by {cited_event(by)}."
    return f"Overridden at the same instant by {cited_event(by)}."


def _named(held: Held) -> str:
    return f"the add-on {code(held.item)}" if held.addon else code(held.item)


def _place(location_id: object) -> str:
    return code(location_id) if isinstance(location_id, str) else "no location"


def _value(value: str | bool) -> str:
    return code(value) if isinstance(value, str) else ("yes" if value else "no")


def _listed(parts: Sequence[str]) -> str:
    *most, last = parts or ("nothing",)
    return f"{', '.join(most)} and {last}" if most else last


def summary_said(
    partner_id: str, customer_id: str, subscriber_id: str | None, days: tuple[int, int], totals: Sequence[Total]
) -> list[str]:
    """The answer, before its reasons."""
    customer = f"customer {code(customer_id)} of {code(partner_id)}"
    who = (
        f"Customer {code(customer_id)} of {code(partner_id)}"
        if subscriber_id is None
        else f"Subscriber {code(subscriber_id)} of {customer}"
    )
    if not totals:
        return [f"{who} used nothing {period(*days)}."]
    amounts = [
        f"{_amount(total)} of {code(total.item)}"
        + ("" if total.location_id is None else f" at {code(total.location_id)}")
        for total in totals
    ]
    return [f"{who} used {_listed(amounts)} {period(*days)}."]


def known_said(known: Known) -> list[str]:
    """From what it is made, and whether the tables can have it all."""
    begun = "This is" if known.as_of is None else f"As known at {known.as_of}, this is"
    records = (
        f"{counted(known.records, 'record')} about it, among the first {known.cut:,} of partition {known.partition}"
    )
    said = [f"{begun} from {records}."]
    if known.behind:
        said.append(
            f"The store is behind by {counted(known.behind, 'record')}: they are stored as they came, and not metered in the "
            "tables yet."
        )
    return said


def not_closed_said(closed_through_day: int | None) -> str:
    """That PARTNER and CUSTOMER reports do not hold all of the days yet (rule 15)."""
    days = "No day is" if closed_through_day is None else f"Days after {day_text(closed_through_day)} are not"
    return f"{days} closed yet: PARTNER and CUSTOMER reports do not hold {'any' if closed_through_day is None else 'them'}."


def _amount(total: Total) -> str:
    """Setup Assist counts orders or seats, all else days."""
    one_time = total.item in (EXPRESS, STANDARD)
    return quantity_text(total.quantity_microdays) if one_time else days_text(total.quantity_microdays)
