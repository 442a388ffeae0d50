"""The JSON Schemas and the typed decoder take the same events, on both topics, valid ones and mutated ones.

What only the decoder can know is left out: sizes, keys, and when the record was appended. So is a number of
seats that is written with a decimal point, which JSON Schema takes for an integer (see `common.schema.json`).
"""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.catalog import decode_catalog
from schemas.decode import decode_assignment
from schemas.reasons import Reason, Refused
from tests.schemas.test_examples_against_json_schema import ASSIGNMENT_TYPES, CATALOG_TYPES, validator

APPENDED_MS = 4_102_444_800_000  # 2100-01-01
#: Reasons that are tried after the shape was found good.
_OF_CONTEXT = {Reason.TOO_FAR_IN_FUTURE, Reason.BEFORE_HORIZON}

VALIDATORS: dict[str, Draft202012Validator] = {type_: validator(type_) for type_ in ASSIGNMENT_TYPES | CATALOG_TYPES}

Document = Any
Draw = Callable[[st.SearchStrategy[Any]], Any]


def schema_takes(value: bytes, types: set[str]) -> bool:
    """Whether the schema of the event's type, which must be one of the topic's, takes the event."""
    document = json.loads(value)
    type_ = document.get("type") if isinstance(document, dict) else None
    return isinstance(type_, str) and type_ in types and VALIDATORS[type_].is_valid(document)


def decoder_takes(value: bytes, decode: Callable[..., Any]) -> bool:
    """Whether the decoder finds the event's shape good."""
    try:
        decode(value, None, APPENDED_MS, 0, check_key=False)
    except Refused as refused:
        return refused.reason in _OF_CONTEXT
    return True


# ---- a model of the types

#: One of each sort of character: letters, outside ASCII, outside the BMP, quotes, a slash, spaces of other kinds.
_GOOD = tuple('aZ9é漢😀\U0010ffff"\\/ \u00a0\u2028\ufeff\ue000')
_CONTROLS = tuple("\x00\x08\t\n\r\x1f\x7f\x80\x85\x9f")
_SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff")

