"""The rules of metering, one example each: events in, intervals and quantities out.

Events happen in October 2026; "5 12:00" is noon (UTC) of the 5th. Quantities are in days.
"""

import json
from typing import Any
from zlib import crc32

import pytest

from billing.meter import Metered
from billing.report import ReportRequest, ReportType, quantity_text
from schemas.daily_usage import DailyRow
from schemas.instants import day_number, day_text, parse_time_ms
from streams.core.partition import Applied, PartitionState
from tests.streams.laws import TOPIC, days_of, intervals_of
from tests.streams.strategies import Record

APPENDED_MS = parse_time_ms("2026-11-15T00:00:00Z")
MONTH_END = day_number("2026-10-31")


# ---- events


def event(kind: str, at: str, own_id: str = "", sequence: str | None = None, **data: Any) -> dict[str, Any]:
    """An event of customer C of partner P, about subscriber s unless its kind is about customers."""
    owner = {"partnerOrgId": "P", "customerOrgId": "C"}
    if kind.partition(".")[0] in ("package", "addon", "subscriber"):
        owner["subscriberId"] = "s"
    day, _, clock = at.partition(" ")
    made = {
        "specversion": "1.0",
        "id": own_id or f"{kind} {at} {sequence} {crc32(repr(data).encode()):08x}",
        "source": "/test",
        "type": f"wholesale.{kind}.v1",
        "time": f"2026-10-{int(day):02d}T{clock or '00:00'}{':00' if clock.count(':') < 2 else ''}Z",
        "data": {**owner, **data},
    }
    return made if sequence is None else {**made, "sequence": sequence}


def assigned(package: str, at: str, own_id: str = "", sequence: str | None = None, **data: Any) -> dict[str, Any]:
    holder = {} if "workspaceId" in data else {"userId": "u"}
    return event("package.assigned", at, own_id, sequence, package=package, **{**holder, **data})


def changed(package: str, at: str, own_id: str = "", sequence: str | None = None, **data: Any) -> dict[str, Any]:
    made = assigned(package, at, own_id or f"changed {package} {at}", sequence, **data)
    return {**made, "type": "wholesale.package.changed.v1"}


def removed(package: str | None, at: str, own_id: str = "", sequence: str | None = None, **data: Any) -> dict[str, Any]:
    named = {} if package is None else {"package": package}
    return event("package.removed", at, own_id, sequence, **named, **data)


def addon(name: str, at: str, **data: Any) -> dict[str, Any]:
    return event("addon.assigned", at, addon=name, userId="u", **data)


def voided(target: dict[str, Any], at: str = "30", own_id: str = "", **data: Any) -> dict[str, Any]:
    about = {"subscriberId": target["data"]["subscriberId"]} if "subscriberId" in target["data"] else {}
    return event("event.voided", at, own_id, **{**about, "voids": {"source": "/test", "id": target["id"]}, **data})


def ordered(order: str, at: str, seats: int, location: str = "L", own_id: str = "") -> dict[str, Any]:
    return event("setup-assist.ordered", at, own_id, orderId=order, locationId=location, seats=seats)


def cancelled(order: str, at: str) -> dict[str, Any]:
    return event("setup-assist.cancelled", at, orderId=order)


def deprovisioned(at: str) -> dict[str, Any]:
    return event("customer.deprovisioned", at)


def day_closed(day: int) -> dict[str, Any]:
    made = event("day.closed", "30", f"close {day}", day=f"2026-10-{day:02d}")
    return {**made, "type": "rtmeter.day.closed.v1", "data": {"day": f"2026-10-{day:02d}"}}


# ---- what follows


def records(*events: dict[str, Any], first_offset: int = 0) -> list[Record]:
    return [
        Record(
            first_offset + number,
            APPENDED_MS,
            made["data"]["customerOrgId"].encode() if "customerOrgId" in made["data"] else None,
            json.dumps(made).encode(),
        )
        for number, made in enumerate(events)
    ]


