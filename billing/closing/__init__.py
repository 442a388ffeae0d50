"""Closing a month: invoices that never change, and corrections that always add up. See docs/closing.md."""
