"""What the pages say: the same as the API, in a clerk's words."""

import csv
import io
import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from billing.api.limits import RateLimit
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number
from sinks.store import StoreUnavailable
from tests.billing.api.world import REPORTS, World, error_of
from tests.billing.console.clerk import HOME, OCTOBER, Clerk, logged_in, text_of
from tests.month import MONTH


def expected_rows(name: str) -> list[dict[str, str]]:
    text = (MONTH / "expected" / f"{name}.csv").read_text()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def cells(page: httpx.Response, heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    table = page.text.partition(f">{heading}</h2>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", table, re.DOTALL)
    found = {}
    for row in rows:
        first, _, others = row.partition("</th>")
        found[" ".join(re.sub(r"<[^>]+>", " ", first).split())] = re.findall(r"<td[^>]*>([^<]*)</td>", others)
    return found


def make_all(world: World) -> None:
    while world.jobs.run_one():
        pass


# ---- usage


def test_usage_is_that_of_the_report(world: World) -> None:
    page = logged_in(world).get("", **OCTOBER)
    rows = expected_rows("PARTNER-P-alpha")
    by_service: dict[str, Decimal] = {}
    by_owner: dict[str, Decimal] = {}
    for row in rows:
        quantity = Decimal(row["QUANTITY"])
        by_service[row["SERVICE_NAME"]] = by_service.get(row["SERVICE_NAME"], Decimal(0)) + quantity
        by_owner[row["PARTNER_ORG_ID"]] = by_owner.get(row["PARTNER_ORG_ID"], Decimal(0)) + quantity
    total = sum(by_service.values())
    services = {name: Decimal(row[0]) for name, row in cells(page, "By service").items()}
    assert services == {**by_service, "All": total}
    owners = {name.split()[-1] if name != "P-alpha you" else "P-alpha": Decimal(row[0]) for name, row in cells(page, "By sub-partner").items()}  # fmt: skip
    assert owners == {**by_owner, "All": total}
    one_time = sum(quantity for name, quantity in by_service.items() if name.startswith("SETUP_ASSIST"))
    days = cells(page, "By day")
    assert len(days) == 31
    assert sum(Decimal(row[0]) for row in days.values()) == total - one_time, "the chart is of licences in use"
    assert all(Decimal(row[0]) == sum(map(Decimal, row[1:])) for row in days.values()), "each day adds up"
    assert one_time > 0


def test_usage_of_one_sub_partner_is_its_own(world: World) -> None:
    page = logged_in(world).get("", **OCTOBER, subPartner="S-one")
    total = sum(Decimal(row["QUANTITY"]) for row in expected_rows("PARTNER-P-alpha_S-one"))
    assert Decimal(cells(page, "By service")["All"][0]) == total
    assert list(cells(page, "By sub-partner")) == ["One S-one", "All"]


def test_days_without_usage_are_a_page_too(world: World) -> None:
    page = logged_in(world).get("")
    assert page.status_code == 200
    assert "2026-11-01" in page.text, "this month, until yesterday, unless days are given"
    assert "2026-11-14" in page.text
    assert "Nothing was used on these days" in page.text
    assert "not closed all days" in text_of(page)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ({"start": "2026-10-31", "end": "2026-10-01"}, "The first day is after the last one"),
        ({"start": "31.10.2026", "end": "2026-10-31"}, "That is no date"),
        ({"start": "2020-01-01", "end": "2026-10-31"}, "At most 400 days at a time"),
        ({"start": '"><b>', "end": "2026-10-31"}, "That is no date"),
    ],
)
def test_wrong_days_are_said_above_the_form_which_keeps_them(world: World, days: dict[str, str], said: str) -> None:
    for path in ("", "/explain"):
        more = {"customer": "c", "subscriber": "s"} if path else {}
        page = logged_in(world).get(path, **days, **more)
        assert page.status_code == 400
        assert said in text_of(page)
        assert "<b>" not in page.text


# ---- reports


def create(clerk: Clerk, **fields: str) -> httpx.Response:
    return clerk.post("/reports", clerk.form_token(), **{"type": "CUSTOMER", **OCTOBER, **fields})


