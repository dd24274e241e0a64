"""One-time challenges bound to a whole subject and to a kind of key."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="8"))
    op.add_column("challenge", sa.Column("subject", sa.Text()))
    op.add_column("challenge", sa.Column("key_type", sa.Text()))
