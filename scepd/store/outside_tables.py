"""The tables of what comes from outside signed, and of what goes outside as news; see `store.schema` for their types."""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, literal_column

from scepd.store.schema import METADATA, one_of

# One row for each signed challenge that a transaction holds or has spent: no second one can use it, wherever it asks.
TICKET = Table(
    "ticket",
    METADATA,
    # SHA-256 over the issuer's key and the challenge's own identifier.
    Column("digest", LargeBinary, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("at", Text, nullable=False),
    # From when on the row is of no use: the challenge has expired, and its device's window is over.
    Column("expires", Text, nullable=False),
    Column("transaction", ForeignKey("transaction.id"), nullable=False),
    UniqueConstraint("transaction"),
    Index(None, "profile", "device", "at"),
    Index(None, "expires"),
    sqlite_with_rowid=False,
)

# What one outside service has still to be told: held with a claim, waiting once the outcome is on record.
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("transaction", ForeignKey("transaction.id")),
    Column("state", Text, nullable=False),
    Column("body", Text, nullable=False),
    # The request as it was received, under the store key, where the service wants to see it again.
    Column("enclosure", LargeBinary),
    Column("due", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    one_of("state", ["held", "waiting", "given_up"]),
    Index("ix_outbox_held", "transaction", sqlite_where=literal_column("state = 'held'")),
    Index("ix_outbox_due", "state", "due"),
)

# What services were lately told of, where whoever repeats it is told of once an hour over all workers.
TOLD = Table(
    "told",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    # SHA-256 over what makes two refusals the same.
    Column("digest", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("kind", "digest"),
    Index(None, "at"),
)
