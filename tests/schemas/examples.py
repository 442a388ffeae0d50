"""The examples of the event contract, as the records that a consumer would get.

Reads `schemas/examples` (its README says how the files are laid out). Every consumer of events is tested over
`accepted()` and `refused()`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
DEFAULT_APPEND_TIME = "2026-11-15T00:00:00Z"

_SIDECAR = ".context.json"
_MEMBERS = {"accepted": {"key", "append_time", "after", "pad_to_bytes"}}
_MEMBERS["refused"] = _MEMBERS["accepted"] | {"field"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Example:
    """One record, what came before it in its partition, and whether and why it is refused."""

    #: The folder's type; the record itself may name another one, or none.
    type: str
    #: The file name without `.json`; that of a refused example starts with the reason.
    name: str
    value: bytes
    key: bytes | None
    append_time_ms: int
    #: Values of the records before it in the same partition, oldest first. Each is accepted, with the same key.
    after: tuple[bytes, ...]
    #: None where the record is accepted.
    reason: str | None
    #: The path that the detail of a `bad-field` must name: `data.voids.id`, `data.services[0].sku`.
    field: str | None

    def __str__(self) -> str:
        return f"{self.type}/{self.name}"


def accepted() -> list[Example]:
    """Every record that must be taken, by type and name."""
    return list(_examples("accepted"))


def refused() -> list[Example]:
    """Every record that must be refused, each with the reason, by type and name."""
    return list(_examples("refused"))


def parse(value: bytes) -> Any:
    """The document of a JSON text; ValueError for what is none.

    Stricter than `json.loads`: no NaN and Infinity, and UTF-8 only. Escaped lone surrogates are legal JSON.
    """
    return json.loads(value.decode(), parse_constant=_no_constant)


def _no_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not JSON")


def _examples(folder: str) -> Iterator[Example]:
    files = sorted((EXAMPLES / folder).glob("*/*"))
    examples = [file for file in files if not file.name.endswith(_SIDECAR)]
    strays = {file for file in files if file.name.endswith(_SIDECAR)} - {_sidecar(file) for file in examples}
    strays |= {file for file in examples if file.suffix != ".json"}
    if strays:
        raise ValueError(f"neither an example nor the sidecar of one: {sorted(map(str, strays))}")
    for file in examples:
        context = _context(file, folder)
        value = _value(file, context)
        key = context.get("key", _default_key(file.parent.name, value))
        yield Example(
            type=file.parent.name,
            name=file.name.removesuffix(".json"),
            value=value,
            key=None if key is None else key.encode(),
            append_time_ms=_milliseconds(context.get("append_time", DEFAULT_APPEND_TIME)),
            after=tuple(_accepted_value(file.parent / path) for path in context.get("after", ())),
            reason=file.name.partition(".")[0] if folder == "refused" else None,
            field=context.get("field"),
        )


def _sidecar(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".json") + _SIDECAR)


def _context(file: Path, folder: str) -> dict[str, Any]:
    sidecar = _sidecar(file)
    if not sidecar.exists():
        return {}
    context: dict[str, Any] = json.loads(sidecar.read_bytes())
    if unknown := context.keys() - _MEMBERS[folder]:
        raise ValueError(f"{sidecar}: unknown members {sorted(unknown)}")
    return context


def _value(file: Path, context: dict[str, Any]) -> bytes:
    value = file.read_bytes()
    size = context.get("pad_to_bytes", len(value))
    if size < len(value):
        raise ValueError(f"{file} has {len(value)} bytes, more than pad_to_bytes")
    return value.ljust(size)


def _accepted_value(path: Path) -> bytes:
    file = path.resolve()
    if file.parents[1] != (EXAMPLES / "accepted").resolve():
        raise ValueError(f"`after` may name accepted examples only, not {path}")
    return _value(file, _context(file, "accepted"))


def _default_key(type_: str, value: bytes) -> str | None:
    """The key that a sender gives to this record; None where none can be told from it."""
    try:
        document = parse(value)
    except ValueError:
        return None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or type_ == "rtmeter.day.closed.v1":
        return None
    prefix, member = {
        "wholesale.partner.upserted.v1": ("partner/", "partnerOrgId"),
        "wholesale.subscription.upserted.v1": ("subscription/", "subscriptionId"),
    }.get(type_, ("", "customerOrgId"))
    id_ = data.get(member)
    return prefix + id_ if isinstance(id_, str) else None


def _milliseconds(text: str) -> int:
    """Milliseconds since the epoch of a sidecar's time, which has at most three fraction digits and ends in Z."""
    if not re.fullmatch(r"[0-9-]{10}T[0-9:]{8}(\.[0-9]{3})?Z", text):
        raise ValueError(f"append_time {text!r} is not of the form 2026-11-15T00:00:00[.000]Z")
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
