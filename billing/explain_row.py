"""The intervals that a row of a USER report adds up."""

from msgspec import Struct

from sinks.store import ReadableStore
from streams.core.grid import MICRODAYS_PER_DAY

_SQL = """
SELECT item, location, start_time, end_time, least(end, {until:Int64}) - greatest(start, {since:Int64}) AS quantity, end
FROM timelines FINAL
ARRAY JOIN items AS item, locations AS location, starts AS start, ends AS end, start_ms AS start_time, end_ms AS end_time
WHERE partner_id = {owner:String} AND customer_id = {customer:String} AND subscriber_id = {subscriber:String}
  AND start < {until:Int64} AND end > {since:Int64}
ORDER BY start_time, item, location
"""
_RUNS = (1 << 63) - 1


class HeldInterval(Struct, frozen=True):
    """Time in which a licence was held: its instants, and its microdays within the days asked for."""

    item: str
    location_id: str
    start_ms: int
    end_ms: int | None
    quantity_microdays: int


def held_intervals(
    store: ReadableStore, owner_id: str, customer_id: str, subscriber_id: str, first_day: int, last_day: int
) -> list[HeldInterval]:
    """One subscriber's intervals that touch a range of days, in order of start. Empty for an unknown one."""
    rows = store.query(
        _SQL,
        {
            "owner": owner_id,
            "customer": customer_id,
            "subscriber": subscriber_id,
            "since": first_day * MICRODAYS_PER_DAY,
            "until": (last_day + 1) * MICRODAYS_PER_DAY,
        },
    )
    return [
        HeldInterval(item, location, start_ms, None if end == _RUNS else end_ms, quantity)
        for item, location, start_ms, end_ms, quantity, end in rows
    ]
