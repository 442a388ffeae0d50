"""The decoder over every example of the contract."""

import pytest

from schemas.catalog import CatalogVersion, decode_catalog
from schemas.decode import Decoded, decode_assignment
from schemas.reasons import Refused
from tests.schemas.examples import Example, accepted, refused

CATALOG_TYPES = ("wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1")


def decode(example: Example) -> Decoded | CatalogVersion:
    if example.type in CATALOG_TYPES:
        return decode_catalog(example.value, example.key, example.append_time_ms, 0)
    return decode_assignment(example.value, example.key, example.append_time_ms, 0)


@pytest.mark.parametrize("example", accepted(), ids=str)
def test_an_accepted_example_is_decoded(example: Example) -> None:
    decode(example)


@pytest.mark.parametrize("example", [e for e in refused() if e.reason != "identity-conflict"], ids=str)
def test_a_refused_example_is_refused_with_its_reason(example: Example) -> None:
    with pytest.raises(Refused) as refusal:
        decode(example)
    assert refusal.value.reason == example.reason
    if example.field is not None:
        assert refusal.value.detail.startswith(f"{example.field}:")


@pytest.mark.parametrize("example", [e for e in refused() if e.reason == "identity-conflict"], ids=str)
def test_a_conflict_is_well_formed_by_itself(example: Example) -> None:
    decode(example)