def test_a_report_is_asked_for_made_downloaded_and_deleted(world: World) -> None:
    clerk = logged_in(world)
    where = create(clerk).headers["location"]
    path = where.removeprefix(HOME)
    waiting = clerk.get(path)
    assert "Waiting" in waiting.text
    assert "data-watch" in waiting.text
    assert '<noscript><meta http-equiv="refresh"' in waiting.text, "without JavaScript it looks again too"
    assert clerk.get(f"{path}/download").status_code == 409
    make_all(world)
    done = clerk.get(path)
    assert "Completed" in done.text
    assert "data-watch" not in done.text
    assert "http-equiv" not in done.text
    link = clerk.get(f"{path}/download").headers["location"]
    assert urlsplit(link).path.startswith("/v1/downloads/")
    downloaded = clerk.client.get(link, headers={"Accept-Encoding": "identity"})
    assert downloaded.content == (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
    question = clerk.get(f"{path}/delete")
    assert "Delete this report?" in question.text
    assert clerk.get(path).status_code == 200, "to be asked deletes nothing"
    deleted = clerk.post(f"{path}/delete", clerk.form_token())
    assert deleted.headers["location"] == f"{HOME}/reports?said=deleted"
    assert "The report was deleted" in clerk.get("/reports", said="deleted").text
    assert clerk.get(path).status_code == 404
    error_of(clerk.client.get(link), 404, 2018)


def test_what_is_made_here_is_seen_by_the_api_and_the_other_way_round(world: World) -> None:
    clerk = logged_in(world)
    report_id = create(clerk, type="USER", subPartner="S-one", internal="yes").headers["location"].split("/")[-1]
    make_all(world)
    shown = world.ask("GET", f"{REPORTS}/{report_id}").json()
    assert (shown["type"], shown["status"]) == ("USER", "COMPLETED")
    stored = world.register.get(report_id)
    assert stored is not None
    assert stored.request == ReportRequest(
        ReportType.USER, "P-alpha", "S-one", day_number("2026-10-01"), day_number("2026-10-31"), True
    )
    theirs = world.completed("P-alpha", type="PARTNER")["id"]
    assert theirs in clerk.get("/reports").text


def test_a_completed_twin_is_shown_the_way_to(world: World) -> None:
    clerk = logged_in(world)
    first = create(clerk).headers["location"]
    assert create(clerk).headers["location"] == first, "while it is being made"
    make_all(world)
    again = create(clerk)
    assert again.status_code == 409
    assert f'href="{first}"' in again.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "EVERYTHING"}, "Choose a type"),
        ({"type": ""}, "Choose a type"),
        ({"end": "2026-11-15"}, "The last day is not over yet"),
        ({"start": "2020-01-01"}, "Reports go back five years"),
        ({"start": "2026-11-02"}, "The first day is after the last one"),
        ({"start": "yesterday"}, "That is no date"),
        ({"subPartner": "P-beta"}, "not a sub-partner of yours"),
    ],
)
def test_a_wrong_form_comes_back_with_what_is_wrong(world: World, fields: dict[str, str], said: str) -> None:
    answer = create(logged_in(world), **fields)
    assert answer.status_code == 400
    assert said in text_of(answer)
    (name, value), *_ = fields.items()
    if name in ("start", "end"):
        assert f'name="{name}" value="{value}"' in answer.text, "what was typed is still there"
    assert world.register.newest(["P-alpha"], 9) == []


def test_too_many_at_a_time_is_said_in_the_form(world: World) -> None:
    clerk = logged_in(world)
    for day in range(1, 1 + world.settings.max_running_reports):
        assert create(clerk, start=f"2026-10-{day:02}").status_code == 303
    refused = create(clerk, start="2026-09-30")
    assert refused.status_code == 429
    assert "Too many reports at a time" in refused.text


def test_reports_are_listed_the_latest_first_page_by_page(world: World) -> None:
    made = []
    for n in range(60):
        world.now_ms += 1000 * (n % 3)  # some at the same instant
        day = day_number("2026-08-01") + n
        request = ReportRequest(ReportType.USER, "P-alpha" if n % 4 else "S-one", None, day, day)
        made.append(world.register.create(request, "clerk", max_running=100).id)
    clerk = logged_in(world)
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(4):
        page = clerk.get("/reports", **query)
        seen += re.findall(r'<th scope="row"><a href="/console/reports/([^"]+)"', page.text)
        older = re.search(r'href="/console/reports\?before=([^"]+)"', page.text)
        if older is None:
            break
        query = {"before": older[1]}
    assert sorted(seen) == sorted(made)
    created = [world.register.get(report_id) for report_id in seen]
    times = [report.created_ms for report in created if report is not None]
    assert times == sorted(times, reverse=True)
    for nonsense in ("x", "1", ".", "9" * 40 + ".x", "-1.x", "１.x"):
        assert clerk.get("/reports", before=nonsense).status_code == 200


