"""What each reason of a refusal means, who must act, and what to do: for `dead-letters show` and docs/dead-letters.md."""

from msgspec import Struct

from schemas.reasons import Reason


class RefusalHelp(Struct, frozen=True):
    """Sentences for an operator who has one dead letter of the reason before him."""

    meaning: str
    who: str
    what: str


#: By reason; a plain text finds it too.
HELP: dict[str, RefusalHelp] = {
    Reason.TOO_LARGE: RefusalHelp(
        "The value has more than 1 MiB. No event needs so much.",
        "The sender: something else got into the event.",
        "Redrive a copy that holds the event alone.",
    ),
    Reason.NOT_JSON: RefusalHelp(
        "The value is no JSON text in UTF-8, is nested more than 64 deep, or there is none.",
        "The sender: its encoder is broken, or the record was cut.",
        "Redrive a corrected copy. If the sender sent the event again itself, dismiss the letter.",
    ),
    Reason.NOT_CLOUDEVENT: RefusalHelp(
        'The JSON is no CloudEvent: specversion is not "1.0", or id, source, type, time or data is missing or of the '
        "wrong type.",
        "The sender.",
        "Redrive a copy with a complete envelope.",
    ),
    Reason.UNKNOWN_TYPE: RefusalHelp(
        "The topic has no event of this type.",
        "The sender, if the type is misspelt or the topic the wrong one. You, if the type is newer than this rtmeter.",
        "After an upgrade that knows the type, or if it belongs to the other topic, redrive the same bytes: each goes to "
        "the topic of its type. Otherwise redrive a copy.",
    ),
    Reason.BAD_FIELD: RefusalHelp(
        "A member is missing, or is not what its type allows. The detail names it.",
        "The sender.",
        "Redrive a copy with that member corrected.",
    ),
    Reason.KEY_MISMATCH: RefusalHelp(
        "The record's key is not the customerOrgId, so it was not where the customer's other events are.",
        "The sender: its records must be keyed by customer.",
        "If the customerOrgId is right, redrive the same bytes: they are sent under it. If not, redrive a copy.",
    ),
    Reason.TOO_FAR_IN_FUTURE: RefusalHelp(
        "The time is more than five minutes after the arrival, or a day was closed before it had begun.",
        "Nobody, if the sender meant it so: the time comes. Otherwise the sender: its clock is wrong.",
        "Once the time has come, redrive the same bytes. If the time is wrong, redrive a copy with the right one.",
    ),
    Reason.BEFORE_HORIZON: RefusalHelp(
        "The time is before 2000-01-01: mostly a clock or a field that was never set.",
        "The sender.",
        "Redrive a copy with the right time.",
    ),
    Reason.IDENTITY_CONFLICT: RefusalHelp(
        "An event of the same source and id came before with other content, and the first one counts.",
        "The sender: it used an id twice.",
        "If both are true, redrive a copy with an id of its own. If the first one was wrong, send an event that voids it "
        "as well. If the first one was right, dismiss the letter. The same bytes are always refused again.",
    ),
}
