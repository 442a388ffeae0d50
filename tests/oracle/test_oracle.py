"""The oracle against the example month, against single rules worked by hand, and against itself."""

from __future__ import annotations

import csv as csv_module
import io
import json
import random
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from .metering import (
    EPOCH,
    MICRO,
    Metered,
    daily_usage,
    grid,
    instant_ms,
    meter,
    report,
)
from .random_month import PARTNERS, RECEIVED_AT_MS, random_month

MONTH = Path(__file__).parents[1] / "data" / "month"
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
SEEDS = range(40)
TYPES = ("PARTNER", "CUSTOMER", "USER")


# --- the example month ------------------------------------------------------------------------------------------


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@pytest.fixture(scope="module")
def example() -> Metered:
    return meter(lines_of(MONTH / "catalog.jsonl"), lines_of(MONTH / "events.jsonl"), received_at_ms=RECEIVED_AT_MS)


@pytest.mark.parametrize("path", sorted((MONTH / "expected").glob("*.csv")), ids=lambda p: p.stem)
def test_example_report(example: Metered, path: Path) -> None:
    report_type, org = path.stem.split("-", 1)
    partner, _, sub_partner = org.partition("_")
    made = report(
        example, report_type=report_type, partner=partner, sub_partner=sub_partner or None, start=FIRST, end=LAST
    )
    assert made == path.read_bytes()


def test_example_is_whole(example: Metered) -> None:
    assert len(list((MONTH / "expected").glob("*.csv"))) == 9
    assert example.catalog_refused == []
    assert example.refused == [(289, "identity-conflict"), (314, "identity-conflict")]
    assert len(example.duplicates) == 22


# --- single rules, worked by hand -------------------------------------------------------------------------------


def event(kind: str, time: str, /, own_id: str, sequence: str | None = None, **data: Any) -> bytes:
    ids = {"partnerOrgId": "P", "customerOrgId": "c"}
    if kind.split(".", maxsplit=1)[0] not in ("customer", "setup-assist", "event"):
        ids["subscriberId"] = "s"
    made = {"specversion": "1.0", "id": own_id, "source": "/", "type": f"wholesale.{kind}.v1", "time": time}
    return json.dumps({**made, "sequence": sequence, "data": {**ids, **data}}).encode()


def assigned(time: str, own_id: str, package: str = "A", sequence: str | None = None, **data: Any) -> bytes:
    return event("package.assigned", time, own_id, sequence, package=package, userId="u", **data)


def days(*lines: bytes, through: date = date(2026, 10, 3)) -> dict[tuple[str, str | None, int], tuple[int, int]]:
    """(item, location, day of October) -> (microdays, active)."""
    found = daily_usage(meter([], lines, received_at_ms=RECEIVED_AT_MS), through)
    return {(item, place, day.day): value for (_, _, place, item, day), value in found.items()}


def refusals(*lines: bytes) -> list[str]:
    return [reason for _, reason in meter([], lines, received_at_ms=RECEIVED_AT_MS).refused]


def test_grid_of_rule_14() -> None:
    midnight = instant_ms("2026-10-01T00:00:00Z")
    steps = {86_400_000: 1_000_000, 43_200_000: 500_000, 1000: 12, 2000: 23, 43: 0, 44: 1}
    assert {ms: grid(midnight + ms) - grid(midnight) for ms in steps} == steps
    assert grid(midnight) == (date(2026, 10, 1) - EPOCH).days * MICRO


def test_times() -> None:
    for same in ("2026-10-01T05:29:59.9999+05:30", "2026-09-30T23:59:59.999Z", "2026-09-30t23:59:59.999z"):
        assert instant_ms(same) == instant_ms("2026-10-01T00:00:00Z") - 1


def test_late_removal_of_the_old_package_stops_nothing() -> None:
    lines = [
        assigned("2026-10-01T00:00:00Z", "1", "A"),
        assigned("2026-10-01T12:00:00Z", "2", "B"),
        event("package.removed", "2026-10-02T00:00:00Z", "3", package="A"),
    ]
    half = {("A", None, 1): (500_000, 0), ("B", None, 1): (500_000, 1)}
    assert days(*lines, through=date(2026, 10, 2)) == {**half, ("B", None, 2): (MICRO, 1)}


