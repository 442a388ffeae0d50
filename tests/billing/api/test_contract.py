"""The public contract: statuses, names, types, filters, pages and errors of its five operations."""

import base64
import re
from typing import Any

import pytest

from billing.ids import own_id, public_id
from billing.jobs.reports import ReportFailure
from schemas.instants import parse_time_ms
from tests.billing.api.world import PUBLIC_URL, REPORTS, SUB_PARTNERS, World, error_of
from tests.month import MONTH

DATE = re.compile(r"\d{4}-\d\d-\d\d")


def test_create_answers_200_with_the_id_at_once(world: World) -> None:
    answer = world.create(type="USER")
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "id": body["id"],
        "billingStartDate": "2026-10-01",
        "billingEndDate": "2026-10-31",
        "type": "USER",
        "category": "RECONCILIATION",
    }
    assert "=" not in body["id"]
    decoded = base64.urlsafe_b64decode(body["id"] + "=" * (-len(body["id"]) % 4)).decode()
    assert re.fullmatch(r"ciscospark://us/BILLING_REPORT/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", decoded)


def test_the_type_is_partner_unless_given(world: World) -> None:
    body = {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-31"}
    assert world.ask("POST", REPORTS, json=body).json()["type"] == "PARTNER"


def test_internal_comes_back_when_it_was_asked_for(world: World) -> None:
    assert world.create(internal=True).json()["internal"] is True


def test_the_life_of_a_report(world: World) -> None:
    report_id = world.create().json()["id"]
    running = world.ask("GET", f"{REPORTS}/{report_id}").json()
    assert running == {
        "id": report_id,
        "billingStartDate": "2026-10-01",
        "billingEndDate": "2026-10-31",
        "status": "IN_PROGRESS",
        "type": "CUSTOMER",
        "category": "RECONCILIATION",
        "created": "2026-11-15T12:00:00.000Z",
        "createdBy": public_id("PEOPLE", "clerk"),
    }
    assert world.jobs.run_one()
    completed = world.ask("GET", f"{REPORTS}/{report_id}").json()
    link = completed.pop("tempDownloadURL")
    assert completed == {**running, "status": "COMPLETED"}
    assert world.client.get(link).content == (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
    deleted = world.ask("DELETE", f"{REPORTS}/{report_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert error_of(world.ask("GET", f"{REPORTS}/{report_id}"), 404, 2024)["description"] == "Billing Report not found."
    assert world.client.get(link).status_code == 404
    assert world.create().json()["id"] != report_id


def test_a_failed_report_has_errors_and_no_link(world: World) -> None:
    world.create()
    job = world.register.lease("test", 1000)
    assert job is not None
    assert world.register.fail(job, "test", ReportFailure(2042, "an internal error; it is in the logs"))
    report = world.ask("GET", f"{REPORTS}/{job.id}").json()
    assert report["status"] == "FAILED"
    assert report["errors"] == [{"code": 2042, "description": "an internal error; it is in the logs"}]
    assert "tempDownloadURL" not in report
    assert world.create().json()["id"] != job.id, "a failed twin does not stand in the way"


def test_twins(world: World) -> None:
    running = world.create().json()["id"]
    assert world.create().json()["id"] == running, "a running twin is the report"
    assert world.create(internal=True).json()["id"] == running, "internal is not what tells twins apart (rule 28)"
    assert world.create(type="USER").json()["id"] != running
    assert world.create(subPartnerOrgId="S-one").json()["id"] != running
    while world.jobs.run_one():
        pass
    description = error_of(world.create(), 409, 2009)["description"]
    assert running in description, "a script that polls on 409 finds the report"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"billingStartDate": "2026-10-32"}, 2002),
        ({"billingStartDate": "01.10.2026"}, 2002),
        ({"billingStartDate": ""}, 2002),
        ({"billingStartDate": "2026-10-01T00:00:00Z"}, 2002),
        ({"billingEndDate": "2026-02-29"}, 2002),
        ({"billingStartDate": "2026-10-31", "billingEndDate": "2026-10-01"}, 2003),
        ({"billingEndDate": "2026-11-15"}, 2004),
        ({"billingEndDate": "2027-01-01"}, 2004),
        ({"billingStartDate": "2021-11-14"}, 2005),
        ({"billingStartDate": "0001-01-01"}, 2005),
        ({"type": "EVERYTHING"}, 2006),
        ({"type": "customer"}, 2006),
        ({"subPartnerOrgId": "P-beta"}, 2007),
        ({"subPartnerOrgId": "no-such-org"}, 2007),
        ({"billingStartDate": None}, 2001),
        ({"billingStartDate": 20261001}, 2001),
        ({"internal": "yes"}, 2001),
    ],
)
def test_what_is_wrong_with_a_create_is_400_and_said(world: World, body: dict[str, Any], code: int) -> None:
    error_of(world.create(**body), 400, code)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"billingStartDate": "2026-10-01"}', b"\xff", b"[" * 50_000]
)
def test_what_is_no_create_request_is_400(world: World, body: bytes) -> None:
    answer = world.ask("POST", REPORTS, content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 400, 2001)


