"""The tables. Times are ISO 8601 texts in UTC, serials lower-case hex, lists and trails canonical JSON: no type needs a converter."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from scepd.records import CertificateState, ChallengeState, TransactionState

# The version of the tables that this program writes, and by which `store.version` decides whether it may read a store.
SCHEMA_VERSION = 11

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def one_of(column: str, words: list[str]) -> CheckConstraint:
    """Return the constraint that a column holds one of those words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


META = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

CHALLENGE = Table(
    "challenge",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("common_name", Text),
    Column("names", Text, nullable=False),
    Column("expires", Text, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    # The last transaction that reserved or spent it; no foreign key, since transactions already point here.
    Column("transaction", Integer),
    Column("spent_by", LargeBinary),
    # Its text under the store key, only where a profile takes password encryption.
    Column("sealed", LargeBinary),
    Column("subject", Text),
    Column("key_type", Text),
    UniqueConstraint("profile", "digest"),
    one_of("state", [state.value for state in ChallengeState]),
    CheckConstraint("uses_left BETWEEN 0 AND uses", name="uses"),
    Index(
        "ix_challenge_waiting", "profile", "id", sqlite_where=literal_column("state = 'free' AND sealed IS NOT NULL")
    ),
    # Whose texts may be forgotten.
    Index("ix_challenge_sealed", "state", "expires", sqlite_where=literal_column("sealed IS NOT NULL")),
)

TRANSACTION = Table(
    "transaction",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("requester", LargeBinary, nullable=False),
    # 0 answers; retired rows of the same identity are numbered 1, 2, ... in the order of their retirement.
    Column("turn", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("message_type", Integer, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("draft_der", LargeBinary, nullable=False),
    Column("csr_der", LargeBinary, nullable=False),
    Column("csr_fingerprint", Text, nullable=False),
    Column("wishes", LargeBinary, nullable=False),
    Column("subject", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("identity_method", Text, nullable=False),
    Column("identity_name", Text, nullable=False),
    Column("challenge", ForeignKey("challenge.id")),
    Column("owner", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("trail", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    # Who approved or rejected it, and when: filled where a profile asks a person.
    Column("decided_by", Text),
    Column("decided", Text),
    # Of a renewal: the certificate that it replaces (no foreign key, since certificates point here), its number in the
    # line, the notBefore of the line's first certificate.
    Column("predecessor", Integer),
    Column("renewals", Integer),
    Column("first_issued", Text),
    # Until when a request waits for a person, and then for its device to fetch what was approved; others have none.
    Column("expires", Text),
    Column("csr_fingerprint_sha1", Text),
    Column("request_id", Text),
    # What the challenge method vouches for, which is asked again when an approved request is issued.
    Column("identity_names", Text),
    # In this order it also finds a requester's transactions, whatever their transactionID.
    UniqueConstraint("profile", "requester", "transaction_id", "turn"),
    one_of("state", [state.value for state in TransactionState]),
    # Few rows at any time, whatever the store holds: an index over all states would be written twice for each enrolment.
    Index(None, "owner", sqlite_where=literal_column("state = 'ISSUING'")),
    Index(
        "ix_transaction_waiting",
        "profile",
        "state",
        "address",
        "expires",
        sqlite_where=literal_column("state = 'PENDING' OR state = 'APPROVED'"),
    ),
    # One renewal of a certificate waits at a time.
    Index(
        "ix_transaction_predecessor",
        "predecessor",
        unique=True,
        sqlite_where=literal_column("predecessor IS NOT NULL AND state IN ('PENDING', 'APPROVED')"),
    ),
)

CERTIFICATE = Table(
    "certificate",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("not_before", Text, nullable=False),
    Column("not_after", Text, nullable=False),
    Column("der", LargeBinary),
    Column("transaction", ForeignKey("transaction.id")),
    Column("created", Text, nullable=False),
    Column("issued", Text),
    # RFC 5280 section 5.3: when, the CRLReason's number, invalidityDate.
    Column("revoked", Text),
    Column("revocation_reason", Integer),
    Column("invalid_since", Text),
    # Of a renewal: as of the transaction.
    Column("predecessor", ForeignKey("certificate.id")),
    Column("renewals", Integer),
    Column("first_issued", Text),
    # Names are the same in any letter case (RFC 5280 section 7.1).
    Column("subject_folded", Text),
    # Whose live certificates are counted, only where a profile bounds them.
    Column("holder", Text),
    # Of the issuer's CRL: fixed at issuance, since the certificate names it.
    Column("shard", Integer, nullable=False, server_default="0"),
    # The reservation that precedes each signature (threat S-103).
    UniqueConstraint("issuer", "serial"),
    UniqueConstraint("transaction"),
    one_of("state", [state.value for state in CertificateState]),
    Index(None, "public_key"),
    # Whether a key is blocked is asked at each claim, however often the key was certified (threat S-48).
    Index("ix_certificate_revoked_key", "public_key", sqlite_where=literal_column("state = 'revoked'")),
    Index(None, "subject_folded"),
    # One successor (threat S-49); rows of no renewal, nearly all, are not in it.
    Index(
        "ix_certificate_predecessor",
        "predecessor",
        unique=True,
        sqlite_where=literal_column("predecessor IS NOT NULL AND state <> 'failed'"),
    ),
    Index("ix_certificate_holder", "holder", "profile", sqlite_where=literal_column("holder IS NOT NULL")),
    # All that a CRL needs, so that the rows with their certificates are not read.
    Index(
        "ix_certificate_revoked",
        "issuer",
        "shard",
        "id",
        "state",  # without it in the index the row would be read for it
        "not_after",
        "serial",
        "revoked",
        "revocation_reason",
        "invalid_since",
        sqlite_where=literal_column("state = 'revoked'"),
    ),
)

# One row for each time that a challenge was reserved: 'reserved', then 'spent' or 'released'.
CHALLENGE_USE = Table(
    "challenge_use",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("challenge", ForeignKey("challenge.id"), nullable=False),
    Column("transaction", ForeignKey("transaction.id"), nullable=False),
    Column("state", Text, nullable=False),
    UniqueConstraint("transaction"),
    one_of("state", ["reserved", "spent", "released"]),
    Index(None, "challenge"),
)

REFUSAL = Table(
    "refusal",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("requester", LargeBinary, nullable=False),
    Column("message_type", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("trail", Text, nullable=False),
)

# Who does a duty that only one process may do, and until when.
LEASE = Table(
    "lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Text, nullable=False),
)