def test_removed_and_assigned_at_one_instant() -> None:
    at, before = "2026-10-01T12:00:00Z", assigned("2026-10-01T00:00:00Z", "0")
    runs_on = {("A", None, 1): (MICRO, 1)}
    ends = {("A", None, 1): (500_000, 0)}
    first = date(2026, 10, 1)
    assert days(before, assigned(at, "1"), event("package.removed", at, "2"), through=first) == runs_on
    assert days(before, assigned(at, "1"), event("package.removed", at, "2", "1"), through=first) == ends


def test_location_outlives_deprovisioning_and_moves_split() -> None:
    lines = [
        assigned("2026-10-01T00:00:00Z", "1", locationId="L"),
        event("customer.deprovisioned", "2026-10-01T12:00:00Z", "2"),
        assigned("2026-10-02T00:00:00Z", "3"),
        event("subscriber.moved", "2026-10-02T23:59:59.957Z", "4", locationId=None),
    ]
    assert days(*lines) == {("A", "L", 1): (500_000, 0), ("A", "L", 2): (MICRO, 1), ("A", None, 3): (MICRO, 1)}


def test_licence_ending_at_midnight_is_active_at_the_close() -> None:
    assert days(assigned("2026-10-01T00:00:00Z", "1"), event("subscriber.removed", "2026-10-02T00:00:00Z", "2")) == {
        ("A", None, 1): (MICRO, 1)
    }


def test_voids() -> None:
    one = assigned("2026-10-03T00:00:00Z", "1")
    void = event("event.voided", "2026-10-01T00:00:00Z", "v", voids={"source": "/", "id": "1"}, subscriberId="s")
    wrong = event("event.voided", "2026-10-01T00:00:00Z", "w", voids={"source": "/", "id": "1"})
    of_void = event("event.voided", "2026-10-01T00:00:00Z", "x", voids={"source": "/", "id": "v"}, subscriberId="s")
    assert days(void, one) == days(one, void) == days(one, void, of_void) == {}
    assert days(wrong, one) == {("A", None, 3): (MICRO, 1)}


def test_first_content_of_an_identity_counts_also_when_voided() -> None:
    one, other = assigned("2026-10-03T00:00:00Z", "1"), assigned("2026-10-03T00:00:00Z", "1", "B")
    void = event("event.voided", "2026-10-01T00:00:00Z", "v", voids={"source": "/", "id": "1"}, subscriberId="s")
    assert days(one, other) == {("A", None, 3): (MICRO, 1)}
    assert days(one, void, other) == {}
    assert refusals(one, void, other) == ["identity-conflict"]


def test_setup_assist() -> None:
    def order(time: str, own_id: str, seats: int) -> bytes:
        return event("setup-assist.ordered", time, own_id, orderId="o", locationId="L", seats=seats)

    small, large = order("2026-10-01T12:00:00Z", "1", 5), order("2026-10-02T23:59:59.999Z", "2", 6)
    cancelled = event("setup-assist.cancelled", "2026-09-01T00:00:00Z", "3", orderId="o")
    assert days(small) == {("SETUP_ASSIST_EXPRESS", "L", 1): (MICRO, 0)}
    assert days(large, small) == {("SETUP_ASSIST_STANDARD", "L", 2): (6 * MICRO, 0)}
    assert days(cancelled, large, small) == {}


def test_refusals_in_their_order() -> None:
    good = assigned("2026-10-01T00:00:00Z", "1")
    lines = [
        b" " * 1_048_577,
        b"{",
        b"[]",
        good.replace(b'"1.0"', b'"0.3"'),
        good.replace(b"assigned", b"renamed").replace(b"2026-", b"26-"),
        good.replace(b"2026-", b"26-"),
        good.replace(b'"A"', b'"a-b"').replace(b"2026-", b"2100-"),
        good.replace(b"2026-", b"2100-"),
        good.replace(b"2026-", b"1999-"),
        good,
        good.replace(b'"A"', b'"a"'),
        good.replace(b'"A"', b'"B"'),
    ]
    assert refusals(*lines) == [
        "too-large",
        "not-json",
        "not-cloudevent",
        "not-cloudevent",
        "unknown-type",
        "bad-field",
        "bad-field",
        "too-far-in-future",
        "before-horizon",
        "identity-conflict",
    ]


