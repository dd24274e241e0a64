"""Approvals that end, subjects compared without regard to case, texts of challenges that are forgotten."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITING = "state = 'PENDING' OR state = 'APPROVED'"


def upgrade() -> None:
    """Add a column that may be empty, and what looks things up.

    A program that does not know the column would leave it empty, and so let a subject be taken twice: it is no
    reader of this store any more.
    """
    meta = sa.table("meta", sa.column("name", sa.Text), sa.column("value", sa.Text))
    for name in ("schema_version", "min_reader_version"):
        op.execute(meta.update().where(meta.c.name == name).values(value="4"))
    _fold_subjects()
    _let_approvals_end()
    op.create_index(
        "ix_challenge_sealed", "challenge", ["state", "expires"], sqlite_where=sa.text("sealed IS NOT NULL")
    )


def _fold_subjects() -> None:
    certificate = sa.table(
        "certificate",
        sa.column("id", sa.Integer),
        sa.column("subject", sa.Text),
        sa.column("subject_folded", sa.Text),
    )
    op.drop_index("ix_certificate_subject", "certificate")
    op.add_column("certificate", sa.Column("subject_folded", sa.Text()))
    # The database folds ASCII alone; the few others are folded here.
    op.execute(certificate.update().values(subject_folded=sa.func.lower(certificate.c.subject)))
    connection = op.get_bind()
    others = sa.select(certificate.c.id, certificate.c.subject).where(certificate.c.subject.op("GLOB")("*[^ -~]*"))
    for number, subject in connection.execute(others).all():
        folded = certificate.update().where(certificate.c.id == number).values(subject_folded=subject.casefold())
        connection.execute(folded)
    op.create_index("ix_certificate_subject_folded", "certificate", ["subject_folded"])


def _let_approvals_end() -> None:
    """Give an approved request as long after its approval as it might have waited for it."""
    transaction = sa.table(
        "transaction",
        sa.column("id", sa.Integer),
        *(sa.column(name, sa.Text) for name in ("state", "created", "expires", "decided")),
    )
    op.drop_index("ix_transaction_waiting", "transaction")
    op.create_index(
        "ix_transaction_waiting",
        "transaction",
        ["profile", "state", "address", "expires"],
        sqlite_where=sa.text(_WAITING),
    )
    connection, columns = op.get_bind(), transaction.c
    approved = sa.select(columns.id, columns.created, columns.expires, columns.decided).where(
        columns.state == "APPROVED", columns.expires.is_not(None), columns.decided.is_not(None)
    )
    for number, *texts in connection.execute(approved).all():
        created, expires, decided = map(datetime.fromisoformat, texts)
        ends = (decided + (expires - created)).isoformat(timespec="microseconds")
        connection.execute(transaction.update().where(columns.id == number).values(expires=ends))
