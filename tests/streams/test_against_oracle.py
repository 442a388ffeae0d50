"""The core and an oracle that works by another method agree, on a month of examples and on random ones."""

import random
from datetime import date
from pathlib import Path

import pytest

from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number, parse_time_ms
from streams.core.long_subscriber import PAGING, Paging
from tests.oracle import metering
from tests.oracle.random_month import CHILDREN, PARTNERS, RECEIVED_AT_MS, random_month
from tests.streams.laws import TINY

MONTH = Path(__file__).parents[1] / "data" / "month"
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)


def request(report_type: str, partner: str, sub_partner: str | None, internal: bool = False) -> ReportRequest:
    return ReportRequest(
        ReportType(report_type),
        partner,
        sub_partner,
        day_number(FIRST.isoformat()),
        day_number(LAST.isoformat()),
        internal,
    )


@pytest.mark.parametrize("expected", sorted((MONTH / "expected").glob("*.csv")), ids=lambda path: path.stem)
def test_the_example_month_comes_out_byte_for_byte(expected: Path) -> None:
    lines = [line for name in ("catalog", "events") for line in (MONTH / f"{name}.jsonl").read_bytes().splitlines()]
    metered = Metered(lines, parse_time_ms("2026-11-15T00:00:00Z"))
    report_type, _, orgs = expected.stem.partition("-")
    partner, _, sub_partner = orgs.partition("_")
    assert b"".join(metered.report(request(report_type, partner, sub_partner or None))) == expected.read_bytes()


def paging_of(seed: int) -> Paging:
    """In a third of the months nearly all subscribers are long."""
    return TINY if seed % 3 == 0 else PAGING


@pytest.mark.parametrize("seed", range(150))
def test_random_months_agree_with_the_oracle(seed: int) -> None:
    catalog, events = random_month(random.Random(seed))
    oracle = metering.meter(catalog, events, received_at_ms=RECEIVED_AT_MS)
    metered = Metered([*catalog, *events], RECEIVED_AT_MS, paging_of(seed))

    refused = [(line.number - 1 - len(catalog), str(line.reason)) for line in metered.refused]
    assert [entry for entry in refused if entry[0] >= 0] == oracle.refused
    assert [(number + len(catalog), reason) for number, reason in refused if number < 0] == oracle.catalog_refused
    assert metered.state.watermark.duplicates == len(oracle.duplicates)

    for partner, sub_partner in [(partner, None) for partner in PARTNERS] + [
        (parent, child) for child, parent in CHILDREN.items()
    ]:
        for report_type in ReportType:
            for internal in (False, True):
                wanted = metering.report(
                    oracle,
                    report_type=report_type,
                    partner=partner,
                    sub_partner=sub_partner,
                    start=FIRST,
                    end=LAST,
                    internal=internal,
                )
                got = b"".join(metered.report(request(report_type, partner, sub_partner, internal)))
                assert got == wanted, (report_type, partner, sub_partner, internal)


@pytest.mark.parametrize("seed", range(50))
def test_the_days_of_random_months_agree_with_the_oracle(seed: int) -> None:
    catalog, events = random_month(random.Random(seed))
    oracle = metering.meter(catalog, events, received_at_ms=RECEIVED_AT_MS)
    metered = Metered([*catalog, *events], RECEIVED_AT_MS, paging_of(seed))
    got = {}
    for account in metered.state.accounts.values():
        for (location, item), day_map in account.groups.items():
            first = day_map.first_day()
            if first is not None:
                for day, quantity, active in day_map.usage(first, day_number("2026-11-14")):
                    if quantity or active:
                        key = (account.partner_id, account.customer_id, location, item, day)
                        got[key] = (quantity, active)
    wanted = {
        (*key[:4], day_number(key[4].isoformat())): value
        for key, value in metering.daily_usage(oracle, date(2026, 11, 14)).items()
    }
    assert got == wanted
