"""What a client that openapi-python-client made from the contract does with the API.

Run in the environment of the foreign clients, with the generated package `wholesale` on the path. Exits 0 when all worked.
"""

import os
import time

import httpx
from wholesale import AuthenticatedClient
from wholesale.api.wholesale_billing_reports import (
    create_a_wholesale_billing_report as create,
)
from wholesale.api.wholesale_billing_reports import (
    delete_a_wholesale_billing_report as delete,
)
from wholesale.api.wholesale_billing_reports import (
    get_a_wholesale_billing_report as get,
)
from wholesale.api.wholesale_billing_reports import (
    list_wholesale_billing_reports as list_reports,
)
from wholesale.api.wholesale_provisioning import list_wholesale_sub_partners
from wholesale.models import CreateAWholesaleBillingReportBody, Report, ReportId, WholesaleBillingReportsListResponse

client = AuthenticatedClient(
    os.environ["RTMETER_URL"] + "/v1", os.environ["RTMETER_TOKEN"], raise_on_unexpected_status=True
)
wanted = CreateAWholesaleBillingReportBody("2026-10-01", "2026-10-31", type_="CUSTOMER")
created = create.sync(client=client, body=wanted)
assert isinstance(created, ReportId), created
while True:
    report = get.sync(created.id, client=client)
    assert isinstance(report, Report), report
    if report.status != "IN_PROGRESS":
        break
    time.sleep(0.1)
assert report.status == "COMPLETED", report
assert (report.billing_start_date, report.billing_end_date, report.type_) == ("2026-10-01", "2026-10-31", "CUSTOMER")
assert httpx.get(report.temp_download_url).text.startswith("PARTNER_NAME,"), "no token is needed"
assert create.sync_detailed(client=client, body=wanted).status_code == 409
listed = list_reports.sync(client=client)
assert isinstance(listed, WholesaleBillingReportsListResponse), listed
assert [item.id for item in listed.items] == [created.id], listed
partners = list_wholesale_sub_partners.sync(client=client)
assert [item.provisioning_state for item in partners.items] == ["active", "suspended"], partners
assert delete.sync_detailed(created.id, client=client).status_code == 204
assert get.sync_detailed(created.id, client=client).status_code == 404
