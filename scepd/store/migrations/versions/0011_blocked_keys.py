"""Revoked certificates by their key, so that whether a key is blocked costs the same however often it was certified."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index; a program of the version before may use the store with it."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    op.execute(meta.update().where(meta.c.name == "schema_version").values(value="11"))
    op.create_index(
        "ix_certificate_revoked_key", "certificate", ["public_key"], sqlite_where=sa.text("state = 'revoked'")
    )
