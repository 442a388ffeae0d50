"""Invoices, their lines, and approvals of corrections; nothing of them can be changed or deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0004_invoices"
down_revision = "0003_reconcile_runs"

_Id = sa.String().with_variant(sa.String(collation="C"), "postgresql")

#: Each table that is only added to, with its primary key.
_FINAL = {
    "invoices": ("partner_id", "number"),
    "invoice_lines": ("partner_id", "number", "line"),
    "correction_approvals": ("id",),
    "correction_approvals_used": ("approval_id",),
}
_NO_CHANGE = "what belongs to a closed invoice is never changed or deleted"
_NO_MORE = "a closed invoice gets no more lines"
_BEYOND = "NEW.line > (SELECT line_count FROM invoices WHERE partner_id = NEW.partner_id AND number = NEW.number)"


def upgrade() -> None:
    """Make the tables, and the triggers that keep them as they are."""
    _tables()
    if op.get_context().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgresql_triggers()


def _tables() -> None:
    op.create_table(
        "invoices",
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first_day", sa.Integer, nullable=False),
        sa.Column("last_day", sa.Integer, nullable=False),
        sa.Column("prices_before_ms", sa.BigInteger, nullable=False),
        sa.Column("cut", sa.Text, nullable=False),
        sa.Column("limit_percent", sa.Integer, nullable=False),
        sa.Column("line_count", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("closed_by", sa.Text, nullable=False),
        sa.Column("closed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "number", name="pk_invoices"),
        sa.UniqueConstraint("partner_id", "first_day", name="uq_invoices_period"),
        sa.CheckConstraint("number >= 1", name="ck_invoices_number"),
        sa.CheckConstraint("first_day <= last_day", name="ck_invoices_days"),
        sa.CheckConstraint("line_count >= 0", name="ck_invoices_line_count"),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("first_day", sa.Integer, nullable=False),
        sa.Column("last_day", sa.Integer, nullable=False),
        sa.Column("corrects", sa.Integer),
        sa.Column("owner_id", _Id, nullable=False),
        sa.Column("subscription_id", _Id, nullable=False),
        sa.Column("service", _Id, nullable=False),
        sa.Column("quantity_microdays", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("unit_price", sa.Text),
        sa.Column("currency", sa.String(3)),
        sa.Column("sku", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("price_version", sa.BigInteger),
        sa.Column("amount_minor", sa.BigInteger),
        sa.Column("residue_minor", sa.BigInteger, nullable=False),
        sa.Column("unpriced", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "number", "line", name="pk_invoice_lines"),
        sa.ForeignKeyConstraint(
            ["partner_id", "number"], ["invoices.partner_id", "invoices.number"], name="fk_invoice_lines_invoice"
        ),
        sa.ForeignKeyConstraint(
            ["partner_id", "corrects"], ["invoices.partner_id", "invoices.number"], name="fk_invoice_lines_corrects"
        ),
        sa.CheckConstraint("line >= 1", name="ck_invoice_lines_line"),
        sa.CheckConstraint("corrects < number", name="ck_invoice_lines_corrects"),
        sa.CheckConstraint(
            "(unit_price IS NULL) = (amount_minor IS NULL) AND (kind IS NULL) = (amount_minor IS NULL)"
            " AND (currency IS NULL) = (amount_minor IS NULL) AND (price_version IS NULL) = (amount_minor IS NULL)"
            " AND (unpriced = '') = (amount_minor IS NOT NULL)",
            name="ck_invoice_lines_priced_or_not",
        ),
    )
    op.create_table(
        "correction_approvals",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("first_day", sa.Integer, nullable=False),
        sa.Column("last_day", sa.Integer, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.Column("approved_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("approved_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_correction_approvals"),
        sa.CheckConstraint("approved_by <> ''", name="ck_correction_approvals_approved_by"),
        sa.CheckConstraint("reason <> ''", name="ck_correction_approvals_reason"),
    )
    op.create_table(
        "correction_approvals_used",
        sa.Column("approval_id", sa.Integer, nullable=False),
        sa.Column("partner_id", _Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", name="pk_correction_approvals_used"),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["correction_approvals.id"], name="fk_correction_approvals_used_approval_id"
        ),
        sa.ForeignKeyConstraint(
            ["partner_id", "number"],
            ["invoices.partner_id", "invoices.number"],
            name="fk_correction_approvals_used_partner_id",
        ),
    )


def _sqlite_triggers() -> None:
    for table, key in _FINAL.items():
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
            )
        # INSERT OR REPLACE deletes without a trigger of DELETE.
        same = " AND ".join(f"{column} = NEW.{column}" for column in key)
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
        )
    op.execute(
        "CREATE TRIGGER invoices_no_replace_period BEFORE INSERT ON invoices WHEN EXISTS "
        "(SELECT 1 FROM invoices WHERE partner_id = NEW.partner_id AND first_day = NEW.first_day) "
        f"BEGIN SELECT RAISE(ABORT, '{_NO_CHANGE}'); END"
    )
    op.execute(
        f"CREATE TRIGGER invoice_lines_no_more BEFORE INSERT ON invoice_lines WHEN {_BEYOND} "
        f"BEGIN SELECT RAISE(ABORT, '{_NO_MORE}'); END"
    )


def _postgresql_triggers() -> None:
    # restrict_violation: to a client an error of integrity, as a broken constraint is.
    op.execute(
        "CREATE OR REPLACE FUNCTION rtmeter_no_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{_NO_CHANGE}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION rtmeter_no_more_lines() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_BEYOND} THEN RAISE EXCEPTION '{_NO_MORE}' USING ERRCODE = 'restrict_violation'; END IF; "
        "RETURN NEW; END $$"
    )
    for table in _FINAL:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION rtmeter_no_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION rtmeter_no_change()"
        )
    op.execute(
        "CREATE TRIGGER invoice_lines_no_more BEFORE INSERT ON invoice_lines "
        "FOR EACH ROW EXECUTE FUNCTION rtmeter_no_more_lines()"
    )