def metered(*events: dict[str, Any]) -> PartitionState:
    """The state after the events."""
    state = PartitionState(TOPIC, 0)
    applied_to(state, *events)
    return state


def applied_to(state: PartitionState, *events: dict[str, Any]) -> Applied:
    """Apply one run of events, all of them good, from where the state ends."""
    applied = state.apply(records(*events, first_offset=state.next_offset))
    assert applied.taken == len(events)
    assert applied.dead_letters == []
    return applied


def text(time_ms: int | None) -> str:
    if time_ms is None:
        return "…"
    day, ms = divmod(time_ms, 86_400_000)
    clock = "" if not ms else f" {ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}"
    return f"{int(day_text(day)[-2:])}{clock}"


def held(*events: dict[str, Any], by: str = "s", customer: str = "C") -> list[str]:
    """What a subscriber held: "A @ L: 1 – 5 12:00", in order of start."""
    return [
        f"{interval.item}{' @ ' + interval.location_id if interval.location_id else ''}: "
        f"{text(interval.start_ms)} – {text(interval.end_ms)}"
        for owner, subscriber_id, interval in intervals_of(metered(*events))
        if subscriber_id == by and owner[1] == customer
    ]


def quantities(*events: dict[str, Any]) -> dict[str, str]:
    """Quantity of the month by item and location: {"A @ L": "4.5"}."""
    found: dict[str, int] = {}
    for (_, _, location, item, _), (quantity, _) in days_of(metered(*events), MONTH_END).items():
        name = f"{item} @ {location}" if location else item
        found[name] = found.get(name, 0) + quantity
    return {name: quantity_text(quantity) for name, quantity in found.items() if quantity}


def anomalies(*events: dict[str, Any]) -> int:
    state = metered(*events)
    return sum(record.anomalies for account in state.accounts.values() for _, record in account.subscriber_records())


def rows(applied: Applied) -> dict[tuple[str, int], tuple[str, int]]:
    """{(item, day of October): (quantity, licences active at its close)} of the rows that a run writes."""
    return {_key(row): (quantity_text(row.quantity_microdays), row.active_licences) for row in applied.daily_rows}


def _key(row: DailyRow) -> tuple[str, int]:
    return row.item, int(day_text(row.day)[-2:])


# ---- rules 1 to 5: what starts and stops usage


def test_usage_starts_with_the_assignment_and_stops_with_the_removal() -> None:
    assert held(assigned("A", "1 06:00"), removed("A", "3 12:00")) == ["A: 1 06:00 – 3 12:00"]
    assert quantities(assigned("A", "1 06:00"), removed("A", "3 12:00")) == {"A": "2.25"}


def test_a_user_on_one_package_for_the_whole_month_has_a_quantity_of_all_its_days() -> None:
    assert quantities(assigned("A", "1")) == {"A": "31"}


def test_a_change_ends_the_old_package_and_starts_the_new_one_at_the_same_instant() -> None:
    assert held(assigned("A", "1"), changed("B", "5 12:00")) == ["A: 1 – 5 12:00", "B: 5 12:00 – …"]


def test_a_change_without_a_package_before_it_starts_one() -> None:
    assert held(changed("A", "2")) == ["A: 2 – …"]


def test_another_assignment_replaces_the_package_that_runs() -> None:
    assert held(assigned("A", "1"), assigned("B", "4")) == ["A: 1 – 4", "B: 4 – …"]


def test_deprovisioning_ends_all_that_runs_and_keeps_what_was() -> None:
    events = (assigned("A", "1"), addon("X", "2"), deprovisioned("3"))
    assert held(*events) == ["A: 1 – 3", "X: 2 – 3"]
    assert quantities(*events) == {"A": "2", "X": "1"}


def test_a_customer_may_come_back_after_its_deprovisioning() -> None:
    assert held(assigned("A", "1"), deprovisioned("3"), assigned("A", "7")) == ["A: 1 – 3", "A: 7 – …"]


