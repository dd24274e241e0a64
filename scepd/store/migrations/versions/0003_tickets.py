"""Signed challenges that were used, and what outside services have still to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables; a program that does not know them leaves them alone, so the least reader stays."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    op.execute(meta.update().where(meta.c.name == "schema_version").values(value="3"))
    _add_ticket()
    _add_outbox()


def _add_ticket() -> None:
    op.create_table(
        "ticket",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("expires", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_ticket")),
        sa.ForeignKeyConstraint(["transaction"], ["transaction.id"], name=op.f("fk_ticket_transaction")),
        sa.UniqueConstraint("transaction", name=op.f("uq_ticket_transaction")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ticket_profile_device_at", "ticket", ["profile", "device", "at"])
    op.create_index("ix_ticket_expires", "ticket", ["expires"])


def _add_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Integer()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("enclosure", sa.LargeBinary()),
        sa.Column("due", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.ForeignKeyConstraint(["transaction"], ["transaction.id"], name=op.f("fk_outbox_transaction")),
        sa.CheckConstraint("state IN ('held', 'waiting', 'given_up')", name=op.f("ck_outbox_state")),
    )
    op.create_index("ix_outbox_held", "outbox", ["transaction"], sqlite_where=sa.text("state = 'held'"))
    op.create_index("ix_outbox_due", "outbox", ["state", "due"])
