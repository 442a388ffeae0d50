"""A meter on Quix Streams as its documentation shows: a dataframe, a stateful `apply`, and `to_topic`.

Settings are its defaults: RocksDB with a changelog topic, a checkpoint every five seconds. Its state belongs to
the message key, the customer; a subscriber is a key within it.
"""

import os
from typing import Any

from quixstreams import Application, State  # type: ignore[import-not-found]  # in an environment of its own

from bench.peers.fold import add_event


def meter(event: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Keep a subscriber's facts and intervals; its intervals, or None for an event that is known."""
    subscriber_id = event["data"]["subscriberId"]
    subscriber = state.get(subscriber_id, default={})
    if not add_event(subscriber, event):
        return None
    state.set(subscriber_id, subscriber)
    return {"subscriberId": subscriber_id, "intervals": subscriber["intervals"]}


def main() -> None:
    """Run until SIGTERM."""
    prefix = os.environ["BENCH_PREFIX"]
    app = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=f"{prefix}quix",
        auto_offset_reset="earliest",
    )
    events = app.topic(f"{prefix}package-assignments", value_deserializer="json")
    entitlements = app.topic(f"{prefix}entitlements", key_serializer="str", value_serializer="json")
    sdf = app.dataframe(events)
    sdf = sdf.apply(meter, stateful=True)
    sdf = sdf.filter(lambda changed: changed is not None)
    sdf = sdf.to_topic(entitlements, key=lambda changed: changed["subscriberId"])
    app.run()


if __name__ == "__main__":
    main()
