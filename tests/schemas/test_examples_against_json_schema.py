"""The examples and the JSON Schemas of the event contract say the same."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from tests.schemas.examples import Example, accepted, parse, refused

EVENTS = Path(__file__).parents[2] / "schemas" / "events"
ASSIGNMENT_TYPES = {
    "wholesale.customer.provisioned.v1",
    "wholesale.customer.updated.v1",
    "wholesale.customer.deprovisioned.v1",
    "wholesale.package.assigned.v1",
    "wholesale.package.changed.v1",
    "wholesale.package.removed.v1",
    "wholesale.addon.assigned.v1",
    "wholesale.addon.removed.v1",
    "wholesale.subscriber.removed.v1",
    "wholesale.subscriber.moved.v1",
    "wholesale.setup-assist.ordered.v1",
    "wholesale.setup-assist.cancelled.v1",
    "wholesale.event.voided.v1",
    "rtmeter.day.closed.v1",
}
CATALOG_TYPES = {"wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1"}
TYPES = ASSIGNMENT_TYPES | CATALOG_TYPES

#: In the contract's order. The first two are about bytes, the next three about shape, the last four about what
#: stands around the record: its key, its append time, the records before it.
BYTES = {"too-large", "not-json"}
SHAPE = {"not-cloudevent", "unknown-type", "bad-field"}
CONTEXT = {"key-mismatch", "too-far-in-future", "before-horizon", "identity-conflict"}

SCHEMAS: dict[str, Any] = {file.name: json.loads(file.read_bytes()) for file in sorted(EVENTS.glob("*.schema.json"))}
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
ACCEPTED = accepted()
REFUSED = refused()


def validator(type_: str) -> Draft202012Validator:
    """Without a format checker: the patterns alone must decide."""
    return Draft202012Validator(SCHEMAS[f"{type_}.schema.json"], registry=REGISTRY)


def errors(example: Example) -> list[ValidationError]:
    return list(validator(example.type).iter_errors(parse(example.value)))


def fields(error: ValidationError) -> set[str]:
    """The paths that an error is about: `data.seats`, and for a missing member the path that it would have."""
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    found = {path}
    if error.validator == "required":
        found = {f"{path}.{member}" for member in error.validator_value if member not in error.instance}
    for inner in error.context or ():
        found |= fields(inner)
    return {field.removeprefix(".") for field in found}


def with_reasons(reasons: set[str]) -> list[Example]:
    return [example for example in REFUSED if example.reason in reasons]


def identity(document: Any) -> tuple[Any, ...]:
    data = document["data"]
    account = [] if document["type"] in CATALOG_TYPES else [data["partnerOrgId"], data["customerOrgId"]]
    return (*account, data.get("subscriberId"), document["source"], document["id"])


def test_each_type_of_the_contract_has_a_schema_and_examples() -> None:
    assert SCHEMAS.keys() == {f"{type_}.schema.json" for type_ in TYPES} | {"common.schema.json"}
    assert {example.type for example in ACCEPTED} == TYPES
    assert {example.type for example in REFUSED} == TYPES


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_identified_by_its_file_name(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == name
    assert SCHEMAS[name]["title"]
    assert SCHEMAS[name]["description"]


def test_each_type_has_three_accepted_and_four_refused_examples_or_more() -> None:
    taken, turned_down = (Counter(example.type for example in examples) for examples in (ACCEPTED, REFUSED))
    assert {type_: count for type_, count in taken.items() if count < 3} == {}
    assert {type_: count for type_, count in turned_down.items() if count < 4} == {}


def test_each_reason_of_the_contract_has_examples_and_no_other_reason_has() -> None:
    assert {example.reason for example in REFUSED} == BYTES | SHAPE | CONTEXT


@pytest.mark.parametrize("example", ACCEPTED, ids=str)
def test_an_accepted_example_is_valid(example: Example) -> None:
    assert errors(example) == []


@pytest.mark.parametrize("example", with_reasons({"not-json"}), ids=str)
def test_not_json_does_not_parse(example: Example) -> None:
    with pytest.raises(ValueError):
        parse(example.value)


@pytest.mark.parametrize("example", with_reasons({"too-large"}), ids=str)
def test_too_large_is_over_a_mebibyte(example: Example) -> None:
    assert len(example.value) > 1024 * 1024


@pytest.mark.parametrize("example", with_reasons({"not-cloudevent", "unknown-type"}), ids=str)
def test_a_wrong_envelope_is_invalid(example: Example) -> None:
    attributes = {"", "specversion", "id", "source", "type", "time", "data"}
    found = {field for error in errors(example) for field in fields(error)}
    assert found & (attributes if example.reason == "not-cloudevent" else {"type"})


@pytest.mark.parametrize("example", with_reasons({"bad-field"}), ids=str)
def test_a_bad_field_is_invalid_there_and_nowhere_else(example: Example) -> None:
    found = errors(example)
    assert found
    assert [error for error in found if example.field not in fields(error)] == []


@pytest.mark.parametrize("example", with_reasons(CONTEXT), ids=str)
def test_what_only_its_context_refuses_is_valid(example: Example) -> None:
    assert errors(example) == []


@pytest.mark.parametrize("example", with_reasons({"key-mismatch"}), ids=str)
def test_a_mismatching_key_is_not_the_customer(example: Example) -> None:
    assert example.key != parse(example.value)["data"]["customerOrgId"].encode()


@pytest.mark.parametrize("example", with_reasons({"identity-conflict"}), ids=str)
def test_a_conflict_reuses_the_identity_of_a_record_before_it(example: Example) -> None:
    assert identity(parse(example.value)) in [identity(parse(value)) for value in example.after]


def test_a_field_is_named_for_each_bad_field_and_for_nothing_else() -> None:
    assert [str(example) for example in REFUSED if (example.field is None) is (example.reason == "bad-field")] == []


def test_the_calendar_pattern_takes_the_days_that_the_calendar_has() -> None:
    common = SCHEMAS["common.schema.json"]
    day = Draft202012Validator({"$ref": f"{common['$id']}#/$defs/day"}, registry=REGISTRY)
    for year in (1900, 2000, 2024, 2026, 2100):
        january_1 = date(year, 1, 1)
        wanted = {str(january_1 + timedelta(days=n)) for n in range((date(year + 1, 1, 1) - january_1).days)}
        texts = {f"{year}-{month:02}-{number:02}" for month in range(14) for number in range(33)}
        assert {text for text in texts if day.is_valid(text)} == wanted
