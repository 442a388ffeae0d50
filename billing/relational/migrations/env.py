"""Alembic's entry: the caller's connection and transaction, the tables of `billing.relational.schema`."""

from alembic import context

from billing.relational.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # SQLite cannot change a table in place: alembic then makes a new one and copies.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
