"""The tables of the relational store, on SQLite (embedded) and PostgreSQL (deployed).

Times are milliseconds since the epoch, days are days since the epoch, both as integers. A change here needs a
migration in `migrations/versions`; a test holds the two together.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
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

# Dead letters that a person has decided to leave: said once, never changed.
dismissals = Table(
    "dead_letter_dismissals",
    metadata,
    Column("topic", _Id, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("dismissed_by", Text, nullable=False),
    Column("dismissed_ms", BigInteger, nullable=False),
    CheckConstraint("reason <> ''", name="reason"),
    CheckConstraint("dismissed_by <> ''", name="dismissed_by"),
)

# Closed months. Rows of this table and the next three are only ever added: triggers of the migration refuse the rest.
# The invoices of a partner are numbered from 1 without a gap: who makes one from the first n makes number n + 1, so that
# of two closes at once, of the same month or not, the second must look again. A correction is never issued twice.
invoices = Table(
    "invoices",
    metadata,
    Column("partner_id", _Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    # Of each subscription the latest version of before this instant has the prices.
    Column("prices_before_ms", BigInteger, nullable=False),
    # JSON: billing.closing.invoices.Cut.
    Column("cut", Text, nullable=False),
    Column("limit_percent", Integer, nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    # JSON: billing.closing.invoices.Manifest.
    Column("manifest", Text, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("closed_ms", BigInteger, nullable=False),
    # JSON: by service, the usage of each day of the period. NULL: it was closed before this was kept.
    Column("daily", Text),
    UniqueConstraint("partner_id", "first_day", name="uq_invoices_period"),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("first_day <= last_day", name="days"),
    CheckConstraint("line_count >= 0", name="line_count"),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("partner_id", _Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    # The period of the usage, and for a correction the number of that period's invoice.
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    Column("corrects", Integer),
    Column("owner_id", _Id, nullable=False),
    Column("subscription_id", _Id, nullable=False),
    Column("service", _Id, nullable=False),
    Column("quantity_microdays", BigInteger, nullable=False),
    # The price as it was agreed, where there is one: kind, decimal as text, offset of its version in the catalog.
    Column("kind", Text),
    Column("unit_price", Text),
    Column("currency", String(3)),
    Column("sku", Text),
    Column("description", Text),
    Column("price_version", BigInteger),
    Column("amount_minor", BigInteger),
    Column("residue_minor", BigInteger, nullable=False),
    Column("unpriced", Text, nullable=False),
    ForeignKeyConstraint(
        ["partner_id", "number"], ["invoices.partner_id", "invoices.number"], name="fk_invoice_lines_invoice"
    ),
    ForeignKeyConstraint(
        ["partner_id", "corrects"], ["invoices.partner_id", "invoices.number"], name="fk_invoice_lines_corrects"
    ),
    CheckConstraint("line >= 1", name="line"),
    CheckConstraint("corrects < number", name="corrects"),
    CheckConstraint(
        "(unit_price IS NULL) = (amount_minor IS NULL) AND (kind IS NULL) = (amount_minor IS NULL)"
        " AND (currency IS NULL) = (amount_minor IS NULL) AND (price_version IS NULL) = (amount_minor IS NULL)"
        " AND (unpriced = '') = (amount_minor IS NOT NULL)",
        name="priced_or_not",
    ),
)

# Corrections that a person let through, as they stood then.
correction_approvals = Table(
    "correction_approvals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("partner_id", _Id, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    # JSON: an array of billing.closing.lines.Line.
    Column("lines", Text, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved_ms", BigInteger, nullable=False),
    CheckConstraint("approved_by <> ''", name="approved_by"),
    CheckConstraint("reason <> ''", name="reason"),
)

# The invoice that an approved correction stands on: one.
correction_approvals_used = Table(
    "correction_approvals_used",
    metadata,
    Column("approval_id", Integer, ForeignKey("correction_approvals.id"), primary_key=True, autoincrement=False),
    Column("partner_id", _Id, nullable=False),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(["partner_id", "number"], ["invoices.partner_id", "invoices.number"]),
)

# On which day of the month a partner's periods begin, from a month on. Only ever added: the last choice counts.
period_first_days = Table(
    "period_first_days",
    metadata,
    Column("partner_id", _Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # YYYY-MM.
    Column("from_month", _Id, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("first_day BETWEEN 1 AND 28", name="first_day"),
    CheckConstraint("decided_by <> ''", name="decided_by"),
)
