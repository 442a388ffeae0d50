"""A clerk at the console: a browser without eyes, which keeps cookies and sends forms as they stand in the page."""

import re
from html import unescape

import httpx
from starlette.testclient import TestClient

from billing.api.app import guarded
from tests.billing.api.world import PUBLIC_URL, World

HOME = "/console"
SESSION = "__Secure-rtmeter-console"
OCTOBER = {"start": "2026-10-01", "end": "2026-10-31"}


class Clerk:
    """Follows no redirects: where one is sent is part of the answer."""

    def __init__(self, world: World, url: str = PUBLIC_URL) -> None:
        self.client = TestClient(guarded(world.app), url, raise_server_exceptions=False, follow_redirects=False)

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.client.get(HOME + path, params=query or None)

    def post(self, path: str, form_token: str | None, **fields: str) -> httpx.Response:
        """A form that is sent; None: without the token that it should carry."""
        # Some field in any case: without one nothing says that it is a form.
        sent = {"sent": "yes", **fields, **({} if form_token is None else {"form": form_token})}
        return self.client.post(HOME + path, data=sent)

    def log_in(self, token: str, then: str = "") -> httpx.Response:
        page = self.get("/login", then=then)
        return self.post("/login", form_token_of(page), token=token, then=field_of(page, "then"))

    def form_token(self) -> str:
        """As the header's log-out form has it; every form of a session has the same."""
        return form_token_of(self.get("/explain"))

    def have(self, token: str) -> None:
        """A cookie such as a log-in with this token gives, however bad the token is."""
        self.client.cookies.set(SESSION, f"nonce.{token}", domain="billing.example", path=HOME)


def logged_in(world: World, org: str = "P-alpha", *scopes: str) -> Clerk:
    """A clerk of an org, with a token of these scopes, or of all."""
    clerk = Clerk(world)
    token = world.token(org, " ".join(scopes)) if scopes else world.token(org)
    answer = clerk.log_in(token)
    assert (answer.status_code, answer.headers["location"]) == (303, HOME)
    return clerk


def form_token_of(page: httpx.Response) -> str:
    return field_of(page, "form")


def field_of(page: httpx.Response, name: str) -> str:
    """The value of the first field of a name."""
    (value, *_) = re.findall(rf'name="{name}" value="([^"]*)"', page.text)
    return unescape(value)


def text_of(page: httpx.Response) -> str:
    """What a reader reads, in one line."""
    body = page.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def without_tracking_id(page: httpx.Response) -> str:
    return page.text.replace(page.headers["trackingid"], "")
