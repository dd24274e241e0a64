"""The table of seals; conventions as in `schema`."""

from sqlalchemy import Column, Integer, LargeBinary, Table, Text

from scepd.store.schema import METADATA

# The ends of all audit chains, signed by the audit key: canonical JSON, as it was signed.
AUDIT_SEAL = Table(
    "audit_seal",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("heads", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
