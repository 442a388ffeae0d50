"""Every route of the console, and how it is tried. A new one without an entry here fails tests/billing/api/test_access.py."""

from msgspec import Struct

from billing.api.scopes import Scope

READ, WRITE = Scope.REPORTS_READ, Scope.REPORTS_WRITE


class Entry(Struct, frozen=True):
    """`scopes`: all that it needs. `of_a_report`: its path has a report's id. `public`: it needs no session."""

    scopes: tuple[Scope, ...] = (READ,)
    success: int = 200
    of_a_report: bool = False
    fields: dict[str, str] = {}
    public: bool = False


ENTRIES = {
    ("GET", "/console"): Entry(),
    # Each sends one elsewhere, or says how to log in: nothing of anybody is in them.
    ("GET", "/console/"): Entry((), 308, public=True),
    ("GET", "/console/login"): Entry((), public=True),
    ("POST", "/console/login"): Entry((), 403, public=True),
    ("GET", "/console/static/{name}"): Entry((), 404, public=True),
    ("POST", "/console/logout"): Entry((), 303),
    ("GET", "/console/reports"): Entry(),
    ("POST", "/console/reports"): Entry(
        (WRITE,), 303, fields={"type": "CUSTOMER", "start": "2026-10-05", "end": "2026-10-06"}
    ),
    ("GET", "/console/reports/new"): Entry((WRITE,)),
    ("GET", "/console/reports/{report_id}"): Entry(of_a_report=True),
    ("GET", "/console/reports/{report_id}/download"): Entry((READ,), 303, of_a_report=True),
    ("GET", "/console/reports/{report_id}/delete"): Entry((READ, WRITE), of_a_report=True),
    ("POST", "/console/reports/{report_id}/delete"): Entry((WRITE,), 303, of_a_report=True),
    ("GET", "/console/explain"): Entry(),
}