def test_a_deprovisioning_that_arrives_late_ends_what_ran_then() -> None:
    assert held(assigned("A", "1"), assigned("A", "7"), deprovisioned("3")) == ["A: 1 – 3", "A: 7 – …"]


def test_a_deprovisioning_ends_what_a_fact_that_arrives_after_it_started_before_it() -> None:
    assert held(deprovisioned("3"), assigned("A", "1")) == ["A: 1 – 3"]


# ---- rule 7: whose usage it is


def test_the_same_customer_under_another_partner_is_another_account() -> None:
    elsewhere = assigned("A", "2", "elsewhere", partnerOrgId="Q")
    state = metered(assigned("A", "1"), elsewhere, deprovisioned("3"))
    found = {owner: text(interval.end_ms) for owner, _, interval in intervals_of(state)}
    assert found == {("P", "C"): "3", ("Q", "C"): "…"}


# ---- rule 8: locations


def test_a_move_ends_what_runs_and_starts_it_at_the_new_location() -> None:
    moved = event("subscriber.moved", "5", locationId="M")
    events = (assigned("A", "1", locationId="L"), addon("X", "2"), moved)
    assert held(*events) == ["A @ L: 1 – 5", "X @ L: 2 – 5", "A @ M: 5 – …", "X @ M: 5 – …"]


def test_an_event_without_location_leaves_it() -> None:
    assert held(assigned("A", "1", locationId="L"), changed("B", "3")) == ["A @ L: 1 – 3", "B @ L: 3 – …"]


def test_a_null_location_states_that_there_is_none() -> None:
    events = (assigned("A", "1", locationId="L"), assigned("A", "3", locationId=None))
    assert held(*events) == ["A @ L: 1 – 3", "A: 3 – …"]


def test_a_location_outlives_removal_and_deprovisioning() -> None:
    events = (
        assigned("A", "1", locationId="L"),
        event("subscriber.removed", "2"),
        assigned("A", "3"),
        deprovisioned("4"),
        assigned("B", "5"),
    )
    assert held(*events) == ["A @ L: 1 – 2", "A @ L: 3 – 4", "B @ L: 5 – …"]


def test_a_move_before_the_first_assignment_says_where_that_one_starts() -> None:
    assert held(event("subscriber.moved", "1", locationId="L"), assigned("A", "2")) == ["A @ L: 2 – …"]


def test_the_location_of_an_addon_is_that_of_its_subscriber() -> None:
    events = (assigned("A", "1"), addon("X", "3", locationId="L"))
    assert held(*events) == ["A: 1 – 3", "A @ L: 3 – …", "X @ L: 3 – …"]


# ---- rule 9: removals


def test_a_late_removal_of_the_old_package_does_not_stop_the_new_one() -> None:
    events = (assigned("A", "1"), changed("B", "5"), removed("A", "6"))
    assert held(*events) == ["A: 1 – 5", "B: 5 – …"]
    assert anomalies(*events) == 1


def test_a_removal_without_a_package_ends_whichever_runs() -> None:
    assert held(assigned("A", "1"), removed(None, "5")) == ["A: 1 – 5"]


def test_a_removal_of_the_package_leaves_the_addons() -> None:
    assert held(assigned("A", "1"), addon("X", "1"), removed("A", "5")) == ["A: 1 – 5", "X: 1 – …"]


def test_an_addon_runs_without_a_package_and_several_run_at_once() -> None:
    assert held(addon("X", "1"), addon("Y", "2")) == ["X: 1 – …", "Y: 2 – …"]


def test_removing_an_addon_ends_that_one() -> None:
    gone = event("addon.removed", "4", addon="X")
    assert held(assigned("A", "1"), addon("X", "2"), addon("Y", "3"), gone) == ["A: 1 – …", "X: 2 – 4", "Y: 3 – …"]


def test_removing_the_subscriber_ends_its_package_and_addons() -> None:
    assert held(assigned("A", "1"), addon("X", "2"), event("subscriber.removed", "3")) == ["A: 1 – 3", "X: 2 – 3"]


