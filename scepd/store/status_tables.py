"""The tables behind CRLs and OCSP: the certificates of the keys that answer, and how certificates are dealt out to CRLs."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from scepd.store.schema import METADATA

# The newest few of each issuer.
CRL = Table(
    "crl",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("this_update", Text, nullable=False),
    Column("next_update", Text, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("der", LargeBinary, nullable=False),
    UniqueConstraint("issuer", "number"),
)

# The certificates of the OCSP keys: each renewed before it ends, the newest is used.
RESPONDER = Table(
    "responder",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("not_after", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("created", Text, nullable=False),
    Index(None, "issuer"),
)

# The shards of each issuer's CRL, from the second on; the first needs no row before it is counted. `counted` is the last
# certificate row that `certificates` and `ends` know of.
CRL_SHARD = Table(
    "crl_shard",
    METADATA,
    Column("issuer", Text, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("certificates", Integer, nullable=False),
    Column("counted", Integer, nullable=False),
    Column("ends", Text, nullable=False),
)
