"""CRLs in shards: each certificate knows its own, and each issuer how many certificates a shard has."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WHOLE = ["id", "state", "not_after", "serial", "revoked", "revocation_reason", "invalid_since"]


def upgrade() -> None:
    """Add a column with its place in an index, and a table that counts what is there."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="9"))
    op.add_column("certificate", sa.Column("shard", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("ix_certificate_revoked", "certificate")
    op.create_index(
        "ix_certificate_revoked",
        "certificate",
        ["issuer", "shard", *_WHOLE],
        sqlite_where=sa.text("state = 'revoked'"),
    )
    op.create_table(
        "crl_shard",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("certificates", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "shard", name=op.f("pk_crl_shard")),
    )