@pytest.mark.parametrize(
    "nothing_there",
    [removed("A", "1"), event("addon.removed", "1", addon="X"), event("subscriber.removed", "1")],
    ids=lambda made: made["type"],
)
def test_a_removal_that_finds_nothing_is_an_anomaly(nothing_there: dict[str, Any]) -> None:
    assert anomalies(nothing_there) == 1
    assert held(nothing_there, assigned("A", "2")) == ["A: 2 – …"]


# ---- rule 10: facts at one instant


def test_assigned_and_removed_at_one_instant_leave_the_package_running() -> None:
    assert held(assigned("A", "1"), removed("A", "5"), assigned("A", "5")) == ["A: 1 – …"]


def test_sequence_orders_what_one_instant_does_not() -> None:
    assert held(assigned("A", "5", sequence="1"), removed("A", "5", sequence="2"), assigned("B", "7")) == ["B: 7 – …"]


def test_an_absent_sequence_sorts_first() -> None:
    assert held(assigned("A", "1", sequence="0"), assigned("B", "1")) == ["A: 1 – …"]


def test_sequences_are_compared_by_code_point() -> None:
    assert held(assigned("A", "1", sequence="10"), assigned("B", "1", sequence="9")) == ["B: 1 – …"]


def test_a_move_comes_before_the_assignment_at_its_instant() -> None:
    assert held(assigned("A", "1", locationId="L"), event("subscriber.moved", "1", locationId="M")) == ["A @ L: 1 – …"]


def test_a_change_comes_after_the_assignment_at_its_instant() -> None:
    assert held(changed("B", "1", "a"), assigned("A", "1", "b")) == ["B: 1 – …"]


def test_what_only_source_and_id_order_is_an_anomaly_and_the_higher_id_holds() -> None:
    events = (assigned("A", "1", "z"), assigned("B", "1", "y"))
    assert held(*events) == ["A: 1 – …"]
    assert anomalies(*events) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_arrival_does_not_matter(order: tuple[int, ...]) -> None:
    events = (assigned("A", "1"), changed("B", "3"), removed("B", "5"))
    assert held(*(events[index] for index in order)) == ["A: 1 – 3", "B: 3 – 5"]


# ---- rule 11: what changes nothing, latest attributes, voids


def test_an_assignment_of_the_package_that_runs_changes_nothing() -> None:
    assert held(assigned("A", "1"), assigned("A", "3")) == ["A: 1 – …"]


def test_intervals_that_touch_and_are_equal_are_one() -> None:
    assert held(assigned("A", "1"), removed("A", "3"), assigned("A", "3")) == ["A: 1 – …"]


def test_an_interval_of_no_length_is_none() -> None:
    assert held(assigned("A", "1", sequence="1"), removed("A", "1", sequence="2")) == []


def test_user_and_workspace_are_the_pair_of_the_latest_fact_that_carries_either() -> None:
    state = metered(assigned("A", "3", workspaceId="w"), assigned("A", "1", userId="u"), removed("A", "5"))
    ((_, record),) = state.accounts["P", "C"].subscriber_records()
    assert (record.user_id, record.workspace_id) == (None, "w")


def test_customer_attributes_are_the_latest_member_by_member() -> None:
    state = metered(
        event("customer.updated", "5", name="New"),
        event("customer.provisioned", "1", externalId="e", name="Old", internal=True),
        event("customer.updated", "3", subscriptionId="sub", internal=False),
    )
    customer = state.accounts["P", "C"].customer_record()
    assert customer is not None
    assert (customer.external_id, customer.name, customer.subscription_id, customer.internal) == (
        "e",
        "New",
        "sub",
        False,
    )


def test_a_voided_event_counts_as_never_sent_whichever_arrives_first() -> None:
    wrong = removed("A", "3")
    assert held(assigned("A", "1"), wrong, voided(wrong)) == ["A: 1 – …"]
    assert held(voided(wrong), assigned("A", "1"), wrong) == ["A: 1 – …"]