def test_what_others_wrote_is_shown_and_never_run(world: World) -> None:
    name = "<script>alert(1)</script>"
    clerk = Clerk(world)
    clerk.log_in(world.token("P-alpha", sub=name))
    where = create(clerk).headers["location"].removeprefix(HOME)
    for page in (clerk.get(where), clerk.get("/explain", customer=name, subscriber=f"`{name}`", **OCTOBER)):
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "&lt;script&gt;" in page.text


# ---- why


def one_user(partner: str) -> dict[str, str]:
    row = next(row for row in expected_rows(f"USER-{partner}") if row["SUBSCRIBER_ID"])
    return {"customer": row["CUSTOMER_ORG_ID"], "subscriber": row["SUBSCRIBER_ID"]}


def test_an_explanation_says_what_the_api_says(world: World) -> None:
    who = one_user("P-beta")
    page = logged_in(world, "P-beta").get("/explain", **who, **OCTOBER)
    asked = {**OCTOBER, "customerOrgId": who["customer"], "subscriberId": who["subscriber"]}
    api: dict[str, Any] = world.ask("GET", "/v1/rtmeter/explain", "P-beta", params=asked).json()["explanation"]
    shown = text_of(page).replace(" ", "")
    records = [record["said"] for record in api["records"]]
    intervals = [interval["said"] for interval in api["intervals"]]
    assert records
    assert intervals
    for sentence in (*api["said"], *records, *intervals, *api["reported"]["said"]):
        assert sentence.replace("`", "").replace(" ", "") in shown, sentence
    rows = [row for row in expected_rows("USER-P-beta") if row["SUBSCRIBER_ID"] == who["subscriber"]]
    total = sum(Decimal(row["QUANTITY"]) for row in rows)
    assert Decimal(cells(page, "Sums")["All days"][-1]) == total


def test_anothers_customer_is_as_unknown_as_one_that_does_not_exist(world: World) -> None:
    clerk, theirs = logged_in(world, "P-alpha"), one_user("P-beta")
    foreign = clerk.get("/explain", **theirs, **OCTOBER)
    unknown = clerk.get("/explain", customer="no-such", subscriber="nobody", **OCTOBER)
    assert foreign.status_code == unknown.status_code == 200
    said = text_of(foreign).replace(theirs["customer"], "no-such").replace(theirs["subscriber"], "nobody")
    assert "No record is known of customer" in said
    assert said == text_of(unknown)


# ---- what goes wrong


def test_errors_are_pages_with_the_tracking_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clerk = logged_in(world)
    form_token = clerk.form_token()

    def broken(*_: object) -> Any:
        raise RuntimeError("password=secret")

    def away() -> Any:
        raise StoreUnavailable("password=secret at 10.0.0.1")

    answers = {
        "No such page": (404, clerk.get("/nowhere")),
        "takes no such request": (405, clerk.client.put(f"{HOME}/reports")),
        "did not arrive as it should": (400, clerk.client.post(f"{HOME}/reports", json={})),
        "larger than it can be": (413, clerk.post("/reports", form_token, type="x" * 70_000)),
        "That did not work": (400, clerk.client.get(f"{HOME}/reports?before=%00")),
    }
    assert clerk.client.put(f"{HOME}/reports").headers["allow"] == "GET, POST"
    with monkeypatch.context() as patch:
        patch.setattr(world.register, "newest", broken)
        answers["That is our fault"] = (500, clerk.get("/reports"))
        patch.setattr(world.app.state.services, "open_store", away)
        answers["Not now"] = (503, clerk.get("", **OCTOBER))
        patch.setattr(world.app.state.services, "rate_limit", RateLimit(1, lambda: 0))
        clerk.get("/explain")
        answers["Too many requests"] = (429, clerk.get("/explain"))
    for said, (status, answer) in answers.items():
        assert answer.status_code == status, said
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert said in text_of(answer)
        assert answer.headers["trackingid"] in answer.text
        assert "secret" not in answer.text
    error_of(world.client.get("/v1/nowhere"), 404, 2017)


def test_the_style_sheet_and_the_script_are_kept_by_browsers_until_they_change(world: World) -> None:
    page = Clerk(world).get("/login").text
    for address in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page):
        answer = Clerk(world).client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for nonsense in ("../pages.py", "%2e%2e/pages.py", "console.css/", ""):
        assert Clerk(world).get(f"/static/{nonsense}").status_code == 404
