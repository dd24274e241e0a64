"""Alembic's entry: runs the scripts over the connection (and inside the transaction) that `store.migrate` hands in."""

from alembic import context

from scepd.store import access_tables, audit_tables, outside_tables, status_tables  # noqa: F401 - their tables are part of the schema
from scepd.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
