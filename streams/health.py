"""Whether a process is ready and healthy. Pure: the clock is passed in, and a value comes out.

*Ready*: it does its work; before that, wait for it. *Healthy*: its work gets on; if not, look at it, and starting it
anew may help. What is restored or retried takes its time and is no illness.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from streams.lag import Lag

Key = TypeVar("Key")

#: A batch may take minutes, when a very large customer is deprovisioned or a long history is closed for the first time.
STUCK_MS = 300_000
#: Lags are looked at every few seconds, and Kafka is given a few to answer. Without a look nothing is known of them.
BLIND_MS = 120_000


class Health(Struct, frozen=True):
    """What the endpoints answer: 200 or 503, and `says`, a line for a person."""

    ready: bool
    healthy: bool
    says: str


def reader_health(
    now_ms: int, *, ready: bool, waits_for: str, lags: Mapping[Key, Lag], looked_ms: int, does: str
) -> Health:
    """The health of a process that reads partitions: a worker, or a sink.

    `waits_for`: what it does until it is ready. `lags`: as looked at at `looked_ms`. `does`: what is to be done with the
    records, for the line. Unhealthy: it is ready, and a partition has stood still for `STUCK_MS` though there is input;
    or nobody has looked for `BLIND_MS`. While it is not ready all partitions stand still, and must.
    """
    blind_ms = now_ms - looked_ms
    if blind_ms >= BLIND_MS:
        return Health(ready, False, f"how far it is was last looked at {blind_ms // 1000} s ago")
    if not ready:
        return Health(False, True, waits_for)
    still = {key: lag.still_ms + blind_ms for key, lag in lags.items() if lag.records}
    stuck = [key for key, ms in still.items() if ms >= STUCK_MS]
    if stuck:
        longest = max(still.values()) // 1000
        return Health(
            True, False, f"{len(stuck)} partitions have records to {does} and stand still, for {longest} s: {stuck}"
        )
    return Health(True, True, f"{len(lags)} partitions, {sum(lag.records for lag in lags.values())} records to {does}")
