"""Who may what: every route × every kind of caller × every kind of id. A new route without an entry here fails.

What is another's and what does not exist must answer alike: the same status, the same body but for the tracking id.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from msgspec import Struct

from billing.api.scopes import Scope
from billing.ids import new_report_id
from tests.billing.api.world import World, error_of
from tests.billing.console.entries import ENTRIES as CONSOLE_ENTRIES

#: A partner, its sub-partner (`child`), another one of its sub-partners (`sibling`), and one of another tree.
PARENT, CHILD, SIBLING, OTHER = "P-alpha", "S-one", "S-two", "P-beta"
PERIOD = {"start": "2026-10-01", "end": "2026-10-31"}
READ, WRITE, SUB_PARTNERS = Scope.REPORTS_READ, Scope.REPORTS_WRITE, Scope.SUB_PARTNERS_READ


class Entry(Struct, frozen=True):
    """How a route is tried. `of_a_report`: its path has a report's id. `public`: it needs no token."""

    scope: Scope | None
    success: int = 200
    of_a_report: bool = True
    body: dict[str, Any] | None = None
    query: dict[str, str] | None = None
    public: bool = False


NEW = {"billingStartDate": "2026-10-05", "billingEndDate": "2026-10-06"}
ENTRIES = {
    ("POST", "/v1/wholesale/billing/reports"): Entry(WRITE, of_a_report=False, body=NEW),
    ("GET", "/v1/wholesale/billing/reports"): Entry(READ, of_a_report=False),
    ("GET", "/v1/wholesale/billing/reports/{report_id}"): Entry(READ),
    ("DELETE", "/v1/wholesale/billing/reports/{report_id}"): Entry(WRITE, 204),
    ("GET", "/v1/wholesale/subPartners"): Entry(SUB_PARTNERS, of_a_report=False),
    # Who may download is a matter of the link: see test_downloads.py. Without one nobody may.
    ("GET", "/v1/downloads/{report_id}.csv"): Entry(None, 404, public=True),
    ("HEAD", "/v1/downloads/{report_id}.csv"): Entry(None, 404, public=True),
    # Of load balancers, which have no token: see test_observed.py.
    ("GET", "/healthz"): Entry(None, of_a_report=False, public=True),
    ("GET", "/readyz"): Entry(None, of_a_report=False, public=True),
    ("GET", "/v1/rtmeter/reports/{report_id}/details"): Entry(READ),
    ("GET", "/v1/rtmeter/reports/{report_id}/json"): Entry(READ),
    ("GET", "/v1/rtmeter/reports/{report_id}/parquet"): Entry(READ),
    ("POST", "/v1/rtmeter/reports"): Entry(WRITE, of_a_report=False, body={"type": "USER"}),
    ("GET", "/v1/rtmeter/usage/daily"): Entry(READ, of_a_report=False, query=PERIOD),
    ("GET", "/v1/rtmeter/explain"): Entry(
        READ, of_a_report=False, query={**PERIOD, "customerOrgId": "c-7-7", "subscriberId": "s"}
    ),
}
#: The framework's own, without data: the description of our extensions.
DOCUMENTATION = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}
WITH_TOKEN = {key: entry for key, entry in ENTRIES.items() if not entry.public}
OF_A_REPORT = {key: entry for key, entry in WITH_TOKEN.items() if entry.of_a_report}

each_route = pytest.mark.parametrize(("route", "entry"), WITH_TOKEN.items(), ids=lambda value: str(value)[:60])
each_route_of_a_report = pytest.mark.parametrize(
    ("route", "entry"), OF_A_REPORT.items(), ids=lambda value: str(value)[:60]
)


def routes_of(world: World) -> Iterator[tuple[str, str]]:
    """Every route of the application; the framework shows those of an included router through the router."""
    for route in world.app.routes:
        included = getattr(route, "effective_route_contexts", None)
        for found in [route] if included is None else included():
            if found.path not in DOCUMENTATION:
                yield from ((method, found.path) for method in found.methods)


def try_it(
    world: World, route: tuple[str, str], entry: Entry, token: str | None, report_id: str = ""
) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    method, path = route
    return world.client.request(
        method, path.replace("{report_id}", report_id), headers=headers, json=entry.body, params=entry.query
    )


def test_every_route_has_an_entry(world: World) -> None:
    assert sorted(routes_of(world)) == sorted({*ENTRIES, *CONSOLE_ENTRIES})


@each_route
def test_the_owner_may(world: World, route: tuple[str, str], entry: Entry) -> None:
    report = world.completed(PARENT)
    answer = try_it(world, route, entry, world.token(PARENT, entry.scope), report["id"])
    assert answer.status_code == entry.success, answer.text


@each_route_of_a_report
def test_a_parent_may_what_its_sub_partner_may(world: World, route: tuple[str, str], entry: Entry) -> None:
    report = world.completed(CHILD)
    assert try_it(world, route, entry, world.token(PARENT), report["id"]).status_code == entry.success


