"""A meter on Faust as its user guide shows: an app, an agent, a table (with its changelog topic), and an output topic.

Settings are Faust's defaults, the memory store of tables included, which its documentation keeps for development:
RocksDB would only add to the work. Run by `faust -A bench.peers.faust_documented worker`.

The table is keyed by subscriber and the events by customer: what Faust asks for, that equal table keys are in one
partition, holds, since a subscriber has one customer.
"""

import os
from typing import Any

import faust

from bench.peers.fold import add_event

_PREFIX = os.environ["BENCH_PREFIX"]

app = faust.App(
    f"{_PREFIX}faust",
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    topic_partitions=int(os.environ["BENCH_PARTITIONS"]),
)
events = app.topic(f"{_PREFIX}package-assignments", value_serializer="json")
entitlements = app.topic(f"{_PREFIX}entitlements", key_type=str, value_serializer="json")
subscribers = app.Table("subscribers", default=dict)


@app.agent(events)  # type: ignore[untyped-decorator]
async def meter(stream: Any) -> None:
    """Keep each subscriber's facts and intervals; send the intervals when they may have changed."""
    async for event in stream:
        subscriber_id = event["data"]["subscriberId"]
        state = subscribers[subscriber_id]
        if add_event(state, event):
            subscribers[subscriber_id] = state
            await entitlements.send(
                key=subscriber_id, value={"subscriberId": subscriber_id, "intervals": state["intervals"]}
            )
