"""The CSV of a report, from the store."""

from billing.from_store import report_from_store as export_csv

__all__ = ["export_csv"]
