"""A lone surrogate is legal JSON and no character: wherever it stands, a record with it is judged, never a crash."""

import json
from typing import Any

import pytest

from schemas.catalog import decode_catalog
from schemas.decode import decode_assignment
from schemas.reasons import Reason, Refused

APPENDED_MS = 4_102_444_800_000  # 2100-01-01
_ENVELOPE: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/", "time": "2026-10-01T00:00:00Z"}
_ACCOUNT = {"partnerOrgId": "P", "customerOrgId": "C"}
_SERVICE = {"service": "A", "sku": "", "description": "", "kind": "package", "unitPrice": "1"}


def removed(**members: Any) -> bytes:
    event = {**_ENVELOPE, "type": "wholesale.subscriber.removed.v1", "data": {**_ACCOUNT, "subscriberId": "s"}}
    return json.dumps({**event, **members}).encode()


def partner(**data: Any) -> bytes:
    known = {"partnerOrgId": "P", "name": "", "provisioningState": "active", **data}
    return json.dumps({**_ENVELOPE, "type": "wholesale.partner.upserted.v1", "data": known}).encode()


def subscription(**service: Any) -> bytes:
    known = {"subscriptionId": "S", "partnerOrgId": "P", "currency": "USD", "services": [{**_SERVICE, **service}]}
    return json.dumps({**_ENVELOPE, "type": "wholesale.subscription.upserted.v1", "data": known}).encode()


def voided(**voids: Any) -> bytes:
    data = {**_ACCOUNT, "voids": {"source": "/", "id": "1", **voids}}
    return json.dumps({**_ENVELOPE, "type": "wholesale.event.voided.v1", "data": data}).encode()


def refusal(value: bytes, decode: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        decode(value, None, APPENDED_MS, 0, check_key=False)
    return refused.value


@pytest.mark.parametrize(
    "value",
    [
        removed(**{"\ud800": 1}),
        removed(data={**_ACCOUNT, "subscriberId": "s", "\udfff": 1}),
        removed(unknown={"\ud800": ["\udfff"]}),
        voided(**{"\ud800": 1}),
    ],
    ids=["envelope", "data", "unknown member", "nested"],
)
def test_in_the_name_of_an_unknown_member_it_is_ignored(value: bytes) -> None:
    decode_assignment(value, None, APPENDED_MS, 0, check_key=False)


@pytest.mark.parametrize("value", [partner(**{"\ud800": 1}), subscription(**{"\ud800": 1})], ids=["data", "nested"])
def test_in_the_name_of_an_unknown_member_of_the_catalog_it_is_ignored(value: bytes) -> None:
    decode_catalog(value, None, APPENDED_MS, 0, check_key=False)


def test_in_the_content_type_it_is_a_bad_field() -> None:
    refused = refusal(removed(datacontenttype="application/json\ud800"), decode_assignment)
    assert refused.reason is Reason.BAD_FIELD
    assert refused.detail.startswith("datacontenttype:")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (partner(provisioningState="\ud800"), "data.provisioningState"),
        (subscription(kind="\ud800"), "data.services[0].kind"),
        (subscription(sku="\ud800"), "data.services[0].sku"),
    ],
    ids=["provisioningState", "kind", "sku"],
)
def test_in_a_word_of_the_catalog_it_is_a_bad_field(value: bytes, field: str) -> None:
    refused = refusal(value, decode_catalog)
    assert refused.reason is Reason.BAD_FIELD
    assert refused.detail.startswith(f"{field}:")


@pytest.mark.parametrize("name", ["specversion", "type"])
def test_in_the_attributes_that_are_tried_first_it_is_refused(name: str) -> None:
    refused = refusal(removed(**{name: "\ud800"}), decode_assignment)
    assert refused.reason is (Reason.NOT_CLOUDEVENT if name == "specversion" else Reason.UNKNOWN_TYPE)
