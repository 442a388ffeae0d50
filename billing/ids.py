"""The public form of ids: unpadded base64url of `ciscospark://us/<KIND>/<id>`, as the public API writes them."""

import base64
import binascii
import uuid

_PREFIX = "ciscospark://us/"
REPORT = "BILLING_REPORT"
ORGANIZATION = "ORGANIZATION"
PERSON = "PEOPLE"


def public_id(kind: str, own_id: str) -> str:
    """The public form of an id of ours."""
    return base64.urlsafe_b64encode(f"{_PREFIX}{kind}/{own_id}".encode()).rstrip(b"=").decode()


def own_id(kind: str, given: str) -> str:
    """The id that a client gave: in its public form, or as it stands in events and in the CSV."""
    try:
        text = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
    except (binascii.Error, ValueError):
        return given
    prefix = f"{_PREFIX}{kind}/"
    return text.removeprefix(prefix) if text.startswith(prefix) else given


def new_report_id() -> str:
    """The id of a new report, in its public form: it has no other."""
    return public_id(REPORT, str(uuid.uuid4()))
