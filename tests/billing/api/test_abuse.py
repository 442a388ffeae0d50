"""What must not hurt: too many requests, too large ones, and payloads in every field."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.csv
import pytest

from billing.ids import public_id
from tests.billing.api.world import REPORTS, SUB_PARTNERS, World, error_of
from tests.store_process import serving

PAYLOADS = (
    "'; DROP TABLE timelines; --",
    "' OR '1'='1",
    '" OR ""="',
    "{owners:Array(String)}",
    "%27%20OR%201=1",
    "\\'; SELECT 1; --",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "../../../../etc/passwd",
    "a\r\nSet-Cookie: x=1",
    "𐍈" * 200,
    "x" * 5_000,
)


def test_a_rate_limit_per_org(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder, requests_per_minute=30)
    assert [world.ask("GET", SUB_PARTNERS).status_code for _ in range(30)] == [200] * 30
    answer = world.ask("GET", SUB_PARTNERS)
    error_of(answer, 429, 2011)
    assert int(answer.headers["retry-after"]) == 2
    assert world.ask("GET", SUB_PARTNERS, "P-beta").status_code == 200, "another org is not held up"
    world.now_ms += 2_000
    assert world.ask("GET", SUB_PARTNERS).status_code == 200


def test_a_limit_on_running_reports(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder, max_running_reports=3)
    for day in ("01", "02", "03"):
        assert world.create(billingStartDate=f"2026-10-{day}").status_code == 200
    answer = world.create(billingStartDate="2026-10-04")
    error_of(answer, 429, 2010)
    assert int(answer.headers["retry-after"]) >= 1
    assert world.create(billingStartDate="2026-10-01").status_code == 200, "a twin is no new report"
    world.now_ms += 1  # of reports that were asked for at once any may be made first
    assert world.create("P-beta").status_code == 200
    world.jobs.run_one()
    assert world.create(billingStartDate="2026-10-04").status_code == 200


def test_a_limit_on_bodies(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder, max_body_bytes=1_000)
    headers = {"Content-Type": "application/json"}
    error_of(world.ask("POST", REPORTS, content=b" " * 1_001, headers=headers), 413, 2014)
    error_of(world.ask("POST", REPORTS, content=iter([b" " * 600] * 2), headers=headers), 413, 2014)
    error_of(world.ask("POST", REPORTS, content=b" " * 1_000, headers=headers), 400, 2001)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_in_any_field_is_a_value_like_any_other(world: World, payload: str) -> None:
    made = world.completed()
    for field in ("billingStartDate", "billingEndDate", "type", "subPartnerOrgId"):
        answer = world.create(**{field: payload})
        assert answer.status_code == 400
        assert "Set-Cookie" not in str(answer.headers)
    for name in ("billingStartDate", "billingEndDate", "type", "sortBy", "status", "max", "subPartnerOrgId", "after"):
        for value in (payload, public_id("ORGANIZATION", payload)):
            answer = world.ask("GET", REPORTS, params={name: value})
            assert answer.status_code == (200 if name == "subPartnerOrgId" else 400), f"{name}: {answer.text}"
            assert not answer.json().get("items")
    for name in ("provisioningState", "offset", "max"):
        assert world.ask("GET", SUB_PARTNERS, params={name: payload}).status_code == 400
    period = {"start": "2026-10-01", "end": "2026-10-31"}
    for name in ("customerOrgId", "subscriberId"):
        query = {**period, "customerOrgId": "c", "subscriberId": "s", name: payload}
        assert world.ask("GET", "/v1/rtmeter/explain", params=query).json()["intervals"] == []
    # An org by that name has nothing, and sees nothing.
    assert world.ask("GET", REPORTS, payload).json()["items"] == []
    assert world.ask("GET", SUB_PARTNERS, payload).json()["items"] == []
    error_of(world.ask("GET", f"{REPORTS}/{made['id']}", payload), 404, 2024)
    # And nothing was harmed.
    assert world.client.get(made["tempDownloadURL"]).status_code == 200
    assert world.completed(type="USER")["status"] == "COMPLETED"


NASTY_IDS = {
    "customer": '=HYPERLINK("http://x","y")',
    "location": '+1,"2" 3',
    "subscriber": "@SUM(A1:A9)';--",
    "user": "-2+3",
    "external": "=1+1",
    "name": '＝wide, "quoted"\nline',
}


@pytest.fixture(scope="module")
def nasty_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store in which every text is a payload."""
    import json

    folder = tmp_path_factory.mktemp("nasty")
    common = {"specversion": "1.0", "source": "/'", "time": "2026-09-01T00:00:00Z"}
    ids = {"partnerOrgId": "P'\"", "customerOrgId": NASTY_IDS["customer"]}
    lines = [
        {**common, "id": "1", "type": "wholesale.partner.upserted.v1", "data": {"partnerOrgId": "P'\"", "name": NASTY_IDS["name"], "subscriptionId": "-s,1", "provisioningState": "active"}},
        {**common, "id": "2", "type": "wholesale.subscription.upserted.v1", "data": {"subscriptionId": "-s,1", "partnerOrgId": "P'\"", "currency": "EUR", "services": [{"service": "A", "sku": "=sku", "description": '"d",\n+', "kind": "package", "unitPrice": "1"}]}},
        {**common, "id": "3", "type": "wholesale.customer.provisioned.v1", "data": {**ids, "externalId": NASTY_IDS["external"]}},
        {**common, "id": "4", "type": "wholesale.package.assigned.v1", "data": {**ids, "subscriberId": NASTY_IDS["subscriber"], "package": "A", "userId": NASTY_IDS["user"], "locationId": NASTY_IDS["location"]}},
    ]  # fmt: skip
    file = folder / "events.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serving(folder, [file]):
        yield folder


