"""Why a record is refused, in the order in which the reasons are tried (contract, "Refusals")."""

from enum import StrEnum


class Reason(StrEnum):
    """One reason of the contract; the value is what stands in the dead letter's header."""

    TOO_LARGE = "too-large"
    NOT_JSON = "not-json"
    NOT_CLOUDEVENT = "not-cloudevent"
    UNKNOWN_TYPE = "unknown-type"
    BAD_FIELD = "bad-field"
    KEY_MISMATCH = "key-mismatch"
    TOO_FAR_IN_FUTURE = "too-far-in-future"
    BEFORE_HORIZON = "before-horizon"
    IDENTITY_CONFLICT = "identity-conflict"


class Refused(Exception):
    """This record cannot be metered: make it a dead letter and go on with the next."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
