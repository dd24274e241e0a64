"""OCSP: the certificates of the keys that sign its answers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add one table."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="7"))
    op.create_table(
        "responder",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("not_after", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responder")),
    )
    op.create_index("ix_responder_issuer", "responder", ["issuer"])
