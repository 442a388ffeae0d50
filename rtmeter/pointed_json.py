"""The JSON of a dead letter, indented, with the member that it was refused for pointed out. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

from schemas.reasons import Reason

_PATH = re.compile(r"[A-Za-z]\w*(?:\.\w+|\[\d+\])*", re.ASCII)
_CHARACTER = re.compile(r"\(char (\d+)\)")
_AROUND = 40


def pointed(value: bytes, reason: str, detail: str) -> list[str]:
    """The lines to show of a letter's bytes; what could upset a terminal is escaped."""
    try:
        text = value.decode()
        document = json.loads(text)
        return [printable(line) for line in _lines(document, _existing(document, _offending(reason, detail)), detail)]
    except RecursionError:
        return [printable(value.decode("utf-8", "backslashreplace"))]
    except ValueError as error:
        text = value.decode("utf-8", "backslashreplace")
        return [printable(text), *_around(text, str(error))]


def printable(text: str) -> str:
    """The text with everything but printable characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _offending(reason: str, detail: str) -> str:
    """The path of the member that a refusal is about; '' for the whole."""
    if reason in (Reason.BAD_FIELD, Reason.NOT_CLOUDEVENT):
        match = _PATH.match(detail)
        return match[0] if match else ""
    if reason == Reason.TOO_FAR_IN_FUTURE:
        return "data.day" if detail.startswith("data.day") else "time"
    known: dict[str, str] = {
        Reason.UNKNOWN_TYPE: "type",
        Reason.KEY_MISMATCH: "data.customerOrgId",
        Reason.BEFORE_HORIZON: "time",
        Reason.IDENTITY_CONFLICT: "id",
    }
    return known.get(reason, "")


def _existing(document: Any, path: str) -> str:
    """The path, or of a member that is missing the nearest one above it that is there."""
    there = {found for found, _ in _paths(document, "")}
    while path and path not in there:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return path


def _paths(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, part
    for name, member in _members(part, path):
        yield from _paths(member, name)


def _members(part: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(part, dict):
        return [(f"{path}.{name}" if path else str(name), member) for name, member in part.items()]
    return [(f"{path}[{n}]", element) for n, element in enumerate(part)] if isinstance(part, list) else []


def _lines(part: Any, pointed_at: str, detail: str, path: str = "", before: str = "", after: str = "") -> Iterator[str]:
    mark = f"   <== {detail}" if path == pointed_at else ""
    members = _members(part, path)
    if not members:
        yield f"{before}{json.dumps(part, ensure_ascii=False)}{after}{mark}"
        return
    opening, closing = "{}" if isinstance(part, dict) else "[]"
    yield f"{before}{opening}{mark}"
    indent = " " * (len(before) - len(before.lstrip()) + 2)
    names = (
        [f"{json.dumps(name, ensure_ascii=False)}: " for name in part]
        if isinstance(part, dict)
        else [""] * len(members)
    )
    for number, (name, (member_path, member)) in enumerate(zip(names, members, strict=True)):
        comma = "," if number + 1 < len(members) else ""
        yield from _lines(member, pointed_at, detail, member_path, indent + name, comma)
    yield f"{indent[2:]}{closing}{after}"


def _around(text: str, error: str) -> list[str]:
    """Where a text stops being JSON, if the parser says it."""
    match = _CHARACTER.search(error)
    if match is None:
        return []
    place = int(match[1])
    before, behind = printable(text[max(0, place - _AROUND) : place]), printable(text[place : place + _AROUND])
    return ["", f"no JSON from here on: {error}", f"  {before}{behind}", f"  {' ' * len(before)}^"]
