"""Who looks at a page: a bearer token in a cookie, judged at each request by what judges it for the API.

Nothing is kept on this side, so any number of API processes may serve one clerk. Each form carries a token of its own,
an HMAC over the cookie: who cannot read the cookie cannot make one, and a new log-in makes all earlier ones useless.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from billing.api.errors import ApiError, ErrorCode
from billing.api.scopes import Scope
from billing.api.services import Services
from billing.api.settings import ApiSettings
from billing.api.tokens import Caller

_SESSION, _ENTRY = "rtmeter-console", "rtmeter-console-entry"
#: Browsers keep no cookie of more than 4,096 bytes, name included, and say nothing.
MOST_TOKEN_CHARACTERS = 3_800
_NONCE_BYTES = 16


class Visit(Struct, frozen=True):
    """A request of a caller, and what its forms must carry."""

    caller: Caller
    form_token: str

    def may(self, scope: Scope) -> bool:
        """Whether the token allows it: what it does not is not offered."""
        return scope in self.caller.scopes


def home_of(settings: ApiSettings) -> str:
    """The path of the console as a browser sees it: behind the path, if any, of the public URL."""
    return urlsplit(settings.base_url).path + "/console"


def enter(services: Services, request: Request, scope: Scope | None = None) -> Visit:
    """Who asks, if it may: ApiError 401 without a good session, 403 without the scope, 429."""
    kept = request.cookies.get(_name(services.settings, _SESSION), "")
    _, _, token = kept.partition(".")
    caller = services.caller_of(f"Bearer {token}" if token else None)
    if scope is not None:
        caller.need(scope)
    return Visit(caller, _form_token(services.settings, kept))


def enter_by_form(services: Services, request: Request, fields: dict[str, str], scope: Scope | None = None) -> Visit:
    """As `enter`, of a form that was sent: ApiError 403 also if it is none that this session was given."""
    visit = enter(services, request)
    need_form(services, request.cookies[_name(services.settings, _SESSION)], fields)
    if scope is not None:
        visit.caller.need(scope)
    return visit


def need_form(services: Services, bound_to: str, fields: dict[str, str]) -> None:
    """ApiError 403 unless a form carries the token that the cookie it is bound to gives, under any key in use."""
    given = fields.get("form", "").encode(errors="replace")
    # All are compared, so that the time taken does not tell which key was near.
    good = [
        hmac.compare_digest(_mac(secret, bound_to).encode(), given)
        for secret in services.settings.signing_keys.values()
    ]
    if not bound_to or not any(good):
        raise ApiError(403, ErrorCode.NOT_ALLOWED, "The form was not made for this session.")


def entry(services: Services, request: Request) -> str:
    """The cookie of a browser at the door, which the form of the log-in is bound to; a new one if it has none."""
    return kept_entry(services, request) or secrets.token_urlsafe(_NONCE_BYTES)


def kept_entry(services: Services, request: Request) -> str:
    """The same, empty if there is none."""
    return request.cookies.get(_name(services.settings, _ENTRY), "")


def entry_form_token(services: Services, kept: str) -> str:
    return _form_token(services.settings, kept)


def keep_entry(services: Services, response: Response, kept: str) -> None:
    _set(services.settings, response, _ENTRY, kept, None)


def begin(services: Services, response: Response, token: str, caller: Caller) -> None:
    """Keep a token that was judged good in the browser, no longer than it lives. A nonce makes each log-in another."""
    until = datetime.fromtimestamp(caller.expires_s, UTC)
    _set(services.settings, response, _SESSION, f"{secrets.token_urlsafe(_NONCE_BYTES)}.{token}", until)


def end(services: Services, response: Response) -> None:
    """Forget the session in the browser. The token itself lives on where else it is kept: its issuer ends it."""
    _set(services.settings, response, _SESSION, "", datetime.fromtimestamp(0, UTC))


def _set(settings: ApiSettings, response: Response, cookie: str, value: str, until: datetime | None) -> None:
    response.set_cookie(
        _name(settings, cookie),
        value,
        expires=until,
        path=home_of(settings),
        secure=_is_secure(settings),
        httponly=True,
        samesite="strict",
    )


def _name(settings: ApiSettings, cookie: str) -> str:
    # With the prefix a browser takes the cookie from an https page alone: no one in between can plant one.
    return f"__Secure-{cookie}" if _is_secure(settings) else cookie


def _is_secure(settings: ApiSettings) -> bool:
    return settings.base_url.startswith("https://")


def _form_token(settings: ApiSettings, bound_to: str) -> str:
    return _mac(next(iter(settings.signing_keys.values())), bound_to)


def _mac(secret: bytes, bound_to: str) -> str:
    # A key of its own: what signs a download link must not sign a form.
    key = hmac.new(secret, b"rtmeter console form", hashlib.sha256).digest()
    return hmac.new(key, bound_to.encode(errors="replace"), hashlib.sha256).hexdigest()