def test_a_void_of_a_void_finds_nothing() -> None:
    wrong = removed("A", "3")
    void = voided(wrong, own_id="void")
    assert held(assigned("A", "1"), wrong, void, voided(void)) == ["A: 1 – …"]


def test_a_void_that_names_another_subscriber_finds_nothing() -> None:
    right = removed("A", "3")
    assert held(assigned("A", "1"), right, voided(right, subscriberId="t")) == ["A: 1 – 3"]


def test_a_voided_deprovisioning_ends_nothing() -> None:
    wrong = deprovisioned("3")
    assert held(assigned("A", "1"), wrong, voided(wrong)) == ["A: 1 – …"]


def test_a_voided_move_was_no_move() -> None:
    wrong = event("subscriber.moved", "3", locationId="M")
    assert held(assigned("A", "1", locationId="L"), wrong, voided(wrong)) == ["A @ L: 1 – …"]


def test_another_content_of_an_identity_is_refused_also_after_a_void() -> None:
    first = assigned("A", "1", "one id")
    state = metered(first, voided(first))
    (letter,) = state.apply(records(assigned("B", "1", "one id"), first_offset=2)).dead_letters
    assert letter.reason == "identity-conflict"
    assert list(intervals_of(state)) == []


# ---- rules 12 to 14: quantity


def test_a_day_is_split_where_it_is_used() -> None:
    state = metered(assigned("A", "1 18:00"), removed("A", "3 06:00"))
    found = {day_text(key[4])[-2:]: quantity for key, (quantity, _) in days_of(state, MONTH_END).items()}
    assert found == {"01": 250_000, "02": 1_000_000, "03": 250_000}


@pytest.mark.parametrize(
    ("end", "quantity"),
    [
        ("2", "1"),
        ("1 12:00", "0.5"),
        ("1 00:00:01", "0.000012"),
        ("1 00:00:02", "0.000023"),
        ("1 00:00:00.044", "0.000001"),
    ],
)
def test_quantities_lie_on_the_grid_of_microdays(end: str, quantity: str) -> None:
    assert quantities(assigned("A", "1"), removed("A", end)) == {"A": quantity}


def test_less_than_half_a_microday_is_nothing() -> None:
    assert quantities(assigned("A", "1"), removed("A", "1 00:00:00.043")) == {}


def test_pieces_add_up_to_the_whole() -> None:
    # Each of these seconds lies between two points of the grid.
    moves = [event("subscriber.moved", f"1 00:00:{second:02d}", locationId=f"L{second % 2}") for second in range(1, 60)]
    pieces = quantities(assigned("A", "1"), *moves, removed("A", "1 00:01:00"))
    assert sum(int(quantity.removeprefix("0.").ljust(6, "0")) for quantity in pieces.values()) == 694


# ---- rules 15 and 16: days


def test_closing_a_day_writes_what_was_used_and_what_is_active_at_its_close() -> None:
    state = metered(assigned("A", "1 12:00"), assigned("A", "2", subscriberId="t"))
    assert rows(applied_to(state, day_closed(2))) == {("A", 1): ("0.5", 1), ("A", 2): ("2", 2)}


def test_a_licence_that_ends_at_midnight_is_active_at_the_close_before_it() -> None:
    state = metered(assigned("A", "1"), removed("A", "2"))
    assert rows(applied_to(state, day_closed(2))) == {("A", 1): ("1", 1)}


def test_a_licence_that_starts_at_midnight_is_not_active_at_the_close_before_it() -> None:
    state = metered(assigned("A", "2"))
    assert rows(applied_to(state, day_closed(1))) == {}


def test_a_day_is_closed_once() -> None:
    state = metered(assigned("A", "1"))
    assert rows(applied_to(state, day_closed(1))) == {("A", 1): ("1", 1)}
    assert rows(applied_to(state, {**day_closed(1), "id": "again"})) == {}
    assert rows(applied_to(state, day_closed(3))) == {("A", 2): ("1", 1), ("A", 3): ("1", 1)}


