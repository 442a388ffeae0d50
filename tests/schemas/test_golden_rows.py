"""Each accepted example, run through the core, gives the records that a file of `tests/data/golden` holds.

One file per type, readable, so that a change of what the core makes of an event shows as a diff. After a wanted
change: RTMETER_UPDATE_GOLDEN=1 pytest tests/schemas/test_golden_rows.py, and read the diff.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.catalog import decode_catalog
from schemas.entitlements import decode_customer, decode_key, decode_subscriber, revision_of
from schemas.facts import CustomerFact, Kind, SubscriberFact
from schemas.instants import day_text
from streams.core.catalog import CatalogState
from streams.core.partition import PartitionState
from tests.schemas.examples import Example, accepted
from tests.streams.strategies import Record

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
UPDATE = os.environ.get("RTMETER_UPDATE_GOLDEN") == "1"
CATALOG_TYPES = ("wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1")

EXAMPLES: dict[str, list[Example]] = {}
for _example in accepted():
    EXAMPLES.setdefault(_example.type, []).append(_example)


def golden_of(example: Example) -> dict[str, Any]:
    """What the example leads to, in the context of the records before it."""
    return _catalog(example) if example.type in CATALOG_TYPES else _entitlements(example)


def _catalog(example: Example) -> dict[str, Any]:
    state = CatalogState()
    for offset, value in enumerate((*example.after, example.value)):
        version = decode_catalog(value, example.key, example.append_time_ms, offset)
        state.add(version)
    return {"key": version.key, "version": _plain(version)}


def _entitlements(example: Example) -> dict[str, Any]:
    state = PartitionState("package-assignments", 0)
    values = (*example.after, example.value)
    records = [Record(offset, example.append_time_ms, example.key, value) for offset, value in enumerate(values)]
    applied = state.apply(records)
    assert applied.taken == len(records)
    assert applied.dead_letters == []
    written = []
    for record in applied.entitlements:
        owner = decode_key(record["key"])
        assert owner is not None
        decode = decode_customer if owner.subscriber_id is None else decode_subscriber
        key = [part for part in (owner.partner_id, owner.customer_id, owner.subscriber_id) if part is not None]
        written.append(
            {"key": key, "revision": revision_of(record["value"]), "record": _plain(decode(record["value"]))}
        )
    rows = [{**_plain(row), "day": day_text(row.day)} for row in applied.daily_rows]
    return {
        "entitlements": sorted(written, key=lambda entry: entry["key"]),
        "daily_rows": rows,
        "watermark": _plain(applied.watermark),
        "anomalies": applied.anomalies,
    }


def _plain(part: Any) -> Any:
    """Structs by the names of their members, without those that a fact does not carry; kinds by name."""
    if isinstance(part, SubscriberFact | CustomerFact):
        defaults = dict(zip(part.__struct_fields__[-len(part.__struct_defaults__) :], part.__struct_defaults__))
        members = msgspec.structs.asdict(part)
        carried = {name: value for name, value in members.items() if name not in defaults or value != defaults[name]}
        return {**carried, "kind": Kind(part.kind).name}
    if isinstance(part, msgspec.Struct):
        return {name: _plain(value) for name, value in msgspec.structs.asdict(part).items()}
    return [_plain(element) for element in part] if isinstance(part, list | tuple) else part


@pytest.mark.parametrize("type_", sorted(EXAMPLES))
def test_the_accepted_examples_give_the_golden_records(type_: str) -> None:
    made = {example.name: golden_of(example) for example in EXAMPLES[type_]}
    path = GOLDEN / f"{type_}.json"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == made


def test_each_golden_file_belongs_to_a_type_that_has_examples() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == EXAMPLES.keys()
