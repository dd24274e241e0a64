"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _add_meta()
    _add_challenge()
    _add_transaction()
    _add_certificate()
    _add_challenge_use()
    _add_audit()
    _add_audit_head()
    _add_refusal()


def _add_meta() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.bulk_insert(
        meta,
        [{"name": "schema_version", "value": "1"}, {"name": "min_reader_version", "value": "1"}],
    )


def _add_challenge() -> None:
    op.create_table(
        "challenge",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("common_name", sa.Text()),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("expires", sa.Text(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Integer()),
        sa.Column("spent_by", sa.LargeBinary()),
        sa.CheckConstraint("state IN ('free', 'reserved', 'spent', 'cancelled')", name=op.f("ck_challenge_state")),
        sa.CheckConstraint("uses_left BETWEEN 0 AND uses", name=op.f("ck_challenge_uses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_challenge")),
        sa.UniqueConstraint("profile", "digest", name=op.f("uq_challenge_profile_digest")),
    )


def _add_transaction() -> None:
    op.create_table(
        "transaction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("requester", sa.LargeBinary(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message_type", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("draft_der", sa.LargeBinary(), nullable=False),
        sa.Column("csr_der", sa.LargeBinary(), nullable=False),
        sa.Column("csr_fingerprint", sa.Text(), nullable=False),
        sa.Column("wishes", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("identity_method", sa.Text(), nullable=False),
        sa.Column("identity_name", sa.Text(), nullable=False),
        sa.Column("challenge", sa.Integer()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("trail", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided", sa.Text()),
        sa.CheckConstraint(
            "state IN ('PENDING', 'APPROVED', 'ISSUING', 'ISSUED', 'REJECTED', 'EXPIRED')",
            name=op.f("ck_transaction_state"),
        ),
        sa.ForeignKeyConstraint(["challenge"], ["challenge.id"], name=op.f("fk_transaction_challenge")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction")),
        sa.UniqueConstraint(
            "profile",
            "requester",
            "transaction_id",
            "turn",
            name=op.f("uq_transaction_profile_requester_transaction_id_turn"),
        ),
    )
    op.create_index("ix_transaction_owner", "transaction", ["owner"], sqlite_where=sa.text("state = 'ISSUING'"))


def _add_certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("not_before", sa.Text(), nullable=False),
        sa.Column("not_after", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary()),
        sa.Column("transaction", sa.Integer()),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("issued", sa.Text()),
        sa.Column("revoked", sa.Text()),
        sa.Column("revocation_reason", sa.Integer()),
        sa.Column("invalid_since", sa.Text()),
        sa.CheckConstraint("state IN ('reserved', 'issued', 'failed', 'revoked')", name=op.f("ck_certificate_state")),
        sa.ForeignKeyConstraint(["transaction"], ["transaction.id"], name=op.f("fk_certificate_transaction")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        sa.UniqueConstraint("issuer", "serial", name=op.f("uq_certificate_issuer_serial")),
        sa.UniqueConstraint("transaction", name=op.f("uq_certificate_transaction")),
    )


def _add_challenge_use() -> None:
    op.create_table(
        "challenge_use",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("challenge", sa.Integer(), nullable=False),
        sa.Column("transaction", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('reserved', 'spent', 'released')", name=op.f("ck_challenge_use_state")),
        sa.ForeignKeyConstraint(["challenge"], ["challenge.id"], name=op.f("fk_challenge_use_challenge")),
        sa.ForeignKeyConstraint(["transaction"], ["transaction.id"], name=op.f("fk_challenge_use_transaction")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_challenge_use")),
        sa.UniqueConstraint("transaction", name=op.f("uq_challenge_use_transaction")),
    )
    op.create_index("ix_challenge_use_challenge", "challenge_use", ["challenge"])


def _add_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "sequence", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_target", "audit", ["target"])


def _add_audit_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_audit_head")),
        sqlite_with_rowid=False,
    )


def _add_refusal() -> None:
    op.create_table(
        "refusal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("requester", sa.LargeBinary(), nullable=False),
        sa.Column("message_type", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("trail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
    )
