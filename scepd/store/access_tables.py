"""The tables of who may enrol: end entities, profiles switched off, tokens of other systems; conventions as in `schema`."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, literal_column

from scepd.records import EntityState
from scepd.store.schema import METADATA, one_of

# Registered end entities: the common name of their requests, and the keyed digest of the code that goes with it.
ENTITY = Table(
    "entity",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("digest", LargeBinary),
    Column("attributes", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("tries_left", Integer),
    Column("expires", Text),
    Column("created", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("updated", Text, nullable=False),
    # The last transaction that took it, and whose key that was; no foreign key, as of challenges.
    Column("transaction", Integer),
    Column("spent_by", LargeBinary),
    UniqueConstraint("profile", "username"),
    one_of("state", [state.value for state in EntityState]),
    Index(None, "transaction", sqlite_where=literal_column('"transaction" IS NOT NULL')),
)

# Profiles that a person switched off; the others have no row.
DISABLED_PROFILE = Table(
    "disabled_profile",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("since", Text, nullable=False),
    Column("disabled_by", Text, nullable=False),
)

# What other systems present to have one-time challenges made.
TOKEN = Table(
    "token",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("profiles", Text, nullable=False),
    Column("pattern", Text),
    Column("per_minute", Integer, nullable=False),
    Column("left", Integer),
    Column("expires", Text),
    Column("created", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked", Text),
    # When it will have used up nothing of its rate (GCRA).
    Column("due", Text),
    UniqueConstraint("name"),
    UniqueConstraint("digest"),
)
