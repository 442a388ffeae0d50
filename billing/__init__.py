"""From the store to reports, invoices and the HTTP API."""
