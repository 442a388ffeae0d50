"""The events that every side of the benchmark meters: made from a seed, the same bytes each time.

The mix of a quiet day in production: most events assign a package to a new subscriber, some change or remove
one, a few per cent repeat an earlier event. Ids have the length of real ones (UUIDs).
"""

import random
import sys
import uuid
from collections.abc import Iterator

from msgspec import Struct

_PACKAGES = ("WEBEX_CALLING", "WEBEX_SUITE", "WEBEX_MEETINGS", "COMMON_AREA_CALLING", "CX_ESSENTIALS")
# A month in the past of every clock: events of the future are refused.
_START_MS = 1_727_740_800_000  # 2024-10-01
_MONTH_MS = 31 * 86_400_000


class Workload(Struct, frozen=True):
    """`events` in all, of which `share_duplicates` are byte-identical repeats, and `share_changes` change or
    remove the package of a subscriber that is there; each of the rest assigns a package to a new one.
    """

    events: int
    subscribers_per_customer: int = 20
    share_duplicates: float = 0.03
    share_changes: float = 0.20
    seed: int = 20261001


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _time(ms: int) -> str:
    days, rest = divmod(ms - _START_MS, 86_400_000)
    seconds, millis = divmod(rest, 1000)
    return f"2024-10-{days + 1:02d}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{millis:03d}Z"


def records(workload: Workload) -> Iterator[tuple[bytes, bytes]]:
    """(record key, value) of each event, in order of arrival."""
    rng = random.Random(workload.seed)
    partners = [_uuid(rng) for _ in range(20)]
    customers: list[tuple[str, str, str]] = []
    subscribers: list[tuple[tuple[str, str, str], str]] = []
    recent: list[tuple[bytes, bytes]] = []
    for number in range(workload.events):
        draw = rng.random()
        if recent and draw < workload.share_duplicates:
            yield rng.choice(recent)
            continue
        changes = bool(subscribers) and draw < workload.share_duplicates + workload.share_changes
        if changes:
            customer, subscriber = rng.choice(subscribers)
        else:
            if not customers or len(subscribers) >= len(customers) * workload.subscribers_per_customer:
                customers.append((rng.choice(partners), _uuid(rng), _uuid(rng)))
            customer = customers[-1] if rng.random() < 0.5 else rng.choice(customers)
            subscriber = _uuid(rng)
            subscribers.append((customer, subscriber))
        partner_id, customer_id, location_id = customer
        time_ms = _START_MS + number * _MONTH_MS // workload.events
        package = rng.choice(_PACKAGES)
        if changes and draw < workload.share_duplicates + workload.share_changes / 4:
            kind, members = "package.removed", f'"package":"{package}"'
        else:
            kind = "package.changed" if changes else "package.assigned"
            members = f'"package":"{package}","userId":"{subscriber}","locationId":"{location_id}"'
        value = (
            f'{{"specversion":"1.0","id":"{_uuid(rng)}","source":"/wholesale/provisioning",'
            f'"type":"wholesale.{kind}.v1","time":"{_time(time_ms)}","data":{{"partnerOrgId":"{partner_id}",'
            f'"customerOrgId":"{customer_id}","subscriberId":"{subscriber}",{members}}}}}'
        ).encode()
        record = (customer_id.encode(), value)
        if len(recent) < 1000:
            recent.append(record)
        else:
            recent[rng.randrange(1000)] = record
        yield record


def main() -> None:
    """Write the events as lines, key and value parted by a tab: for a reader whose memory is to be measured."""
    for key, value in records(Workload(int(sys.argv[1]))):
        sys.stdout.buffer.write(key + b"\t" + value + b"\n")


if __name__ == "__main__":
    main()
