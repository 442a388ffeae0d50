"""What the routes work with, and how a request gets to its caller."""

import threading
from collections.abc import Callable

from starlette.requests import Request

from billing.api.directory import Directory
from billing.api.limits import RateLimit
from billing.api.links import LinkSigner
from billing.api.readiness import Readiness
from billing.api.scopes import Scope
from billing.api.settings import ApiSettings
from billing.api.tokens import Caller, TokenJudge
from billing.dismissals import Dismissed
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from schemas.topics import TopicNames
from sinks.store import ReadableStore
from streams.clock import clock_ms


class Services:
    """The parts of one API process."""

    def __init__(
        self,
        settings: ApiSettings,
        register: ReportRegister,
        files: ReportFiles,
        open_store: Callable[[], ReadableStore],
        now_ms: Callable[[], int] = clock_ms,
        wake_jobs: Callable[[], None] = lambda: None,
        topic_prefix: str = "",
        *,
        dismissed: Dismissed,
    ) -> None:
        self.settings = settings
        self.register = register
        self.files = files
        self.open_store = open_store
        self.now_ms = now_ms
        self.wake_jobs = wake_jobs
        self.dismissed = dismissed
        #: Of the topics whose raw events the store holds.
        self.names = TopicNames.with_prefix(topic_prefix)
        self.directory = Directory(open_store)
        self.readiness = Readiness(register, open_store, now_ms)
        self.links = LinkSigner(settings.signing_keys)
        self.tokens = TokenJudge(settings.jwks, settings.issuer, settings.audience)
        self.rate_limit = RateLimit(settings.requests_per_minute, now_ms)
        #: So many queries of extensions run at a time: they cost more than all else that is answered at once.
        self.queries = threading.BoundedSemaphore(4)

    def caller(self, request: Request, scope: Scope) -> Caller:
        """Who asks, if it may: ApiError 401, 403 or 429."""
        caller = self.caller_of(request.headers.get("authorization"))
        caller.need(scope)
        return caller

    def caller_of(self, authorization: str | None) -> Caller:
        """Whose token an `Authorization` header has, whatever it allows: ApiError 401 or 429."""
        caller = self.tokens.caller(authorization)
        self.rate_limit.take(caller.org_id)
        return caller


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    found: Services = request.app.state.services
    return found
