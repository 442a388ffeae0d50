"""Which topic an event line belongs to, and under which key: for lines of files, which carry neither."""

import json
from typing import Any

from msgspec import Struct

from schemas.topics import CATALOG, PACKAGE_ASSIGNMENTS

_CATALOG_TYPES = ("wholesale.partner.upserted.v1", "wholesale.subscription.upserted.v1")
DAY_CLOSED_TYPE = "rtmeter.day.closed.v1"


class Route(Struct, frozen=True):
    """`topic` without prefix. `every_partition`: a day-closed record, which goes into all of them."""

    topic: str
    key: bytes | None
    every_partition: bool = False


def is_catalog_line(line: bytes) -> bool:
    """Whether a line is an event of the `catalog` topic. What cannot be told belongs to `package-assignments`."""
    return b"upserted" in line and route_of(line).topic == CATALOG


def route_of(line: bytes) -> Route:
    """Topic and key of a line, as well as can be told: what is no event goes to `package-assignments` without a key."""
    try:
        document: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        return Route(PACKAGE_ASSIGNMENTS, None)
    if not isinstance(document, dict):
        return Route(PACKAGE_ASSIGNMENTS, None)
    event_type = document.get("type")
    data = document.get("data")
    members = data if isinstance(data, dict) else {}
    if event_type == _CATALOG_TYPES[0]:
        return Route(CATALOG, _key("partner/", members.get("partnerOrgId")))
    if event_type == _CATALOG_TYPES[1]:
        return Route(CATALOG, _key("subscription/", members.get("subscriptionId")))
    if event_type == DAY_CLOSED_TYPE:
        return Route(PACKAGE_ASSIGNMENTS, None, every_partition=True)
    return Route(PACKAGE_ASSIGNMENTS, _key("", members.get("customerOrgId")))


def _key(prefix: str, identifier: Any) -> bytes | None:
    if not isinstance(identifier, str):
        return None
    return (prefix + identifier).encode("utf-8", "surrogatepass")
