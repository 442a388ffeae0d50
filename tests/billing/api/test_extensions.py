"""Our extensions: the same figures in other forms, and what they must agree with."""

import csv
import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from billing.ids import public_id
from schemas.dead_letters import Origin
from tests.billing.api.world import REPORTS, World, error_of

PERIOD = {"start": "2026-10-01", "end": "2026-10-31"}


def rows_of(world: World, org: str, **body: object) -> list[dict[str, str]]:
    text = world.client.get(world.completed(org, **body)["tempDownloadURL"]).text
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("report_type", ["PARTNER", "CUSTOMER", "USER"])
def test_json_and_parquet_hold_what_the_csv_holds(world: World, report_type: str) -> None:
    report = world.completed(type=report_type)
    rows = list(csv.DictReader(io.StringIO(world.client.get(report["tempDownloadURL"]).text, newline="")))
    assert world.ask("GET", f"/v1/rtmeter/reports/{report['id']}/json").json() == rows
    parquet = world.ask("GET", f"/v1/rtmeter/reports/{report['id']}/parquet").content
    table = pa.parquet.read_table(io.BytesIO(parquet))
    assert table.schema.field("QUANTITY").type == pa.decimal128(38, 6)
    assert table.schema.field("CONSUMPTION_START_DATE").type == pa.date32()
    assert sum(table.column("QUANTITY").to_pylist()) == sum(Decimal(row["QUANTITY"]) for row in rows)
    as_text = [{name: str(value) for name, value in row.items() if name != "QUANTITY"} for row in table.to_pylist()]
    assert as_text == [{name: value for name, value in row.items() if name != "QUANTITY"} for row in rows]


def test_an_empty_report_in_all_forms(world: World) -> None:
    report = world.completed("no-such-org", type="USER")
    assert world.ask("GET", f"/v1/rtmeter/reports/{report['id']}/json", "no-such-org").json() == []
    parquet = world.ask("GET", f"/v1/rtmeter/reports/{report['id']}/parquet", "no-such-org")
    assert pa.parquet.read_table(io.BytesIO(parquet.content)).num_rows == 0


def test_a_report_that_is_not_complete_has_no_other_form(world: World) -> None:
    report_id = world.create().json()["id"]
    for form in ("json", "parquet"):
        error_of(world.ask("GET", f"/v1/rtmeter/reports/{report_id}/{form}"), 409, 2021)


def test_daily_usage_adds_up_to_the_partner_report(world: World) -> None:
    days = world.ask("GET", "/v1/rtmeter/usage/daily", params=PERIOD).json()["items"]
    totals: dict[tuple[str, str], Decimal] = {}
    for day in days:
        key = (day["orgId"], day["serviceName"])
        totals[key] = totals.get(key, Decimal(0)) + Decimal(day["quantity"])
    reported: dict[tuple[str, str], Decimal] = {}
    for row in rows_of(world, "P-alpha", type="PARTNER"):
        key = (row["PARTNER_ORG_ID"], row["SERVICE_NAME"])
        reported[key] = reported.get(key, Decimal(0)) + Decimal(row["QUANTITY"])
    assert totals == reported
    error_of(world.ask("GET", "/v1/rtmeter/usage/daily", params={**PERIOD, "end": "2026-09-30"}), 400, 2003)
    error_of(world.ask("GET", "/v1/rtmeter/usage/daily", params={**PERIOD, "start": "2020-01-01"}), 400, 2008)
    error_of(world.ask("GET", "/v1/rtmeter/usage/daily"), 400, 2008)


def test_an_open_dead_letter_marks_usage_and_reports_until_somebody_has_dealt_with_it(world: World) -> None:
    """The month's letter of P-alpha holds from 10 November, so it is of November and not of October."""

    def marks(**period: str) -> tuple[int, int]:
        usage = world.ask("GET", "/v1/rtmeter/usage/daily", params=period).json()
        return usage["openDeadLetters"], usage["openDeadLettersBefore"]

    november = {"start": "2026-11-01", "end": "2026-11-14"}
    assert marks(**PERIOD) == (0, 0)
    assert marks(**november) == (1, 0)
    assert marks(start="2026-11-11", end="2026-11-14") == (0, 1)
    held_now = world.ask("POST", "/v1/rtmeter/reports", json={"type": "USER"}).json()["id"]
    world.jobs.run_one()
    notes = world.ask("GET", f"/v1/rtmeter/reports/{held_now}/details").json()["notes"]
    assert "1 open dead letter of before this period, refused and perhaps missing in the report" in notes
    world.dismissals.dismiss(
        Origin("package-assignments", 0, 289), "the first one was right", "billing desk", world.now_ms
    )
    assert marks(**november) == (0, 0)
    report = world.completed(billingStartDate="2026-11-01", billingEndDate="2026-11-14")
    (note,) = world.ask("GET", f"/v1/rtmeter/reports/{report['id']}/details").json()["notes"]
    assert "have not closed" in note


