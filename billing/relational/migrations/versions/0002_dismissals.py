"""Dismissals of dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0002_dismissals"
down_revision = "0001"

_Id = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "dead_letter_dismissals",
        sa.Column("topic", _Id, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("dismissed_by", sa.Text, nullable=False),
        sa.Column("dismissed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name="pk_dead_letter_dismissals"),
        sa.CheckConstraint("reason <> ''", name="ck_dead_letter_dismissals_reason"),
        sa.CheckConstraint("dismissed_by <> ''", name="ck_dead_letter_dismissals_dismissed_by"),
    )
