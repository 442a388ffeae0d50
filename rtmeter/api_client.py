"""`rtmeter report` through a running API: create, wait, download, and leave nothing behind."""

import os
import time
from collections.abc import Iterator
from typing import Any

import httpx

from billing.api.scopes import Scope
from billing.api.tokens import mint_token
from billing.report import NotAChild, ReportRequest
from rtmeter.installation import Installation
from rtmeter.output import say
from schemas.instants import day_text

TOKEN_VARIABLE = "RTMETER_API_TOKEN"
_PERSON = "rtmeter-report"
_TOKEN_SECONDS = 3600
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 60
_REPORTS = "/v1/wholesale/billing/reports"


class ApiFailed(ConnectionError):
    """The API did not give the report. The message is what it said."""


def report_from_api(url: str, installation: Installation, request: ReportRequest) -> Iterator[bytes]:
    """The CSV of a report, in pieces. ApiFailed when the API refuses or fails; NotAChild for a foreign sub-partner."""
    token = os.environ.get(TOKEN_VARIABLE) or mint_token(
        installation.keys_folder, request.partner_id, _PERSON, list(Scope), _TOKEN_SECONDS
    )
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=_ANSWER_SECONDS) as client:
        report_id, ours = _create(client, request)
        try:
            report = _completed(client, report_id)
            if count := report.headers.get("rtmeter-notes"):
                details = client.get(f"/v1/rtmeter/reports/{report_id}/details").json()
                for note in details["notes"][: int(count)]:
                    say(f"rtmeter: note: {note}")
            # Without the token: the link is all that is needed, and may lead elsewhere.
            with httpx.stream("GET", report.json()["tempDownloadURL"], timeout=_ANSWER_SECONDS) as download:
                if download.status_code != 200:
                    raise ApiFailed(f"the download was refused: {download.status_code}")
                yield from download.iter_bytes()
        finally:
            if ours:
                client.delete(f"{_REPORTS}/{report_id}")


def _create(client: httpx.Client, request: ReportRequest) -> tuple[str, bool]:
    """The id of the report, and whether it is ours to delete."""
    body: dict[str, Any] = {
        "billingStartDate": day_text(request.first_day),
        "billingEndDate": day_text(request.last_day),
        "type": request.report_type,
        "internal": request.internal,
    }
    if request.sub_partner_id is not None:
        body["subPartnerOrgId"] = request.sub_partner_id
    answer = client.post(_REPORTS, json=body)
    if answer.status_code == 200:
        return answer.json()["id"], True
    error = _error(answer)
    if error.get("errorCode") == 2009:
        found = str(error["description"]).rpartition(": ")[2]
        say("rtmeter: note: there is a completed report of this type and period; this is what it holds")
        return found, False
    if error.get("errorCode") == 2007:
        raise NotAChild(f"{request.sub_partner_id} is not a sub-partner of {request.partner_id}")
    raise ApiFailed(f"the API answers {answer.status_code}: {error.get('description')}")


def _completed(client: httpx.Client, report_id: str) -> httpx.Response:
    while True:
        answer = client.get(f"{_REPORTS}/{report_id}")
        if answer.status_code == 429:
            time.sleep(int(answer.headers["retry-after"]))
            continue
        if answer.status_code != 200:
            raise ApiFailed(f"the API answers {answer.status_code}: {_error(answer).get('description')}")
        report = answer.json()
        if report["status"] == "COMPLETED":
            return answer
        if report["status"] == "FAILED":
            raise ApiFailed(f"the report failed: {report['errors'][0]['description']}")
        time.sleep(_POLL_SECONDS)


def _error(answer: httpx.Response) -> dict[str, Any]:
    try:
        return dict(answer.json()["errors"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return {"description": answer.text[:200]}