Tokens = dict[str, Callable[[World], str | None]]
BAD_TOKENS: Tokens = {
    "none": lambda _: None,
    "garbage": lambda _: "garbage",
    "expired": lambda world: world.token(PARENT, exp=1_700_000_000),
    "without expiry": lambda world: world.token(PARENT, exp=None),
    "wrong audience": lambda world: world.token(PARENT, aud="another"),
    "wrong issuer": lambda world: world.token(PARENT, iss="another"),
    "without org": lambda world: world.token(None),
    "org that is no text": lambda world: world.token(["P-alpha"]),
    "without person": lambda world: world.token(PARENT, sub=None),
    "not valid yet": lambda world: world.token(PARENT, nbf=4_000_000_000),
    "of another key": lambda world: world.foreign_token(PARENT),
    "unsigned": lambda _: "eyJhbGciOiJub25lIn0.eyJvcmciOiJQLWFscGhhIn0.",
}


@each_route
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_without_a_good_token_nobody_may(world: World, route: tuple[str, str], entry: Entry, kind: str) -> None:
    report = world.completed(PARENT)
    token = BAD_TOKENS[kind](world)
    bodies = []
    for report_id in (report["id"], new_report_id(), "no-such-report"):
        answer = try_it(world, route, entry, token, report_id)
        error_of(answer, 401, 2012)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        bodies.append(_without_tracking_id(answer))
    assert bodies[0] == bodies[1] == bodies[2]
    assert world.register.get(report["id"]) is not None


@each_route
def test_a_token_without_the_scope_is_403(world: World, route: tuple[str, str], entry: Entry) -> None:
    report = world.completed(PARENT)
    wrong = " ".join(scope for scope in Scope if scope is not entry.scope)
    for report_id in (report["id"], new_report_id()):
        error_of(try_it(world, route, entry, world.token(PARENT, wrong), report_id), 403, 2013)
    assert world.register.get(report["id"]) is not None


@each_route_of_a_report
@pytest.mark.parametrize(
    ("owner", "caller"),
    [(PARENT, OTHER), (PARENT, CHILD), (CHILD, SIBLING), (CHILD, OTHER), (OTHER, PARENT), (PARENT, "no-such-org")],
)
def test_what_is_anothers_answers_as_what_does_not_exist(
    world: World, route: tuple[str, str], entry: Entry, owner: str, caller: str
) -> None:
    foreign = world.completed(owner)["id"]
    deleted = world.completed(caller)["id"] if caller != "no-such-org" else new_report_id()
    world.ask("DELETE", f"/v1/wholesale/billing/reports/{deleted}", caller)
    token = world.token(caller)
    answers = [
        try_it(world, route, entry, token, report_id)
        for report_id in (foreign, deleted, new_report_id(), "no-such-report", "' OR 1=1 --")
    ]
    for answer in answers:
        error_of(answer, 404, 2024)
    assert len({str(_without_tracking_id(answer)) for answer in answers}) == 1
    assert len({str(sorted(set(answer.headers) - {"trackingid"})) for answer in answers}) == 1
    assert world.register.get(foreign) is not None


def test_lists_hold_ones_own_and_ones_sub_partners_reports_only(world: World) -> None:
    made = {org: world.completed(org)["id"] for org in (PARENT, CHILD, SIBLING, OTHER)}

    def seen(org: str) -> set[str]:
        return {item["id"] for item in world.ask("GET", "/v1/wholesale/billing/reports", org).json()["items"]}

    assert seen(PARENT) == {made[PARENT], made[CHILD], made[SIBLING]}
    assert seen(CHILD) == {made[CHILD]}
    assert seen(OTHER) == {made[OTHER]}
    assert seen("no-such-org") == set()


def test_usage_and_explanations_are_of_ones_own_customers_only(world: World) -> None:
    def owners(org: str, **query: str) -> set[str]:
        items = world.ask("GET", "/v1/rtmeter/usage/daily", org, params={**PERIOD, **query}).json()["items"]
        return {item["orgId"] for item in items}

    assert owners(PARENT) == {PARENT, CHILD, SIBLING}
    assert owners(PARENT, subPartnerOrgId=CHILD) == {CHILD}
    assert owners(CHILD) == {CHILD}
    error_of(world.ask("GET", "/v1/rtmeter/usage/daily", OTHER, params={**PERIOD, "subPartnerOrgId": CHILD}), 400, 2007)
    rows = world.client.get(world.completed(OTHER, type="USER")["tempDownloadURL"]).text.splitlines()
    row = rows[1].split(",")
    theirs = {**PERIOD, "customerOrgId": row[2], "subscriberId": row[12]}
    assert world.ask("GET", "/v1/rtmeter/explain", OTHER, params=theirs).json()["intervals"]
    assert world.ask("GET", "/v1/rtmeter/explain", PARENT, params=theirs).json()["intervals"] == []


def test_the_scheme_is_bearer_in_any_case(world: World) -> None:
    token = world.token(PARENT)
    for scheme, status in (("Bearer", 200), ("bearer", 200), ("Basic", 401), ("", 401)):
        headers = {"Authorization": f"{scheme} {token}".strip()}
        assert world.client.get("/v1/wholesale/subPartners", headers=headers).status_code == status


def _without_tracking_id(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "trackingId"}