_IDS = st.one_of(
    st.text(st.sampled_from(_GOOD), min_size=1, max_size=4),
    st.tuples(st.sampled_from(_GOOD), st.sampled_from((1, 127, 128))).map(lambda t: t[0] * t[1]),
)
_SOURCES = st.one_of(_IDS, st.sampled_from(_GOOD).map(lambda c: c * 256))
_TEXTS = st.one_of(st.text(st.sampled_from(_GOOD + _CONTROLS), max_size=4), st.sampled_from(("x" * 1024, "😀" * 1024)))
_ITEMS = st.sampled_from(("A", "a", "WEBEX_CALLING", "webex_calling", "A_9", "a0", "A" * 64, "z" * 64))
_TIMES = st.sampled_from(
    (
        "2026-10-01T00:00:00Z",
        "2026-10-01t23:59:59.999999999z",
        "2024-02-29T12:00:00.5+23:59",
        "2000-01-01T00:00:00-00:00",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-23:59",
    )
)
_DAYS = st.sampled_from(("2026-10-01", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2026-12-31"))
_SERVICES = st.lists(
    st.fixed_dictionaries(
        {
            "service": st.sampled_from(("WEBEX_CALLING", "a", "9", "_" * 64)),
            "sku": _TEXTS,
            "description": _TEXTS,
            "kind": st.sampled_from(("package", "addon", "one-time")),
            "unitPrice": st.sampled_from(("0", "10", "0.5", "999999999999999999.999999999", "1.000000000")),
        }
    ),
    max_size=2,
)

Members = dict[str, st.SearchStrategy[Any]]


def _or_null(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, st.none())


_ACCOUNT: Members = {"partnerOrgId": _IDS, "customerOrgId": _IDS}
_SUBSCRIBER: Members = {**_ACCOUNT, "subscriberId": _IDS}
_DESCRIPTION: Members = {
    "subscriptionId": _or_null(_IDS),
    "name": _or_null(_TEXTS),
    "internal": _or_null(st.booleans()),
}

#: Required and optional members of each type's `data`. Holders are drawn apart: exactly one of two is there.
MODEL: dict[str, tuple[Members, Members]] = {
    "wholesale.customer.provisioned.v1": ({**_ACCOUNT, "externalId": _IDS}, _DESCRIPTION),
    "wholesale.customer.updated.v1": (_ACCOUNT, {**_DESCRIPTION, "externalId": _or_null(_IDS)}),
    "wholesale.customer.deprovisioned.v1": (_ACCOUNT, {}),
    "wholesale.package.assigned.v1": ({**_SUBSCRIBER, "package": _ITEMS}, {"locationId": _or_null(_IDS)}),
    "wholesale.package.changed.v1": ({**_SUBSCRIBER, "package": _ITEMS}, {"locationId": _or_null(_IDS)}),
    "wholesale.package.removed.v1": (_SUBSCRIBER, {"package": _or_null(_ITEMS)}),
    "wholesale.addon.assigned.v1": ({**_SUBSCRIBER, "addon": _ITEMS}, {"locationId": _or_null(_IDS)}),
    "wholesale.addon.removed.v1": ({**_SUBSCRIBER, "addon": _ITEMS}, {}),
    "wholesale.subscriber.removed.v1": (_SUBSCRIBER, {}),
    "wholesale.subscriber.moved.v1": ({**_SUBSCRIBER, "locationId": _or_null(_IDS)}, {}),
    "wholesale.setup-assist.ordered.v1": (
        {**_ACCOUNT, "orderId": _IDS, "locationId": _IDS, "seats": st.sampled_from((1, 5, 6, 1_000_000))},
        {},
    ),
    "wholesale.setup-assist.cancelled.v1": ({**_ACCOUNT, "orderId": _IDS}, {}),
    "wholesale.event.voided.v1": (
        {**_ACCOUNT, "voids": st.fixed_dictionaries({"source": _SOURCES, "id": _IDS})},
        {"subscriberId": _or_null(_IDS)},
    ),
    "rtmeter.day.closed.v1": ({"day": _DAYS}, {}),
    "wholesale.partner.upserted.v1": (
        {"partnerOrgId": _IDS, "name": _TEXTS, "provisioningState": st.sampled_from(("active", "suspended"))},
        {"parentOrgId": _or_null(_IDS), "subscriptionId": _or_null(_IDS), "billingStartDate": _or_null(_DAYS)},
    ),
    "wholesale.subscription.upserted.v1": (
        {
            "subscriptionId": _IDS,
            "partnerOrgId": _IDS,
            "currency": st.sampled_from(("USD", "EUR", "XXX")),
            "services": _SERVICES,
        },
        {},
    ),
}
_HELD = {"wholesale.package.assigned.v1", "wholesale.package.changed.v1", "wholesale.addon.assigned.v1"}
_HOLDERS = st.sampled_from(
    (("userId",), ("workspaceId",), ("userId", "workspaceId null"), ("workspaceId", "userId null"))
)
_UNKNOWN: st.SearchStrategy[Any] = st.sampled_from(
    (None, 1.5, 10**30, -1, True, [[]], {"deep": [{"er": None}]}, "\x00", "\ud800", "é")
)


@st.composite
def valid_events(draw: Draw, types: list[str]) -> Document:
    """An event that both must take."""
    type_ = draw(st.sampled_from(types))
    required, optional = MODEL[type_]
    data = {name: draw(strategy) for name, strategy in required.items()}
    for name, strategy in optional.items():
        if draw(st.booleans()):
            data[name] = draw(strategy)
    if type_ in _HELD:
        for name in draw(_HOLDERS):
            data[name.removesuffix(" null")] = None if name.endswith(" null") else draw(_IDS)
    document = {
        "specversion": "1.0",
        "id": draw(_IDS),
        "source": draw(_SOURCES),
        "type": type_,
        "time": draw(_TIMES),
        "data": data,
    }
    extra = draw(st.integers(0, 7))
    if extra & 1:
        document["sequence"] = draw(_or_null(_TEXTS))
    if extra & 2:
        document["datacontenttype"] = draw(st.sampled_from(("application/json", None)))
    if extra == 4:
        document["unknown"] = draw(_UNKNOWN)
    if extra == 7:
        data["unknown"] = draw(_UNKNOWN)
    return document


# ---- mutations

_LENGTHS = (0, 1, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1024, 1025)
_RETYPED: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    1_000_000,
    1_000_001,
    10**30,
    1.5,
    -0.5,
    "",
    "a",
    "1",
    "null",
    [],
    ["a"],
    {},
    {"a": 1},
)
_NEARLY_TIMES = (
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-10-00T00:00:00Z",
    "2026-10-01T24:00:00Z",
    "2026-10-01T23:60:00Z",
    "2026-10-01T23:59:60Z",
    "2026-10-01T00:00:00",
    "2026-10-01T00:00:00.Z",
    "2026-10-01T00:00:00+24:00",
    "2026-10-01T00:00:00+01:60",
    "2026-10-01T00:00:00+0100",
    "2026-10-01 00:00:00Z",
    "2026-10-01T00:00:00Z ",
    "2026-10-01T00:00:00Z\n",
    "2026-10-01T00:00Z",
    "２026-10-01T00:00:00Z",
    "2026-10-01T00:00:00.٣Z",
    "0000-01-01T00:00:00Z",
    "0000-02-29T00:00:00Z",
    "+2026-10-01T00:00:00Z",
)
_NEARLY_DAYS = (
    "1900-02-29",
    "2026-02-29",
    "2026-11-31",
    "2026-1-1",
    "20261001",
    "2026-W40-4",
    "2026-W401",
    "2026-10-01\n",
    "2026-10-0१",
    "2026-10-1 ",
    "0000-01-01",
    "2026-10-01Z",
)
_NEARLY_ITEMS = ("aB", "Ab", "9A", "_A", "A-B", "A B", "A\n", "a\n", "É", "ſ", "K", "A" * 65, "a" * 65)
_NEARLY_PRICES = (
    "00",
    "01.5",
    "1.",
    ".5",
    "1.0000000000",
    "1000000000000000000",
    "-1",
    "+1",
    "1e3",
    "1,5",
    "１",
    "0\n",
    " 1",
)
#: Values that a member nearly allows, by its name.
_NEAR: dict[str, tuple[str, ...]] = {
    "time": _NEARLY_TIMES,
    "day": _NEARLY_DAYS,
    "billingStartDate": _NEARLY_DAYS,
    "package": _NEARLY_ITEMS,
    "addon": _NEARLY_ITEMS,
    "service": (*_NEARLY_ITEMS, "_" * 65),
    "currency": ("USD\n", "usd", "US", "USDX", "U5D", "ＵＳＤ"),
    "unitPrice": _NEARLY_PRICES,
    "kind": ("packages", "Package", "package\n"),
    "provisioningState": ("Active", "inactive", "active\n"),
    "specversion": ("1.1", "1", "1.0\n"),
    "datacontenttype": ("application/json; charset=utf-8", "Application/json", "application/json\n"),
    "type": ("", "wholesale.package.assigned.v2", "WHOLESALE.PACKAGE.ASSIGNED.V1", "wholesale.package.assigned.v1\n"),
}
_OTHERWISE = ("a\n", "\n", "0", "null", "😀" * 129)


def _paths(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of each member and element, nested ones too."""
    steps: list[Any] = []
    if isinstance(part, dict):
        steps = list(part)
    elif isinstance(part, list):
        steps = list(range(len(part)))
    return [place for step in steps for place in ((*path, step), *_paths(part[step], (*path, step)))]


def _mutations(value: Any, name: Any) -> list[tuple[str, Any]]:
    """Every value to put in a member's place."""
    found = [("retyped", other) for other in _RETYPED]
    found += [("near", other) for other in _NEAR.get(name, _OTHERWISE)]
    found += [("length", character * length) for character in "aA😀é" for length in _LENGTHS]
    if isinstance(value, str):
        for character in _GOOD + _CONTROLS + _SURROGATES:
            found += [("character", value[:at] + character + value[at:]) for at in {0, len(value) // 2, len(value)}]
    return found


_HOW = st.sampled_from(("drop", "retyped", "near", "near", "length", "character", "character", "another type", "add"))
_ADDED = st.sampled_from(("userId", "workspaceId", "locationId", "package", "subscriberId", "internal", "name"))


def _held(document: Document, place: tuple[Any, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def _put(document: Document, place: tuple[Any, ...], value: Any) -> Document:
    """A copy of the document with another value there."""
    document = deepcopy(document)
    _held(document, place[:-1])[place[-1]] = deepcopy(value)
    return document


def _dropped(document: Document, place: tuple[Any, ...]) -> Document:
    document = deepcopy(document)
    del _held(document, place[:-1])[place[-1]]
    return document


def _mutated(document: Document, draw: Draw) -> Document:
    """A copy of the document with one thing changed somewhere."""
    places = _paths(document)
    how = draw(_HOW)
    if not places or (how == "add" and "data" not in document):
        return document
    if how == "another type":
        return {**document, "type": draw(st.sampled_from(sorted(MODEL)))}
    if how == "add":
        return (
            _put(document, ("data",), {**document["data"], draw(_ADDED): draw(st.sampled_from(_RETYPED))})
            if (isinstance(document["data"], dict))
            else document
        )
    place = draw(st.sampled_from(places))
    if how == "drop":
        return _dropped(document, place)
    choices = [value for kind, value in _mutations(_held(document, place), place[-1]) if kind == how]
    return _put(document, place, draw(st.sampled_from(choices))) if choices else document


@st.composite
def mutated_events(draw: Draw, types: list[str]) -> Document:
    """An event that was valid before one to three changes."""
    document = draw(valid_events(types))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        document = _mutated(document, draw)
    return document


def texts(document: Document) -> list[bytes]:
    """The event as JSON: all escaped, and as it is where UTF-8 can hold it. The second is read another way."""
    escaped = json.dumps(document).encode()
    try:
        return [escaped, json.dumps(document, ensure_ascii=False).encode()]
    except UnicodeEncodeError:
        return [escaped]


TOPICS = [
    pytest.param(sorted(ASSIGNMENT_TYPES), decode_assignment, id="package-assignments"),
    pytest.param(sorted(CATALOG_TYPES), decode_catalog, id="catalog"),
]


def test_the_model_has_each_type_of_the_contract() -> None:
    assert MODEL.keys() == ASSIGNMENT_TYPES | CATALOG_TYPES


@pytest.mark.parametrize(("types", "decode"), TOPICS)
@given(data=st.data())
def test_both_take_valid_events(types: list[str], decode: Callable[..., Any], data: st.DataObject) -> None:
    document = data.draw(valid_events(types))
    for value in texts(document):
        assert schema_takes(value, set(types)), value
        assert decoder_takes(value, decode), value


@pytest.mark.parametrize(("types", "decode"), TOPICS)
@given(data=st.data())
def test_both_judge_mutated_events_alike(types: list[str], decode: Callable[..., Any], data: st.DataObject) -> None:
    document = data.draw(mutated_events(types))
    for value in texts(document):
        assert decoder_takes(value, decode) == schema_takes(value, set(types)), value


def _fullest(type_: str) -> Document:
    """An event with all members of its type."""
    required, optional = MODEL[type_]
    given_ = {
        "package": "WEBEX_CALLING",
        "addon": "recording",
        "seats": 5,
        "internal": True,
        "day": "2026-10-01",
        "billingStartDate": "2026-10-01",
        "provisioningState": "active",
        "currency": "USD",
        "voids": {"source": "/", "id": "1"},
        "services": [{"service": "A", "sku": "s", "description": "d", "kind": "package", "unitPrice": "1.5"}],
    }
    data = {name: given_.get(name, "id") for name in (*required, *optional)}
    if type_ in _HELD:
        data |= {"userId": "u", "workspaceId": None}
    document = {"specversion": "1.0", "id": "1", "source": "/", "type": type_, "time": "2026-10-01T00:00:00Z"}
    return {**document, "data": data, "sequence": "1", "datacontenttype": "application/json"}


@pytest.mark.parametrize("type_", sorted(MODEL))
def test_both_judge_every_single_change_of_a_full_event_alike(type_: str) -> None:
    types, decode = (CATALOG_TYPES, decode_catalog) if type_ in CATALOG_TYPES else (ASSIGNMENT_TYPES, decode_assignment)
    full = _fullest(type_)
    assert schema_takes(json.dumps(full).encode(), types)
    changed = [_dropped(full, place) for place in _paths(full)]
    for place in _paths(full):
        changed += [_put(full, place, value) for _, value in _mutations(_held(full, place), place[-1])]
    disagreed = []
    for document in changed:
        value = json.dumps(document).encode()
        if decoder_takes(value, decode) != schema_takes(value, types):
            disagreed.append(value)
    assert disagreed == []


@pytest.mark.parametrize(("types", "decode"), TOPICS)
@settings(max_examples=500)
@given(data=st.data())
def test_a_repeated_member_counts_by_its_last_place(
    types: list[str], decode: Callable[..., Any], data: st.DataObject
) -> None:
    document, other = data.draw(valid_events(types)), data.draw(mutated_events(types))
    parts = [f"{json.dumps(name)}:{json.dumps(member)}" for name, member in document.items()]
    for name in data.draw(st.lists(st.sampled_from(sorted(other)), min_size=1, max_size=2)) if other else []:
        parts.insert(data.draw(st.integers(0, len(parts))), f"{json.dumps(name)}:{json.dumps(other[name])}")
    value = f"{{{','.join(parts)}}}".encode()
    assert decoder_takes(value, decode) == schema_takes(value, set(types)), value
