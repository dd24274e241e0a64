"""The tables of the audit trail: its rows, the end of each chain, the seals; conventions as in `schema`."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from scepd.store.schema import METADATA

AUDIT = Table(
    "audit",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(None, "target"),
)

# The end of each chain, so that cutting rows off shows.
AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

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