def test_yesterday_and_five_years_back_are_allowed(world: World) -> None:
    assert world.create(billingStartDate="2021-11-15", billingEndDate="2026-11-14").status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_that_is_not_json_is_415(world: World, content_type: str) -> None:
    answer = world.ask("POST", REPORTS, content=b"{}", headers={"Content-Type": content_type})
    error_of(answer, 415, 2015)


def test_json_with_a_charset_is_json(world: World) -> None:
    body = b'{"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-31"}'
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert world.ask("POST", REPORTS, content=body, headers=headers).status_code == 200


def test_a_content_type_on_get_and_delete_is_tolerated(world: World) -> None:
    report = world.completed()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert world.ask("GET", REPORTS, headers=headers).status_code == 200
    assert world.ask("GET", f"{REPORTS}/{report['id']}", headers=headers).status_code == 200
    assert world.ask("GET", SUB_PARTNERS, headers=headers).status_code == 200
    assert world.ask("DELETE", f"{REPORTS}/{report['id']}", headers=headers).status_code == 204


@pytest.mark.parametrize(("method", "path"), [("PUT", REPORTS), ("PATCH", f"{REPORTS}/x"), ("POST", SUB_PARTNERS)])
def test_a_method_that_is_not_there_is_405(world: World, method: str, path: str) -> None:
    answer = world.ask(method, path)
    error_of(answer, 405, 2016)
    assert answer.headers["allow"] == {REPORTS: "GET, POST", SUB_PARTNERS: "GET"}.get(path, "DELETE, GET")


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/wholesale/billing/reports", "/v1/wholesale/billing", "/v1/%00"])
def test_a_path_that_is_not_there_is_404(world: World, path: str) -> None:
    answer = world.ask("GET", path)
    error_of(answer, *((400, 2008) if "%00" in path else (404, 2017)))


# ---- the list


def listed(world: World, **parameters: Any) -> list[dict[str, Any]]:
    answer = world.ask("GET", REPORTS, params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.fixture
def several(world: World) -> World:
    """Reports of three periods and two types, some completed."""
    world.completed(type="PARTNER", billingStartDate="2026-10-02", billingEndDate="2026-10-03")
    world.completed(type="USER", billingStartDate="2026-10-01", billingEndDate="2026-10-31")
    world.completed(type="CUSTOMER", billingStartDate="2026-10-01", subPartnerOrgId="S-one")
    world.create(type="PARTNER", billingStartDate="2026-09-01", billingEndDate="2026-09-30")
    return world


def test_a_list_has_plain_dates_that_compare_as_text(several: World) -> None:
    items = listed(several)
    assert len(items) == 4
    for item in items:
        assert item.keys() == {"id", "billingStartDate", "billingEndDate", "status", "type", "category"}
        assert DATE.fullmatch(item["billingStartDate"])
        assert DATE.fullmatch(item["billingEndDate"])
    starts = [item["billingStartDate"] for item in items]
    assert starts == sorted(starts), "by start date unless asked otherwise"
    same_day = [item["id"] for item in items if item["billingStartDate"] == "2026-10-01"]
    assert same_day == sorted(same_day), "then by id"


@pytest.mark.parametrize("sort_by", ["id", "billingStartDate", "billingEndDate", "status"])
def test_sort_by(several: World, sort_by: str) -> None:
    items = listed(several, sortBy=sort_by)
    assert [(item[sort_by], item["id"]) for item in items] == sorted((item[sort_by], item["id"]) for item in items)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"billingStartDate": "2026-10-01"}, 2),
        ({"billingStartDate": "2026-10-01T17:30:00.000Z"}, 2),
        ({"billingStartDate": "2026-10-02T01:00:00+02:00"}, 2),
        ({"billingEndDate": "2026-10-31"}, 2),
        ({"billingEndDate": "2026-10-30"}, 0),
        ({"type": "PARTNER"}, 2),
        ({"status": "IN_PROGRESS"}, 1),
        ({"status": "FAILED"}, 0),
        ({"type": "PARTNER", "status": "COMPLETED"}, 1),
        ({"subPartnerOrgId": "S-one"}, 1),
        ({"subPartnerOrgId": public_id("ORGANIZATION", "S-one")}, 1),
        ({"subPartnerOrgId": "S-two"}, 0),
        ({"billingStartDate": "", "subPartnerOrgId": ""}, 4),
        ({"unknown": "1"}, 4),
    ],
)
def test_filters_are_equalities(several: World, parameters: dict[str, str], count: int) -> None:
    assert len(listed(several, **parameters)) == count


