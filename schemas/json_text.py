"""Text of an event to its typed struct, or the first reason of the contract that refuses it.

Shared by both input topics. Covers the reasons that the text alone decides: `too-large`, `not-json`,
`not-cloudevent`, `unknown-type` and the `bad-field`s of shape.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, get_args

import msgspec
from msgspec import Struct

from schemas.reasons import Reason, Refused

#: A record value over this many bytes is refused.
MAX_VALUE_BYTES = 1_048_576

#: Deeper is refused. A fixed number, far below what the interpreter's stack allows: what a record is judged to be
#: must not depend on how deep its reader's caller stands, or a replay judges otherwise than the first time.
MAX_NESTING = 64

#: Possessive, and a string that is not closed goes to the end of the text: nothing is read twice. A pattern that gives
#: up at the end and tries again from the next quotation mark takes hours over a megabyte of escaped ones.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_CONTROL_OR_SURROGATE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REQUIRED = {"id": str, "source": str, "type": str, "time": str, "data": dict}
#: Free text: any character that Unicode text can hold. All other texts are ids or checked by a pattern.
_FREE_TEXT = frozenset({"name", "sku", "description", "sequence"})

EventT = TypeVar("EventT", bound=Struct)


class EventDecoder(Generic[EventT]):
    """Decodes the tagged union of one topic's event types."""

    def __init__(self, union: Any) -> None:
        self._union = union
        self._fast = msgspec.json.Decoder(union)
        self._types = {struct.__struct_config__.tag for struct in get_args(union)}

    def decode(self, value: bytes | None) -> EventT:
        """The event; `Refused` otherwise."""
        if value is None:
            raise Refused(Reason.NOT_JSON, "the record has no value")
        if len(value) > MAX_VALUE_BYTES:
            raise Refused(Reason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_VALUE_BYTES} are taken")
        if _is_nested_too_deeply(value):
            raise Refused(Reason.NOT_JSON, f"nested more than {MAX_NESTING} deep")
        if _is_plain(value):
            try:
                return self._fast.decode(value)  # type: ignore[no-any-return]
            except (msgspec.DecodeError, RecursionError):
                pass
        return self._decode_with_reasons(value)

    def decode_good(self, values: Sequence[bytes | None]) -> list[EventT] | None:
        """The events of all values, at half the cost of `decode` for each; None if one of them is not plain and good."""
        try:
            text = b"".join(values)  # type: ignore[arg-type]
        except TypeError:  # a record without a value
            return None
        # So long as all together are not too large, none is.
        if len(text) > MAX_VALUE_BYTES or not _is_plain(text):
            return None
        # Every event has two brackets at least: so long as all together have few more, none is nested too deeply.
        if _has_more_brackets(text, 2 * len(values) + MAX_NESTING - 2):
            return None
        decode = self._fast.decode
        try:
            return [decode(value) for value in values]  # type: ignore[arg-type]
        except (msgspec.DecodeError, RecursionError):
            return None

    def _decode_with_reasons(self, value: bytes) -> EventT:
        document = _parse(value)
        self._check_cloudevent(document)
        if document["type"] not in self._types:
            raise Refused(Reason.UNKNOWN_TYPE, f"type {_shown(document['type'])}")
        try:
            event = self._convert(document)
        except msgspec.ValidationError as error:
            raise Refused(Reason.BAD_FIELD, _bad_field(str(error))) from None
        _check_characters(event, "")
        return event

    def _convert(self, document: Any) -> EventT:
        """The typed event. msgspec compares names and enumerations as UTF-8, which cannot hold a lone surrogate."""
        try:
            return msgspec.convert(document, self._union)  # type: ignore[no-any-return]
        except UnicodeEncodeError:
            document = _without_unencodable_names(document)
        try:
            return msgspec.convert(document, self._union)  # type: ignore[no-any-return]
        except UnicodeEncodeError:
            # In place of an enumeration's word, then. No word has a replacement character: this refuses, by field.
            return msgspec.convert(_with_replacements(document), self._union)  # type: ignore[no-any-return]

    @staticmethod
    def _check_cloudevent(document: Any) -> None:
        if not isinstance(document, dict):
            raise Refused(Reason.NOT_CLOUDEVENT, "the value is not a JSON object")
        if document.get("specversion") != "1.0":
            raise Refused(Reason.NOT_CLOUDEVENT, 'specversion is not "1.0"')
        for name, kind in _REQUIRED.items():
            if not isinstance(document.get(name), kind):
                wanted = "a string" if kind is str else "an object"
                missing = "is missing" if name not in document else f"is not {wanted}"
                raise Refused(Reason.NOT_CLOUDEVENT, f"{name} {missing}")


