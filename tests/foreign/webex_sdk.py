"""What webexpythonsdk's session does with the API; run in the environment of the foreign clients.

Exits 0 when all of it worked. RTMETER_URL and RTMETER_TOKEN say where and who.
"""

import os
import time
from collections.abc import Callable

from webexpythonsdk import ApiError
from webexpythonsdk.restsession import RestSession

REPORTS = "wholesale/billing/reports"
OCTOBER = {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-31"}


def refusal(call: Callable[[], object]) -> int | None:
    """The status with which a call is refused, and the session understands why; None if it is not."""
    try:
        call()
    except ApiError as error:
        return error.status_code if error.message else 0
    return None


session = RestSession(os.environ["RTMETER_TOKEN"], os.environ["RTMETER_URL"] + "/v1/")
made = [session.post(REPORTS, json={**OCTOBER, "type": kind})["id"] for kind in ("PARTNER", "CUSTOMER", "USER")]
for report_id in made:
    while (report := session.get(f"{REPORTS}/{report_id}"))["status"] == "IN_PROGRESS":
        time.sleep(0.1)
    assert report["status"] == "COMPLETED", report
    assert report["tempDownloadURL"].startswith("http"), report
# Pages of one: the session follows the links by itself.
listed = [item["id"] for item in session.get_items(REPORTS, params={"max": 1, **OCTOBER})]
assert sorted(listed) == sorted(made), listed
assert [item["provisioningState"] for item in session.get_items("wholesale/subPartners")] == ["active", "suspended"]
assert refusal(lambda: session.post(REPORTS, json={**OCTOBER, "type": "USER"})) == 409, "a completed twin"
for report_id in made:
    session.delete(f"{REPORTS}/{report_id}")
assert list(session.get_items(REPORTS)) == []
assert refusal(lambda: session.get(f"{REPORTS}/{made[0]}")) == 404, "it was deleted"