def test_five_minutes_ahead_is_not_too_far() -> None:
    line = assigned("2026-10-01T00:05:00Z", "1")
    midnight = instant_ms("2026-10-01T00:00:00Z")
    assert meter([], [line], received_at_ms=midnight).refused == []
    assert meter([], [line], received_at_ms=midnight - 1).refused == [(0, "too-far-in-future")]


def test_report_of_a_stranger() -> None:
    metered = meter([], [], received_at_ms=RECEIVED_AT_MS)
    with pytest.raises(ValueError, match="not a sub-partner"):
        report(metered, report_type="USER", partner="P", sub_partner="S", start=FIRST, end=LAST)
    header = report(metered, report_type="PARTNER", partner="P", start=FIRST, end=LAST)
    assert header.startswith(b"PARTNER_NAME,") and header.endswith(b",QUANTITY\r\n") and header.count(b"\n") == 1


# --- random months ----------------------------------------------------------------------------------------------


def month_of(seed: int) -> Metered:
    catalog, events = random_month(random.Random(seed))
    return meter(catalog, events, received_at_ms=RECEIVED_AT_MS)


def rows_of(made: bytes) -> list[dict[str, str]]:
    return list(csv_module.DictReader(io.StringIO(made.decode("utf-8"), newline="")))


def totals(rows: list[dict[str, str]]) -> Counter[tuple[str, str]]:
    """(owner, service) -> microdays."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        found[row["PARTNER_ORG_ID"], row["SERVICE_NAME"]] += int(Decimal(row["QUANTITY"]) * MICRO)
    return found


def counted_days(metered: Metered, partner: str) -> Counter[tuple[str, str]]:
    """The daily rows that belong into the partner's report, added up as the report's rows are."""
    found: Counter[tuple[str, str]] = Counter()
    for (owner, customer, _, item, day), (microdays, _) in daily_usage(metered, LAST).items():
        data = metered.partners.get(owner, {})
        parent = data.get("parentOrgId")
        cut = parent is not None and str(day) < data.get("billingStartDate", "")
        hidden = metered.customers[owner, customer].get("internal", False)
        if partner in (owner, parent) and FIRST <= day and microdays and not cut and not hidden:
            found[owner, item] += microdays
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_days_add_up_to_the_reports(seed: int) -> None:
    metered = month_of(seed)
    for partner in PARTNERS:
        reports = [report(metered, report_type=t, partner=partner, start=FIRST, end=LAST) for t in TYPES]
        sums = [totals(rows_of(made)) for made in reports]
        assert sums[0] == sums[1] == sums[2] == counted_days(metered, partner)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_arrival_does_not_matter_without_conflicts(seed: int) -> None:
    rng = random.Random(seed)
    catalog, events = random_month(rng)
    metered = meter(catalog, events, received_at_ms=RECEIVED_AT_MS)
    refused = {index for index, _ in metered.refused}
    good = [line for index, line in enumerate(events) if index not in refused]
    good_catalog = [line for index, line in enumerate(catalog) if index not in dict(metered.catalog_refused)]
    rng.shuffle(good)
    rng.shuffle(good_catalog)
    again = meter(good_catalog, good, received_at_ms=RECEIVED_AT_MS)
    assert again.refused == again.catalog_refused == []
    assert daily_usage(again, LAST) == daily_usage(metered, LAST)
    for partner in PARTNERS:
        first, second = (
            report(m, report_type="USER", partner=partner, start=FIRST, end=LAST, internal=True)
            for m in (metered, again)
        )
        assert first == second


def test_random_months_are_rich() -> None:
    reasons: Counter[str] = Counter()
    for seed in SEEDS:
        catalog, events = random_month(random.Random(seed))
        assert len(events) == 150
        metered = meter(catalog, events, received_at_ms=RECEIVED_AT_MS)
        assert metered.holdings and metered.duplicates
        reasons.update(reason for _, reason in metered.refused)
        late = [index for index, reason in metered.refused if reason == "too-far-in-future"]
        assert all(b"2100-" in events[index] for index in late)
    assert set(reasons) == {
        "too-large",
        "not-json",
        "not-cloudevent",
        "unknown-type",
        "bad-field",
        "too-far-in-future",
        "before-horizon",
        "identity-conflict",
    }


def test_random_month_is_repeatable() -> None:
    assert random_month(random.Random(5)) == random_month(random.Random(5))