def test_explain_adds_up_to_each_row_of_the_user_report(world: World) -> None:
    rows = [row for row in rows_of(world, "P-beta", type="USER") if row["SUBSCRIBER_ID"]]
    assert len(rows) > 20
    by_subscriber: dict[tuple[str, str], dict[str, Decimal]] = {}
    for row in rows:
        name = f"{row['SERVICE_NAME']} {row['LOCATION_ID']}".strip()
        by_subscriber.setdefault((row["CUSTOMER_ORG_ID"], row["SUBSCRIBER_ID"]), {})[name] = Decimal(row["QUANTITY"])
    for (customer, subscriber), expected in list(by_subscriber.items())[:20]:
        query = {**PERIOD, "customerOrgId": public_id("ORGANIZATION", customer), "subscriberId": subscriber}
        explained = world.ask("GET", "/v1/rtmeter/explain", "P-beta", params=query).json()
        assert {name: Decimal(quantity) for name, quantity in explained["totals"].items()} == expected
        summed: dict[str, Decimal] = {}
        for held in explained["intervals"]:
            name = f"{held['serviceName']} {held['locationId']}".strip()
            summed[name] = summed.get(name, Decimal(0)) + Decimal(held["quantity"])
        assert summed == expected
        explanation = explained["explanation"]
        assert explained["notExplained"] is None
        assert not explanation["tables"] or {table["agreement"] for table in explanation["tables"]} == {"agrees"}
        of_explanation = {
            f"{total['item']} {total['locationId'] or ''}".strip(): Decimal(total["quantityMicrodays"]) / 1_000_000
            for total in explanation["totals"]
        }
        assert of_explanation == expected
        assert [interval["startedBy"]["id"] for interval in explanation["intervals"]]


def test_explain_tells_a_caller_nothing_of_another_partners_events(world: World) -> None:
    rows = [row for row in rows_of(world, "P-beta", type="USER") if row["SUBSCRIBER_ID"]]
    theirs = {**PERIOD, "customerOrgId": rows[0]["CUSTOMER_ORG_ID"], "subscriberId": rows[0]["SUBSCRIBER_ID"]}
    nobodys = {**theirs, "customerOrgId": "no-such-customer"}
    answers = [world.ask("GET", "/v1/rtmeter/explain", "P-alpha", params=query).json() for query in (theirs, nobodys)]
    for answer, query in zip(answers, (theirs, nobodys), strict=True):
        said = f"No record is known of customer `{query['customerOrgId']}` of `P-alpha`."
        assert answer == {"intervals": [], "totals": {}, "explanation": None, "notExplained": said}


@pytest.mark.parametrize("report_type", ["CUSTOMER", "USER"])
def test_point_in_time_counts_what_is_held_now(world: World, report_type: str) -> None:
    created = world.ask("POST", "/v1/rtmeter/reports", "P-beta", json={"type": report_type})
    assert created.json()["category"] == "POINT_IN_TIME"
    report_id = created.json()["id"]
    while world.jobs.run_one():
        pass
    report = world.ask("GET", f"{REPORTS}/{report_id}", "P-beta").json()
    assert report["category"] == "POINT_IN_TIME"
    rows = list(csv.DictReader(io.StringIO(world.client.get(report["tempDownloadURL"]).text, newline="")))
    assert {row["CONSUMPTION_START_DATE"] for row in rows} == {"2026-11-15"}
    # What a USER report of a single later day holds in full is what is held.
    world.now_ms += 86_400_000
    held = [
        row
        for row in rows_of(world, "P-beta", type="USER", billingStartDate="2026-11-15", billingEndDate="2026-11-15")
        if row["QUANTITY"] == "1"
    ]
    assert sum(int(row["QUANTITY"]) for row in rows) == len(held) > 0
    if report_type == "USER":
        names = ("CUSTOMER_ORG_ID", "SERVICE_NAME", "LOCATION_ID", "SUBSCRIBER_ID", "USER_ID", "WORKSPACE_ID")
        assert [[row[name] for name in names] for row in rows] == [[row[name] for name in names] for row in held]
    assert world.ask("GET", REPORTS, "P-beta", params={"billingStartDate": "2026-11-15"}).json()["items"], (
        "the USER one"
    )
    error_of(world.ask("POST", "/v1/rtmeter/reports", json={"type": "PARTNER"}), 400, 2006)
    error_of(world.ask("POST", "/v1/rtmeter/reports", json={"type": "ALL"}), 400, 2008)


def test_the_documentation_describes_the_extensions_and_only_them(world: World) -> None:
    described = world.client.get("/openapi.json").json()
    assert world.client.get("/docs").status_code == 200
    assert described["paths"]
    assert all(path.startswith("/v1/rtmeter/") for path in described["paths"])
    for operations in described["paths"].values():
        for operation in operations.values():
            assert operation["description"], "each says what it is for"
            assert operation["security"]
