"""Who may see and do what in the console: every route × every kind of caller, as for the API."""

from itertools import product

import httpx
import pytest

from billing.api.scopes import Scope
from billing.ids import new_report_id
from tests.billing.api.test_access import BAD_TOKENS, CHILD, OTHER, PARENT, SIBLING
from tests.billing.api.world import World
from tests.billing.console.clerk import HOME, Clerk, logged_in, without_tracking_id
from tests.billing.console.entries import ENTRIES, Entry

Route = tuple[str, str]
WITH_SESSION = {route: entry for route, entry in ENTRIES.items() if not entry.public}
OF_A_REPORT = {route: entry for route, entry in WITH_SESSION.items() if entry.of_a_report}
POSTS = [route for route in WITH_SESSION if route[0] == "POST"]


def names(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else "-"


each_route = pytest.mark.parametrize(("route", "entry"), WITH_SESSION.items(), ids=names)
each_route_of_a_report = pytest.mark.parametrize(("route", "entry"), OF_A_REPORT.items(), ids=names)
each_post = pytest.mark.parametrize("route", POSTS, ids=names)


def try_it(clerk: Clerk, route: Route, report_id: str = "", form_token: str | None = None) -> httpx.Response:
    method, path = route[0], route[1].removeprefix(HOME).replace("{report_id}", report_id)
    return clerk.get(path) if method == "GET" else clerk.post(path, form_token, **ENTRIES[route].fields)


def with_form(clerk: Clerk, route: Route, report_id: str = "") -> httpx.Response:
    """The same with the form's token, where one is needed."""
    form_token = clerk.form_token() if route[0] == "POST" else None
    return try_it(clerk, route, report_id, form_token)


@each_route
def test_the_owner_may(world: World, route: Route, entry: Entry) -> None:
    report = world.completed(PARENT)
    answer = with_form(logged_in(world), route, report["id"])
    assert answer.status_code == entry.success, answer.text


@each_route_of_a_report
def test_a_parent_may_what_its_sub_partner_may(world: World, route: Route, entry: Entry) -> None:
    report = world.completed(CHILD)
    assert with_form(logged_in(world, PARENT), route, report["id"]).status_code == entry.success


@each_route
def test_without_a_good_token_one_is_sent_to_the_log_in(world: World, route: Route, entry: Entry) -> None:
    report = world.completed(PARENT)
    for (kind, token_of), report_id in product(BAD_TOKENS.items(), (report["id"], "no-such-report")):
        clerk, token = Clerk(world), token_of(world)
        if token is not None:
            clerk.have(token)
        answer = try_it(clerk, route, report_id, "x")
        assert answer.status_code == 303, kind
        assert answer.headers["location"].split("?")[0] == f"{HOME}/login"
        assert answer.content == b""
    assert world.register.get(report["id"]) is not None


@each_route
def test_a_token_without_a_scope_that_is_needed_is_403(world: World, route: Route, entry: Entry) -> None:
    report = world.completed(PARENT)
    form_token = None
    for lacking in entry.scopes:
        clerk = logged_in_whatever(world, [scope for scope in Scope if scope is not lacking])
        if route[0] == "POST":
            form_token = clerk.form_token()
        answer = try_it(clerk, route, report["id"], form_token)
        assert answer.status_code == 403, lacking
        assert f"lacks the scope {lacking}" in answer.text
    assert world.register.get(report["id"]) is not None


def logged_in_whatever(world: World, scopes: list[Scope]) -> Clerk:
    return logged_in(world, PARENT, *scopes)


@each_route_of_a_report
@pytest.mark.parametrize(
    ("owner", "caller"),
    [(PARENT, OTHER), (PARENT, CHILD), (CHILD, SIBLING), (CHILD, OTHER), (OTHER, PARENT), (PARENT, "no-such-org")],
)
def test_what_is_anothers_answers_as_what_does_not_exist(
    world: World, route: Route, entry: Entry, owner: str, caller: str
) -> None:
    foreign = world.completed(owner)["id"]
    clerk = logged_in(world, caller)
    answers = [
        with_form(clerk, route, report_id) for report_id in (foreign, new_report_id(), "no-such-report", "' OR 1=1 --")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({without_tracking_id(answer) for answer in answers}) == 1
    assert len({str(sorted(set(answer.headers) - {"trackingid"})) for answer in answers}) == 1
    assert "No such report" in answers[0].text
    assert world.register.get(foreign) is not None


def test_lists_and_usage_are_of_ones_own_and_ones_sub_partners_only(world: World) -> None:
    made = {org: world.completed(org)["id"] for org in (PARENT, CHILD, SIBLING, OTHER)}

    def seen(org: str) -> set[str]:
        page = logged_in(world, org).get("/reports").text
        return {org for org, report_id in made.items() if report_id in page}

    assert seen(PARENT) == {PARENT, CHILD, SIBLING}
    assert seen(CHILD) == {CHILD}
    assert seen(OTHER) == {OTHER}
    assert seen("no-such-org") == set()
    refused = logged_in(world, OTHER).get("", start="2026-10-01", end="2026-10-31", subPartner=CHILD)
    unknown = logged_in(world, OTHER).get("", start="2026-10-01", end="2026-10-31", subPartner="no-such")
    assert refused.status_code == unknown.status_code == 400
    assert "not a sub-partner of yours" in refused.text
    assert "not a sub-partner of yours" in unknown.text


@each_post
def test_no_form_is_taken_that_this_session_was_not_given(world: World, route: Route) -> None:
    report = world.completed(PARENT)
    token = world.token(PARENT)
    clerk, earlier, other = Clerk(world), Clerk(world), logged_in(world, OTHER)
    earlier.log_in(token)
    clerk.log_in(token)
    at_the_door = clerk.get("/login").text.partition('name="form" value="')[2][:64]
    forged = {"none": None, "empty": "", "garbage": "é" * 64, "another's": other.form_token(), "of an earlier log-in with the same token": earlier.form_token(), "of the log-in": at_the_door, "cut": clerk.form_token()[:-1]}  # fmt: skip
    before = len(world.register.newest([PARENT], 10))
    for kind, form_token in forged.items():
        answer = try_it(clerk, route, report["id"], form_token)
        assert answer.status_code == 403, kind
        assert "out of date" in answer.text
        assert "set-cookie" not in answer.headers
    assert len(world.register.newest([PARENT], 10)) == before
    assert world.register.get(report["id"]) is not None
    assert with_form(clerk, route, report["id"]).status_code == ENTRIES[route].success


def test_what_a_token_does_not_allow_is_not_offered(world: World) -> None:
    report = world.completed(PARENT)["id"]
    reader, writer = logged_in(world, PARENT, Scope.REPORTS_READ), logged_in(world, PARENT)
    for path, offered in (("/reports", "/reports/new"), (f"/reports/{report}", f"/reports/{report}/delete")):
        assert offered in writer.get(path).text
        assert offered not in reader.get(path).text
    assert "<select" in writer.get("/explain").text
    assert "<select" not in reader.get("/explain").text
