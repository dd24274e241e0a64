"""Renewal, approval, revocation: lineages, requests that wait, CRLs, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, so that no table is copied, and what looks them up."""
    _extend_meta()
    _extend_challenge()
    _extend_transaction()
    _extend_certificate()
    _add_crl()
    _add_lease()


def _extend_meta() -> None:
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="2"))
    op.bulk_insert(meta, [{"name": "generation", "value": "0"}])


def _extend_challenge() -> None:
    op.add_column("challenge", sa.Column("sealed", sa.LargeBinary()))
    op.create_index(
        "ix_challenge_waiting",
        "challenge",
        ["profile", "id"],
        sqlite_where=sa.text("state = 'free' AND sealed IS NOT NULL"),
    )


def _extend_transaction() -> None:
    op.add_column("transaction", sa.Column("predecessor", sa.Integer()))
    op.add_column("transaction", sa.Column("renewals", sa.Integer()))
    for name in ("first_issued", "expires", "csr_fingerprint_sha1", "request_id", "identity_names"):
        op.add_column("transaction", sa.Column(name, sa.Text()))
    op.create_index(
        "ix_transaction_waiting", "transaction", ["profile", "expires"], sqlite_where=sa.text("state = 'PENDING'")
    )
    op.create_index(
        "ix_transaction_predecessor",
        "transaction",
        ["predecessor"],
        unique=True,
        sqlite_where=sa.text("predecessor IS NOT NULL AND state IN ('PENDING', 'APPROVED')"),
    )


def _extend_certificate() -> None:
    # Said in SQL: Alembic would add the reference by a statement of its own, which SQLite does not have.
    op.execute(
        "ALTER TABLE certificate ADD COLUMN predecessor INTEGER "
        "CONSTRAINT fk_certificate_predecessor REFERENCES certificate (id)"
    )
    op.add_column("certificate", sa.Column("renewals", sa.Integer()))
    op.add_column("certificate", sa.Column("first_issued", sa.Text()))
    op.create_index("ix_certificate_public_key", "certificate", ["public_key"])
    op.create_index("ix_certificate_subject", "certificate", ["subject"])
    op.create_index(
        "ix_certificate_predecessor",
        "certificate",
        ["predecessor"],
        unique=True,
        sqlite_where=sa.text("predecessor IS NOT NULL AND state <> 'failed'"),
    )
    op.create_index(
        "ix_certificate_revoked",
        "certificate",
        ["issuer", "id", "state", "not_after", "serial", "revoked", "revocation_reason", "invalid_since"],
        sqlite_where=sa.text("state = 'revoked'"),
    )


def _add_crl() -> None:
    op.create_table(
        "crl",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("this_update", sa.Text(), nullable=False),
        sa.Column("next_update", sa.Text(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl")),
        sa.UniqueConstraint("issuer", "number", name=op.f("uq_crl_issuer_number")),
    )


def _add_lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