def test_payloads_come_back_from_three_readers_as_they_were_and_no_cell_is_a_formula(
    tmp_path: Path, nasty_folder: Path
) -> None:
    world = World(tmp_path, nasty_folder)
    made = world.client.get(world.completed("P'\"", type="USER")["tempDownloadURL"]).content
    expected = {
        "PARTNER_NAME": "'" + NASTY_IDS["name"],
        "PARTNER_ORG_ID": "P'\"",
        "CUSTOMER_ORG_ID": "'" + NASTY_IDS["customer"],
        "CUSTOMER_EXTERNAL_ID": "'" + NASTY_IDS["external"],
        "SUBSCRIPTION_ID": "'-s,1",
        "SERVICE_NAME": "A",
        "SKU": "'=sku",
        "DESCRIPTION": '"d",\n+',
        "CONSUMPTION_START_DATE": "2026-10-01",
        "CONSUMPTION_END_DATE": "2026-10-31",
        "QUANTITY": "31",
        "LOCATION_ID": "'" + NASTY_IDS["location"],
        "SUBSCRIBER_ID": "'" + NASTY_IDS["subscriber"],
        "USER_ID": "'" + NASTY_IDS["user"],
        "WORKSPACE_ID": "",
    }
    (python,) = csv.DictReader(io.StringIO(made.decode(), newline=""))
    assert python == expected
    (of_pandas,) = pd.read_csv(io.BytesIO(made), dtype=str, keep_default_na=False, lineterminator=None).to_dict(
        "records"
    )
    assert of_pandas == expected
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(expected, pyarrow.string()), strings_can_be_null=False
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    (of_arrow,) = pyarrow.csv.read_csv(io.BytesIO(made), parse_options=parse, convert_options=convert).to_pylist()
    assert of_arrow == expected


def test_a_bug_is_answered_in_the_one_form_and_says_nothing_of_the_inside(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("password=secret")

    monkeypatch.setattr(world.register, "page", broken)
    answer = world.ask("GET", REPORTS)
    error_of(answer, 500, 2030)
    assert "secret" not in answer.text
    (logged,) = [record for record in caplog.records if "a bug" in record.getMessage()]
    assert answer.json()["trackingId"] == logged.tracking_id  # type: ignore[attr-defined]
