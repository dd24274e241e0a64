"""Who may enrol: end entities, tokens of the generator, profiles switched off, whose certificates are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add three tables and a column that may be empty."""
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="5"))
    op.add_column("certificate", sa.Column("holder", sa.Text()))
    op.create_index(
        "ix_certificate_holder", "certificate", ["holder", "profile"], sqlite_where=sa.text("holder IS NOT NULL")
    )
    _add_entity()
    _add_disabled_profile()
    _add_token()


def _add_entity() -> None:
    op.create_table(
        "entity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary()),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("tries_left", sa.Integer()),
        sa.Column("expires", sa.Text()),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Integer()),
        sa.Column("spent_by", sa.LargeBinary()),
        sa.CheckConstraint("state IN ('NEW', 'RESERVED', 'GENERATED', 'FAILED')", name=op.f("ck_entity_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entity")),
        sa.UniqueConstraint("profile", "username", name=op.f("uq_entity_profile_username")),
    )
    op.create_index(
        "ix_entity_transaction", "entity", ["transaction"], sqlite_where=sa.text('"transaction" IS NOT NULL')
    )


def _add_disabled_profile() -> None:
    op.create_table(
        "disabled_profile",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("disabled_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_disabled_profile")),
    )


def _add_token() -> None:
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("profiles", sa.Text(), nullable=False),
        sa.Column("pattern", sa.Text()),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer()),
        sa.Column("expires", sa.Text()),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revoked", sa.Text()),
        sa.Column("due", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("name", name=op.f("uq_token_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_token_digest")),
    )
