"""One API in this process, with everything a test may want to move: its clock, its callers, its jobs."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from starlette.testclient import TestClient

from billing.api.app import create_app, guarded
from billing.api.scopes import Scope
from billing.api.settings import ApiSettings
from billing.api.tokens import LOCAL_AUDIENCE, LOCAL_ISSUER, make_local_key
from billing.dismissals import Dismissals
from billing.export import export_csv, notes_with
from billing.jobs.files import ReportFiles
from billing.jobs.register import ReportRegister
from billing.jobs.reports import ReportCategory
from billing.jobs.runner import JobRunner, RunnerSettings
from billing.point_in_time import point_in_time_csv
from billing.relational.connect import open_engine, upgrade
from schemas.instants import parse_time_ms
from sinks.store import open_for_reading

PUBLIC_URL = "https://billing.example"
REPORTS = "/v1/wholesale/billing/reports"
SUB_PARTNERS = "/v1/wholesale/subPartners"
_EVERYTHING = " ".join(Scope)
KEYS = "first:0123456789abcdef0123456789abcdef"


class World:
    """The API, and hands on its parts. `now_ms` starts on 15 November 2026, noon."""

    def __init__(self, folder: Path, month_folder: Path, **settings: Any) -> None:
        self.now_ms = parse_time_ms("2026-11-15T12:00:00Z")
        self.keys = folder / "keys"
        given = {
            "public_url": PUBLIC_URL,
            "jwks": str(make_local_key(self.keys)),
            "issuer": LOCAL_ISSUER,
            "audience": LOCAL_AUDIENCE,
            "link_keys": KEYS,
            "requests_per_minute": 100_000,
        }
        self.settings = ApiSettings.load(**{**given, **settings})
        engine = open_engine(f"sqlite:///{folder / 'billing.db'}")
        upgrade(engine)
        self.register = ReportRegister(engine, lambda: self.now_ms)
        self.dismissals = Dismissals(engine)
        self.files = ReportFiles((folder / "reports").as_uri())

        def open_store() -> Any:
            return open_for_reading(None, month_folder / "store")

        exports = {ReportCategory.RECONCILIATION: export_csv, ReportCategory.POINT_IN_TIME: point_in_time_csv}
        self.jobs = JobRunner(
            self.register,
            self.files,
            open_store,
            RunnerSettings("test"),
            notes=notes_with(self.dismissals.letters),
            exports=exports,
        )
        self.app = create_app(
            self.settings,
            self.register,
            self.files,
            open_store,
            lambda: self.now_ms,
            dismissed=self.dismissals.letters,
        )
        # A bug must be answered as a client sees it, not raised into the test.
        self.client = TestClient(guarded(self.app), PUBLIC_URL, raise_server_exceptions=False)

    def token(self, org: Any, scopes: Any = _EVERYTHING, **claims: Any) -> str:
        """A token of the local key; claims given as None are left out."""
        now = int(time.time())
        standing = {
            "iss": LOCAL_ISSUER,
            "aud": LOCAL_AUDIENCE,
            "sub": "clerk",
            "org": org,
            "scope": scopes,
            "exp": now + 600,
        }
        kept = {name: value for name, value in {**standing, **claims}.items() if value is not None}
        key: Any = load_pem_private_key((self.keys / "token-key.pem").read_bytes(), None)
        return jwt.encode(kept, key, "EdDSA", {"kid": "local"})

    def foreign_token(self, org: str) -> str:
        """A token that says all the right things, of another key under the same name."""
        claims = jwt.decode(self.token(org), options={"verify_signature": False})
        return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", {"kid": "local"})

    def ask(self, method: str, path: str, org: str | None = "P-alpha", **more: Any) -> httpx.Response:
        """A request of an org; None: without a token."""
        headers = {} if org is None else {"Authorization": f"Bearer {self.token(org)}"}
        return self.client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)

    def create(self, org: str = "P-alpha", **body: Any) -> httpx.Response:
        standing = {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-31", "type": "CUSTOMER"}
        return self.ask("POST", REPORTS, org, json={**standing, **body})

    def completed(self, org: str = "P-alpha", **body: Any) -> dict[str, Any]:
        """A report as GET answers it once it is made."""
        report_id = self.create(org, **body).json()["id"]
        while self.jobs.run_one():
            pass
        report: dict[str, Any] = self.ask("GET", f"{REPORTS}/{report_id}", org).json()
        assert report["status"] == "COMPLETED", report
        return report


def error_of(answer: httpx.Response, status: int, code: int) -> Mapping[str, Any]:
    """The body of an error, checked for the one form that all have."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"message", "errors", "trackingId"}
    (error,) = body["errors"]
    assert error.keys() == {"errorCode", "description"}
    assert error["errorCode"] == code
    assert error["description"] == body["message"] != ""
    assert answer.headers["trackingid"] == body["trackingId"] != ""
    assert "Traceback" not in answer.text
    return error
