"""Log in, stay logged in, log out: what is kept in a browser, and what is written nowhere."""

import logging
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from tests.billing.api.world import KEYS, World
from tests.billing.console.clerk import HOME, OCTOBER, SESSION, Clerk, form_token_of, logged_in

PAGES = ("", "/reports", "/reports/new", "/explain", "/login", "/reports/no-such-report", "/no/such/page")


def cookie_of(answer: httpx.Response, name: str = SESSION) -> dict[str, str]:
    """Value and attributes of a cookie that an answer sets."""
    morsel = SimpleCookie(answer.headers["set-cookie"])[name]
    return {"value": morsel.value, **{key: value for key, value in morsel.items() if value}}


def test_the_cookie_is_for_the_console_alone_and_lives_no_longer_than_the_token(world: World) -> None:
    until = int(time.time()) + 1234
    token = world.token("P-alpha", exp=until)
    cookie = cookie_of(Clerk(world).log_in(token))
    assert cookie.pop("value").partition(".")[2] == token
    assert parsedate_to_datetime(cookie.pop("expires")) == datetime.fromtimestamp(until, UTC)
    assert cookie == {"path": HOME, "httponly": True, "secure": True, "samesite": "strict"}


def test_without_https_the_cookie_is_not_secure_and_works(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder, public_url="http://127.0.0.1:8080")
    clerk = Clerk(world, "http://127.0.0.1:8080")
    assert "secure" not in cookie_of(clerk.log_in(world.token("P-alpha")), "rtmeter-console")
    assert clerk.get("/reports").status_code == 200


def test_behind_a_path_links_and_cookies_begin_with_it(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder, public_url="https://portal.example/metering/")
    answer = Clerk(world).get("/login")
    assert cookie_of(answer, f"{SESSION}-entry")["path"] == "/metering/console"
    assert set(re.findall(r'(?:href|src|action)="([^"#]+?)/(?:static|login)', answer.text)) == {"/metering/console"}
    assert Clerk(world).get("/reports").headers["location"].startswith("/metering/console/login?")


def test_each_log_in_is_another_session(world: World) -> None:
    token = world.token("P-alpha")
    first, second = Clerk(world), Clerk(world)
    assert cookie_of(first.log_in(token))["value"] != cookie_of(second.log_in(token))["value"]
    assert first.form_token() != second.form_token()


def test_log_out_forgets(world: World) -> None:
    clerk = logged_in(world)
    answer = clerk.post("/logout", clerk.form_token())
    assert cookie_of(answer)["expires"].startswith("Thu, 01 Jan 1970")
    assert clerk.get("/reports").headers["location"] == f"{HOME}/login?then=%2Freports"


def test_a_bad_token_is_said_so_and_not_shown_again(world: World) -> None:
    for bad in ("garbage", world.token("P-alpha", exp=1_700_000_000), world.foreign_token("P-alpha")):
        answer = Clerk(world).log_in(bad)
        assert answer.status_code == 401
        assert "not valid" in answer.text
        assert bad not in answer.text
        assert SESSION not in SimpleCookie(answer.headers["set-cookie"])


def test_a_token_may_be_pasted_with_its_scheme(world: World) -> None:
    assert Clerk(world).log_in(f"  Bearer {world.token('P-alpha')}\n").status_code == 303


def test_a_token_that_no_cookie_holds_is_refused_in_words(world: World) -> None:
    answer = Clerk(world).log_in(world.token("P-alpha", padding="x" * 4000))
    assert answer.status_code == 400
    assert "does not fit into a cookie" in answer.text


def test_nobody_is_logged_in_by_another_sites_form(world: World) -> None:
    clerk, token = Clerk(world), world.token("P-beta")
    elsewhere = form_token_of(Clerk(world).get("/login"))
    for form_token in (None, "", elsewhere):
        answer = clerk.post("/login", form_token, token=token)
        assert answer.status_code == 403
        assert f"{SESSION}=" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    ("then", "goes_to"),
    [
        ("/reports", f"{HOME}/reports"),
        ("?start=2026-10-01&end=2026-10-31", f"{HOME}?start=2026-10-01&end=2026-10-31"),
        ("//evil.example", f"{HOME}//evil.example"),
        ("https://evil.example", HOME),
        ("@evil.example", HOME),
        (".evil.example", HOME),
        ("/\\evil.example", HOME),
        ("/x\r\nset-cookie: a=b", HOME),
    ],
)
def test_the_log_in_leads_to_no_other_site(world: World, then: str, goes_to: str) -> None:
    clerk = Clerk(world)
    form_token = form_token_of(clerk.get("/login"))
    answer = clerk.post("/login", form_token, token=world.token("P-alpha"), then=then)
    assert answer.headers["location"] == goes_to


def test_from_another_site_one_is_still_logged_in_a_step_later(world: World) -> None:
    clerk = logged_in(world)
    clerk.client.cookies.clear()  # what a browser does with a strict cookie on the way from elsewhere
    answer = clerk.client.get(f"{HOME}/explain?customer=a%22b", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'content="0; url=/console/explain?customer=a%22b"' in answer.text
    assert "set-cookie" not in answer.headers


def test_forms_given_before_a_key_was_replaced_are_still_taken(tmp_path: Path, month_folder: Path) -> None:
    world = World(tmp_path, month_folder)
    clerk = logged_in(world)
    old = clerk.form_token()
    second = "second:fedcba9876543210fedcba9876543210"
    for keys, status in ((f"{second},{KEYS}", 303), (second, 403)):
        rotated = World(tmp_path, month_folder, link_keys=keys)
        other = Clerk(rotated)
        other.client.cookies = clerk.client.cookies
        assert other.post("/reports", old, type="USER", **OCTOBER).status_code == status


def test_every_page_lets_a_browser_do_nothing_else_with_it(world: World) -> None:
    clerk, report = logged_in(world), world.completed()["id"]
    for path in (*PAGES, f"/reports/{report}", f"/reports/{report}/delete"):
        answer = clerk.get(path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|javascript:", answer.text), path
        assert not re.search(r'(src|href|action)="(?!/console|#)', answer.text), f"{path} leads elsewhere"


def test_the_token_is_in_no_page_no_address_and_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clerk, token = Clerk(world), world.token("P-alpha")
    report = world.completed()["id"]
    answers = [clerk.log_in(token, "/reports"), *(clerk.get(path) for path in (*PAGES, f"/reports/{report}"))]
    answers.append(clerk.get(f"/reports/{report}/download"))
    signature = token.split(".")[2]
    for answer in answers:
        assert signature not in answer.text
        assert signature not in answer.headers.get("location", "")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("rtmeter")]
    assert any("/console/login" in line for line in lines)
    assert not any(signature in line or "eyJ" in line for line in lines)
