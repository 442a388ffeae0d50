"""What a token may allow."""

from enum import StrEnum


class Scope(StrEnum):
    """Scopes of the public API."""

    REPORTS_READ = "spark-admin:wholesale_billing_reports_read"
    REPORTS_WRITE = "spark-admin:wholesale_billing_reports_write"
    SUB_PARTNERS_READ = "spark-admin:wholesale_sub_partners_read"
