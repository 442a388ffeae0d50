"""The first days of partners' periods, and an invoice's usage by day for its chart."""

import sqlalchemy as sa
from alembic import op

revision = "0005_periods_and_days"
down_revision = "0004_invoices"

_Id = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_NO_CHANGE = "what belongs to a closed invoice is never changed or deleted"


def upgrade() -> None:
    """Add the table and the column. Invoices of before have no usage by day."""
    op.add_column("invoices", sa.Column("daily", sa.Text))
    op.create_table(
        "period_first_days",
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("from_month", _Id, nullable=False),
        sa.Column("first_day", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "number", name="pk_period_first_days"),
        sa.CheckConstraint("number >= 1", name="ck_period_first_days_number"),
        sa.CheckConstraint("first_day BETWEEN 1 AND 28", name="ck_period_first_days_first_day"),
        sa.CheckConstraint("decided_by <> ''", name="ck_period_first_days_decided_by"),
    )
    if op.get_context().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER period_first_days_no_{change.lower()} BEFORE {change} ON period_first_days "
                f"BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
            )
        op.execute(
            "CREATE TRIGGER period_first_days_no_replace BEFORE INSERT ON period_first_days WHEN EXISTS "
            "(SELECT 1 FROM period_first_days WHERE partner_id = NEW.partner_id AND number = NEW.number) "
            f"BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
        )
        return
    op.execute(
        "CREATE TRIGGER period_first_days_no_change BEFORE UPDATE OR DELETE ON period_first_days "
        "FOR EACH ROW EXECUTE FUNCTION rtmeter_no_change()"
    )
    op.execute(
        "CREATE TRIGGER period_first_days_no_truncate BEFORE TRUNCATE ON period_first_days "
        "FOR EACH STATEMENT EXECUTE FUNCTION rtmeter_no_change()"
    )