def _is_nested_too_deeply(value: bytes) -> bool:
    return _has_more_brackets(value, MAX_NESTING) and _depth(value) > MAX_NESTING


def _has_more_brackets(text: bytes, than: int) -> bool:
    """Whether the text has more opening brackets than so many. Hardly any has an array, and `in` is faster than to count."""
    return text.count(b"{") + (text.count(b"[") if b"[" in text else 0) > than


def _is_plain(text: bytes) -> bool:
    """Whether no string in it can hold a character that is refused, so that none need be looked at by itself.

    Without an escape, a DEL or a byte above ASCII no string can hold a control character (raw ones below U+0020
    are no JSON), nor can the text be invalid UTF-8.
    """
    return text.isascii() and b"\\" not in text and b"\x7f" not in text


def _without_unencodable_names(part: Any) -> Any:
    """No name that we know holds a lone surrogate: such a member is unknown, and ignored."""
    if isinstance(part, dict):
        return {name: _without_unencodable_names(m) for name, m in part.items() if not _SURROGATE.search(name)}
    return [_without_unencodable_names(element) for element in part] if isinstance(part, list) else part


def _with_replacements(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _with_replacements(member) for name, member in part.items()}
    if isinstance(part, list):
        return [_with_replacements(element) for element in part]
    return _SURROGATE.sub("\ufffd", part) if isinstance(part, str) else part


def _depth(value: bytes) -> int:
    depth = deepest = 0
    for found in _STRING_OR_BRACKET.finditer(value):
        if found[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in b"]}":
            depth -= 1
    return deepest


def _parse(value: bytes) -> Any:
    try:
        # The standard parser reads lone surrogate escapes, which are legal JSON; who uses them is judged by field.
        return json.loads(value.decode(), parse_constant=_no_constant, parse_int=_integer)
    except RecursionError:
        raise Refused(Reason.NOT_JSON, "nested too deeply") from None
    except ValueError as error:
        raise Refused(Reason.NOT_JSON, str(error)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    # Longer than any number we take; Python refuses to parse thousands of digits, but JSON allows them.
    return int(digits) if len(digits) <= 100 else float(digits)


def _bad_field(message: str) -> str:
    """msgspec's message with the field first: `data.seats: Expected int >= 1`."""
    missing = re.fullmatch(r"Object missing required field `(\w+)`(?: - at `\$\.(.*)`)?", message)
    if missing:
        return f"{missing[2]}.{missing[1]}: is missing" if missing[2] else f"{missing[1]}: is missing"
    what, separator, path = message.partition(" - at `$.")
    if separator:
        return f"{path.rstrip('`')}: {what}"
    return message


def _check_characters(part: Any, path: str) -> None:
    if isinstance(part, Struct):
        for name, alias in zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True):
            _check_characters(getattr(part, name), f"{path}.{alias}" if path else alias)
    elif isinstance(part, list):
        for index, element in enumerate(part):
            _check_characters(element, f"{path}[{index}]")
    elif isinstance(part, str):
        pattern = _SURROGATE if path.rpartition(".")[2] in _FREE_TEXT else _CONTROL_OR_SURROGATE
        found = pattern.search(part)
        if found:
            raise Refused(Reason.BAD_FIELD, f"{path}: the character U+{ord(found[0]):04X} is not allowed")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")