def test_pages_lead_through_all_with_every_filter_kept(world: World) -> None:
    for day in range(1, 8):
        world.create(type="PARTNER", billingStartDate=f"2026-10-0{day}")
    world.create(type="USER")
    for sort_by in ("id", "billingStartDate", "billingEndDate", "status"):
        seen: list[str] = []
        answer = world.ask("GET", REPORTS, params={"type": "PARTNER", "max": "3", "sortBy": sort_by})
        pages = 1
        while True:
            seen += [item["id"] for item in answer.json()["items"]]
            link = answer.headers.get("link")
            if link is None:
                break
            match = re.fullmatch(r'<([^>]+)>; rel="next"', link)
            assert match is not None
            assert match[1].startswith(f"{PUBLIC_URL}{REPORTS}?")
            assert "type=PARTNER" in match[1]
            assert "max=3" in match[1]
            answer = world.ask("GET", match[1])
            pages += 1
        assert pages == 3
        assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"max": "0"}, 2008),
        ({"max": "101"}, 2008),
        ({"max": "-1"}, 2008),
        ({"max": "ten"}, 2008),
        ({"max": "１"}, 2008),
        ({"sortBy": "created"}, 2008),
        ({"status": "DONE"}, 2008),
        ({"type": "ALL"}, 2008),
        ({"type": ""}, 2008),
        ({"max": ""}, 2008),
        ({"billingStartDate": "yesterday"}, 2002),
        ({"after": "nonsense"}, 2008),
        ({"after": "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OSwgImEiXQ"}, 2008),
        ({"type": ["PARTNER", "USER"]}, 2008),
    ],
)
def test_wrong_parameters_of_a_list_are_400(world: World, parameters: dict[str, Any], code: int) -> None:
    error_of(world.ask("GET", REPORTS, params=parameters), 400, code)


# ---- sub-partners


def test_sub_partners(world: World) -> None:
    body = world.ask("GET", SUB_PARTNERS).json()
    assert body["items"] == body["subPartners"]
    assert [own_id("ORGANIZATION", item["orgId"]) for item in body["items"]] == ["S-one", "S-two"]
    first = body["items"][0]
    assert first["provisioningState"] == "active"
    assert first["subscriptionId"] == "Sub-A"
    assert first["billingStartDate"] == "2026-10-09T00:00:00.000Z"
    assert parse_time_ms(first["created"]) == parse_time_ms("2026-09-15T00:00:00.000987Z")
    assert world.ask("GET", SUB_PARTNERS, "S-one").json()["items"] == []
    assert world.ask("GET", SUB_PARTNERS, "P-beta").json()["items"] == []
    suspended = world.ask("GET", SUB_PARTNERS, params={"provisioningState": "suspended"}).json()["items"]
    assert [own_id("ORGANIZATION", item["orgId"]) for item in suspended] == ["S-two"]
    page = world.ask("GET", SUB_PARTNERS, params={"max": "1"})
    assert len(page.json()["items"]) == 1
    following = page.headers["link"].partition(">")[0].removeprefix("<")
    assert own_id("ORGANIZATION", world.ask("GET", following).json()["items"][0]["orgId"]) == "S-two"
    error_of(world.ask("GET", SUB_PARTNERS, params={"offset": "-1"}), 400, 2008)


def test_a_note_is_said_and_explained(world: World) -> None:
    report_id = world.create(billingEndDate="2026-11-10").json()["id"]
    world.jobs.run_one()
    answer = world.ask("GET", f"{REPORTS}/{report_id}")
    assert answer.headers["rtmeter-notes"] == "2"
    notes = world.ask("GET", f"/v1/rtmeter/reports/{report_id}/details").json()["notes"]
    assert "have not closed all days through 2026-11-10" in notes[0]
    assert notes[1] == "1 open dead letter of this period, refused and not in the report"