def test_a_late_fact_restates_the_closed_days_that_it_touches_and_no_others() -> None:
    state = metered(assigned("A", "1"))
    applied_to(state, day_closed(5))
    assert rows(applied_to(state, removed("A", "3 12:00"))) == {
        ("A", 3): ("0.5", 0),
        ("A", 4): ("0", 0),
        ("A", 5): ("0", 0),
    }


def test_a_day_that_comes_out_at_nothing_gets_a_zero_row() -> None:
    wrong = assigned("A", "1")
    state = metered(wrong)
    applied_to(state, day_closed(1))
    assert rows(applied_to(state, voided(wrong))) == {("A", 1): ("0", 0)}


def test_a_late_move_restates_both_locations() -> None:
    state = metered(assigned("A", "1", locationId="L"), removed("A", "2"))
    applied_to(state, day_closed(1))
    applied = applied_to(state, event("subscriber.moved", "1 12:00", locationId="M"))
    assert {(row.location_id, row.quantity_microdays, row.active_licences) for row in applied.daily_rows} == {
        ("L", 500_000, 0),
        ("M", 500_000, 1),
    }


# ---- rule 18: Setup Assist


@pytest.mark.parametrize(
    ("seats", "item", "quantity"),
    [
        (1, "SETUP_ASSIST_EXPRESS", "1"),
        (5, "SETUP_ASSIST_EXPRESS", "1"),
        (6, "SETUP_ASSIST_STANDARD", "6"),
        (1_000_000, "SETUP_ASSIST_STANDARD", "1000000"),
    ],
)
def test_the_seats_say_which_setup_assist_it_is(seats: int, item: str, quantity: str) -> None:
    assert quantities(ordered("o", "5 23:59", seats)) == {f"{item} @ L": quantity}


def test_an_order_falls_on_its_day_and_leaves_no_active_licence() -> None:
    state = metered(ordered("o", "5 23:59", 6))
    assert rows(applied_to(state, day_closed(7))) == {("SETUP_ASSIST_STANDARD", 5): ("6", 0)}


def test_an_order_counts_once_by_its_latest_fact() -> None:
    assert quantities(ordered("o", "5", 6, "M"), ordered("o", "3", 2, "L")) == {"SETUP_ASSIST_STANDARD @ M": "6"}


def test_orders_with_several_ids_add_up() -> None:
    assert quantities(ordered("o", "5", 6), ordered("p", "5", 7)) == {"SETUP_ASSIST_STANDARD @ L": "13"}


def test_an_order_cancelled_before_it_is_placed_has_no_usage() -> None:
    assert quantities(cancelled("o", "1"), ordered("o", "5", 6)) == {}


def test_an_order_cancelled_after_its_day_was_closed_takes_its_usage_back() -> None:
    state = metered(ordered("o", "5", 6))
    applied_to(state, day_closed(7))
    assert rows(applied_to(state, cancelled("o", "20"))) == {("SETUP_ASSIST_STANDARD", 5): ("0", 0)}


def test_a_voided_cancellation_brings_the_order_back() -> None:
    wrong = cancelled("o", "6")
    assert quantities(ordered("o", "5", 6), wrong, voided(wrong)) == {"SETUP_ASSIST_STANDARD @ L": "6"}


def test_deprovisioning_leaves_orders() -> None:
    assert quantities(ordered("o", "5", 6), deprovisioned("3")) == {"SETUP_ASSIST_STANDARD @ L": "6"}


def test_an_order_has_no_subscriber_in_a_user_report() -> None:
    lines = [json.dumps(made).encode() for made in (assigned("A", "1"), ordered("o", "5", 6))]
    request = ReportRequest(ReportType.USER, "P", None, day_number("2026-10-01"), MONTH_END)
    report = b"".join(Metered(lines, APPENDED_MS).report(request)).decode().splitlines()
    assert report[1:] == [
        ",P,C,,,A,,,2026-10-01,2026-10-31,31,,s,u,",
        ",P,C,,,SETUP_ASSIST_STANDARD,,,2026-10-05,2026-10-05,6,L,,,",
    ]
