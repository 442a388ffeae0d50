"""The tables of the relational store, on SQLite (embedded) and PostgreSQL (deployed).

Times are milliseconds since the epoch, days are days since the epoch, both as integers. A change here needs a
migration in `migrations/versions`; a test holds the two together.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Compared and sorted by bytes, as in the CSV, whatever the database's locale.
_Id = String().with_variant(String(collation="C"), "postgresql")

reports = Table(
    "reports",
    metadata,
    Column("id", _Id, primary_key=True),
    # For whom it was made, and of which sub-partner ('' for none). Events allow no empty id.
    Column("partner_id", _Id, nullable=False),
    Column("sub_partner_id", _Id, nullable=False),
    Column("type", _Id, nullable=False),
    Column("category", _Id, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    Column("internal", Boolean, nullable=False),
    Column("status", _Id, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("finished_ms", BigInteger),
    Column("file_name", Text),
    Column("sha256", String(64)),
    Column("size_bytes", BigInteger),
    # A JSON array of sentences.
    Column("notes", Text, nullable=False),
    Column("error_code", Integer),
    Column("error_description", Text),
    # The job: how often it was taken up, by whom, and until when nobody else may.
    Column("attempts", Integer, nullable=False),
    Column("lease_worker", Text),
    Column("lease_until_ms", BigInteger, nullable=False),
    CheckConstraint("type IN ('PARTNER', 'CUSTOMER', 'USER')", name="type"),
    CheckConstraint("category IN ('RECONCILIATION', 'POINT_IN_TIME')", name="category"),
    CheckConstraint("status IN ('IN_PROGRESS', 'COMPLETED', 'FAILED')", name="status"),
    CheckConstraint("first_day <= last_day", name="days"),
    CheckConstraint(
        "(status = 'COMPLETED') = (sha256 IS NOT NULL AND size_bytes IS NOT NULL AND file_name IS NOT NULL)",
        name="completed_has_a_file",
    ),
    CheckConstraint("(status = 'FAILED') = (error_code IS NOT NULL)", name="failed_has_an_error"),
)

# Rule 28: of one partner, sub-partner, type and dates there is one report at a time, failed ones aside.
Index(
    "uq_reports_twin",
    reports.c.partner_id,
    reports.c.sub_partner_id,
    reports.c.type,
    reports.c.category,
    reports.c.first_day,
    reports.c.last_day,
    unique=True,
    sqlite_where=text("status <> 'FAILED'"),
    postgresql_where=text("status <> 'FAILED'"),
)
# What the queue looks for: few rows, among years of completed ones.
Index(
    "ix_reports_waiting",
    reports.c.created_ms,
    sqlite_where=text("status = 'IN_PROGRESS'"),
    postgresql_where=text("status = 'IN_PROGRESS'"),
)

# Runs of reconcile: only ever added.
reconcile_runs = Table(
    "reconcile_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger, nullable=False),
    # Whether no check found a difference.
    Column("clean", Boolean, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    # Over all orgs and customers.
    Column("whole", Boolean, nullable=False),
    # JSON: billing.audit.reconcile.check.Scope, and an array of CheckResult.
    Column("scope", Text, nullable=False),
    Column("results", Text, nullable=False),
)
