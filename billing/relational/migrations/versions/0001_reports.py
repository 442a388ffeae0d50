"""The reports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Id = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table and its two indexes."""
    op.create_table(
        "reports",
        sa.Column("id", _Id, nullable=False),
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("sub_partner_id", _Id, nullable=False),
        sa.Column("type", _Id, nullable=False),
        sa.Column("category", _Id, nullable=False),
        sa.Column("first_day", sa.Integer, nullable=False),
        sa.Column("last_day", sa.Integer, nullable=False),
        sa.Column("internal", sa.Boolean, nullable=False),
        sa.Column("status", _Id, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("file_name", sa.Text),
        sa.Column("sha256", sa.String(64)),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("error_code", sa.Integer),
        sa.Column("error_description", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_worker", sa.Text),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.CheckConstraint("type IN ('PARTNER', 'CUSTOMER', 'USER')", name="ck_reports_type"),
        sa.CheckConstraint("category IN ('RECONCILIATION', 'POINT_IN_TIME')", name="ck_reports_category"),
        sa.CheckConstraint("status IN ('IN_PROGRESS', 'COMPLETED', 'FAILED')", name="ck_reports_status"),
        sa.CheckConstraint("first_day <= last_day", name="ck_reports_days"),
        sa.CheckConstraint(
            "(status = 'COMPLETED') = (sha256 IS NOT NULL AND size_bytes IS NOT NULL AND file_name IS NOT NULL)",
            name="ck_reports_completed_has_a_file",
        ),
        sa.CheckConstraint("(status = 'FAILED') = (error_code IS NOT NULL)", name="ck_reports_failed_has_an_error"),
    )
    op.create_index(
        "uq_reports_twin",
        "reports",
        ["partner_id", "sub_partner_id", "type", "category", "first_day", "last_day"],
        unique=True,
        sqlite_where=sa.text("status <> 'FAILED'"),
        postgresql_where=sa.text("status <> 'FAILED'"),
    )
    op.create_index(
        "ix_reports_waiting",
        "reports",
        ["created_ms"],
        sqlite_where=sa.text("status = 'IN_PROGRESS'"),
        postgresql_where=sa.text("status = 'IN_PROGRESS'"),
    )
