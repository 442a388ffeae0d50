"""The relational stores of the jobs' tests: the same tests on SQLite and on PostgreSQL."""

from tests.billing.jobs.conftest import postgresql_url, url

__all__ = ["postgresql_url", "url"]
