"""What is sent while everything breaks: seeded, of any length, with the trouble that real senders make.

5 % repeats, 10 % out of order within a window, late facts about days that are closed, voids, deprovisionings, orders, and
records that must be refused. Made as it is sent: two million events need no more memory than the ids of the subscribers.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from schemas.instants import parse_time_ms, time_text
from tests.oracle.random_month import PACKAGES, PARTNERS, random_catalog

DUPLICATES = 0.05
DISORDERED = 0.10
LATE = 0.03
BAD = 0.01
_WINDOW = 400
_SUBSCRIBERS_PER_CUSTOMER = 12
_START_MS = parse_time_ms("2026-10-01T00:00:00Z")
_MONTH_MS = 31 * 86_400_000
_REFUSED = Path(__file__).parents[2] / "schemas" / "examples" / "refused"


class Load(Struct, frozen=True):
    """How much is sent, and from which seed."""

    events: int
    seed: int = 1


def catalog_lines(load: Load) -> list[bytes]:
    """Partners and subscriptions; one partner of the events is in no catalog."""
    return [line for line in random_catalog(random.Random(load.seed)) if b"\n" not in line]


def event_lines(load: Load) -> Iterator[bytes]:
    """The events, in the order in which they are sent."""
    rng = random.Random(load.seed)
    waiting: list[bytes] = []
    recent: list[bytes] = []
    for line in _facts(rng, load.events):
        if recent and rng.random() < DUPLICATES:
            repeated = rng.choice(recent)
            # The same content in another spelling is a duplicate, too.
            yield repeated.replace(b'":"', b'": "') if rng.random() < 0.3 else repeated
            continue
        if len(recent) < 2_000:
            recent.append(line)
        else:
            recent[rng.randrange(2_000)] = line
        if rng.random() < DISORDERED:
            waiting.append(line)
        else:
            yield line
        if len(waiting) > _WINDOW:
            yield waiting.pop(rng.randrange(len(waiting)))
    rng.shuffle(waiting)
    yield from waiting


def _facts(rng: random.Random, events: int) -> Iterator[bytes]:
    bad = _refused_examples()
    subscribers: list[tuple[str, str, str]] = []
    customers = 0
    for number in range(events):
        if rng.random() < BAD:
            yield rng.choice(bad)
            continue
        now = _START_MS + number * _MONTH_MS // events
        time_ms = rng.randrange(_START_MS, now + 1) if rng.random() < LATE else now
        draw = rng.random()
        if not subscribers or draw < 0.45:
            if len(subscribers) >= customers * _SUBSCRIBERS_PER_CUSTOMER:
                customers += 1
            partner, customer = PARTNERS[customers % len(PARTNERS)], f"c-{customers}"
            subscribers.append((partner, customer, f"s-{number}"))
            yield _event(number, "package.assigned", time_ms, *subscribers[-1], _held(rng))
            continue
        partner, customer, subscriber = rng.choice(subscribers)
        if draw < 0.70:
            yield _event(number, "package.changed", time_ms, partner, customer, subscriber, _held(rng))
        elif draw < 0.80:
            named = f',"package":"{rng.choice(PACKAGES)}"' if rng.random() < 0.5 else ""
            yield _event(number, "package.removed", time_ms, partner, customer, subscriber, named)
        elif draw < 0.85:
            kind = rng.choice(("assigned", "assigned", "removed"))
            user = ',"userId":"u"' if kind == "assigned" else ""
            yield _event(
                number, f"addon.{kind}", time_ms, partner, customer, subscriber, f',"addon":"ATTENDANT_CONSOLE"{user}'
            )
        elif draw < 0.89:
            yield _event(
                number,
                "subscriber.moved",
                time_ms,
                partner,
                customer,
                subscriber,
                f',"locationId":"L{rng.randrange(3)}"',
            )
        elif draw < 0.91:
            yield _event(number, "subscriber.removed", time_ms, partner, customer, subscriber, "")
        elif draw < 0.94:
            seats = rng.choice((1, 5, 6, 40))
            order = f',"orderId":"o-{rng.randrange(max(1, number))}","locationId":"L1","seats":{seats}'
            yield _event(number, "setup-assist.ordered", time_ms, partner, customer, None, order)
        elif draw < 0.96:
            described = f',"externalId":"x-{number}","internal":{"true" if rng.random() < 0.05 else "false"}'
            yield _event(number, "customer.updated", time_ms, partner, customer, None, described)
        elif draw < 0.963:
            yield _event(number, "customer.deprovisioned", time_ms, partner, customer, None, "")
        else:
            voided = f',"voids":{{"source":"/chaos","id":"e-{rng.randrange(max(1, number))}"}}'
            yield _event(number, "event.voided", time_ms, partner, customer, subscriber, voided)


def _event(
    number: int, kind: str, time_ms: int, partner: str, customer: str, subscriber: str | None, more: str
) -> bytes:
    who = "" if subscriber is None else f',"subscriberId":"{subscriber}"'
    return (
        f'{{"specversion":"1.0","id":"e-{number}","source":"/chaos","type":"wholesale.{kind}.v1",'
        f'"time":"{time_text(time_ms)}","data":{{"partnerOrgId":"{partner}","customerOrgId":"{customer}"{who}{more}}}}}'
    ).encode()


def _held(rng: random.Random) -> str:
    person = '"userId":"u"' if rng.random() < 0.8 else '"workspaceId":"w"'
    place = f',"locationId":"L{rng.randrange(3)}"' if rng.random() < 0.6 else ""
    return f',"package":"{rng.choice(PACKAGES)}",{person}{place}'


def _refused_examples() -> list[bytes]:
    """Examples of the contract that are refused for what they are, not for their key, time of arrival or neighbours."""
    found = []
    for path in sorted(_REFUSED.rglob("*.json")):
        line = path.read_bytes()
        of_content = path.name.startswith(("not-json", "not-cloudevent", "unknown-type", "bad-field", "before-horizon"))
        # Those of the catalog go to another topic, day-closed ones into every partition.
        elsewhere = "upserted" in path.parent.name or "day.closed" in path.parent.name
        if of_content and not elsewhere and not path.name.endswith(".context.json"):
            found.append(line.strip())
    return [line for line in found if line and b"\n" not in line]
