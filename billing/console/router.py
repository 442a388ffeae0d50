"""The console's routes, in the order in which they are tried."""

from billing.console import explain_page, log_in, new_report, report_pages, static_files, usage_page

ROUTERS = tuple(part.router for part in (static_files, log_in, usage_page, new_report, report_pages, explain_page))
