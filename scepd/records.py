"""The frozen values that the rooms hand to each other."""

import enum
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from scepd.refusal import Reason

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

SAN_KINDS = ("dns", "ip", "email", "uri", "upn", "directory", "registered_id")


class Secret:
    """A secret text: `repr` hides it, `==` is constant time, `reveal` is the one way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the text."""
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        """Show that there is a secret, not which."""
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Refuse hashing: a secret is no dictionary key."""
        raise TypeError("a Secret cannot be hashed")

    def __bool__(self) -> bool:
        """Return whether there is any text."""
        return bool(self._value)


@attrs.frozen
class ClientIdentity:
    """Who a TLS client proved to be by a certificate that its profile's gate admitted.

    `subject` and `issuer` are names as RFC 4514 text; `names` its subjectAltNames, as "dns:host"; `digest` the SHA-256
    of its DER.
    """

    subject: str
    names: tuple[str, ...]
    serial: int
    issuer: str
    digest: bytes


@attrs.frozen
class Origin:
    """Where a request came from: the client's address as the listener decided it, and its request id."""

    address: str
    request_id: str
    client: ClientIdentity | None = None  # None: on a route without a gate


@attrs.frozen
class GeneralName:
    """One subjectAltName: kind is one of SAN_KINDS, value its text (ip: canonical text; directory: hex of the DER)."""

    kind: str
    value: str


@attrs.frozen
class Attribute:
    """One AttributeTypeAndValue of a name: dotted OID, text, and the universal tag number it came with (12 = UTF8String)."""

    oid: str
    value: str
    tag: int = 12


# A distinguished name: a tuple of RDNs, each a tuple of attributes.
Name = tuple[tuple[Attribute, ...], ...]


@attrs.frozen
class Template:
    """What a certificate shall say, decided by a profile; only the public key comes from the request (RFC 2986 section 3)."""

    subject: Name
    names: tuple[GeneralName, ...]
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...]
    validity: timedelta
    backdate: timedelta = timedelta(minutes=5)
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()


@attrs.frozen
class Ticket:
    """A signed challenge that one transaction may use: the store refuses it to every other.

    `digest` is SHA-256 over the key that signed it and its own identifier; it can be used until `expires`. Of its
    `device` at most `most` are taken within `window` (0 = no limit).
    """

    digest: bytes
    device: str
    expires: datetime
    most: int = 0
    window: timedelta = timedelta(days=1)


@attrs.frozen
class Identity:
    """Who asked, as a challenge method established it."""

    method: str
    name: str
    challenge_id: int | None = None
    names: tuple[str, ...] = ()  # subjectAltNames that the method vouches for, as "dns:host"
    attributes: tuple[tuple[str, str], ...] = ()  # of the subject, as pairs of short name and value, which it vouches for
    ticket: Ticket | None = None  # taken with the claim; not kept with the transaction
    entity: int | None = None  # row number of the registered entity whose code it gave, which the claim takes


@attrs.frozen
class Step:
    """One step of a trail: its name, milliseconds since the request began, and a remark without secrets."""

    name: str
    at: float
    note: str = ""


class TransactionState(enum.Enum):
    """The states of a transaction; `enroll.state` holds the table of moves."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    ISSUING = "ISSUING"
    ISSUED = "ISSUED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class CertificateState(enum.Enum):
    """The life of a certificate row: reserved with its serial before signing, then issued or failed; later revoked."""

    RESERVED = "reserved"
    ISSUED = "issued"
    FAILED = "failed"
    REVOKED = "revoked"


class ChallengeState(enum.Enum):
    """The life of a one-time challenge."""

    FREE = "free"
    RESERVED = "reserved"
    SPENT = "spent"
    CANCELLED = "cancelled"


class EntityState(enum.Enum):
    """The life of an end entity: it may enrol, is about to, has its certificate, or guessed its code too often."""

    NEW = "NEW"
    RESERVED = "RESERVED"
    GENERATED = "GENERATED"
    FAILED = "FAILED"


@attrs.frozen
class TransactionKey:
    """The identity of a transaction: profile, transactionID as received, SHA-256 of the signer's SubjectPublicKeyInfo."""

    profile: str
    transaction_id: str
    requester: bytes


@attrs.frozen
class Lineage:
    """Where a renewal stands: the row number of the certificate it replaces, how many came before, since when."""

    predecessor: int
    renewals: int  # of the certificate to come: 1 for the first renewal
    first_issued: datetime  # notBefore of the first certificate of the line


@attrs.frozen
class Intent:
    """What is durable before the token signs: the transaction, the reserved serial, the placeholder-signed draft."""

    key: TransactionKey
    message_type: int
    issuer: str
    serial: int
    draft_der: bytes
    csr_der: bytes  # challengePassword removed
    csr_fingerprint: str  # SHA-256 of the PKCS#10 as received, hex
    wishes: bytes  # SHA-256 over subject, public key and extension wishes: equal for the same request re-signed
    subject: str
    names: tuple[str, ...]
    public_key: bytes  # SHA-256 of the request's SubjectPublicKeyInfo
    not_before: datetime
    not_after: datetime
    identity: Identity
    address: str
    trail: tuple[Step, ...] = ()
    lineage: Lineage | None = None  # of a renewal
    unique_subject: bool = False  # refuse while another key holds a live certificate of that subject
    csr_fingerprint_sha1: str = ""  # C-160: what older devices show
    request_id: str = ""  # of the request's log line
    notify: tuple[str, ...] = ()  # names of the notifiers that hear of the outcome
    enclosure: bytes | None = None  # the PKCS#10 as received, sealed, for notifiers that send it back
    grace: timedelta | None = None  # after the end of what it renews, in which it may still be issued; None: any time
    unique_key: bool = False  # refuse while another line of the profile has a live certificate of that key
    most_active: int | None = None  # live certificates that its holder may have in the profile
    holder: str = ""  # whose certificates are counted, where most_active is set; a renewal keeps its line's


@attrs.frozen
class Petition:
    """What is durable while a person decides: a request whose certificate is drafted only after the approval.

    `valid` is how long it waits, `most` how many may wait in the profile.
    """

    key: TransactionKey
    message_type: int
    issuer: str
    csr_der: bytes  # challengePassword removed
    csr_fingerprint: str
    wishes: bytes
    subject: str
    names: tuple[str, ...]
    public_key: bytes
    identity: Identity
    address: str
    valid: timedelta
    most: int
    trail: tuple[Step, ...] = ()
    lineage: Lineage | None = None
    csr_fingerprint_sha1: str = ""
    request_id: str = ""
    notify: tuple[str, ...] = ()
    enclosure: bytes | None = None
    unique_subject: bool = False  # refuse while another key holds a live certificate of that subject


@attrs.frozen
class Transaction:
    """A stored transaction."""

    id: int
    key: TransactionKey
    state: TransactionState
    message_type: int
    issuer: str
    serial: int
    draft_der: bytes
    csr_der: bytes
    csr_fingerprint: str
    wishes: bytes
    subject: str
    names: tuple[str, ...]
    identity: Identity
    owner: str  # "node/slot" of the worker that claimed it
    address: str
    trail: tuple[Step, ...]
    created: datetime
    updated: datetime
    certificate_der: bytes | None = None
    certificate_state: CertificateState | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    reason: Reason | None = None
    detail: str = ""
    lineage: Lineage | None = None
    expires: datetime | None = None  # until when a PENDING one waits for a person, an APPROVED one for its device
    decided_by: str = ""
    decided: datetime | None = None
    csr_fingerprint_sha1: str = ""
    request_id: str = ""


class RevocationReason(enum.IntEnum):
    """The CRLReason values that a person may give (RFC 5280 section 5.3.1)."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    privilegeWithdrawn = 9
    aACompromise = 10


@attrs.frozen
class Revocation:
    """When and why a certificate ended before its time (RFC 5280 section 5.3)."""

    at: datetime
    reason: RevocationReason
    invalid_since: datetime | None = None


@attrs.frozen
class RevokedEntry:
    """One entry of a CRL."""

    serial: int
    revocation: Revocation


@attrs.frozen
class Crl:
    """A published CRL (RFC 5280 section 5): `number` rises by one with each; `entries` is how many it lists."""

    issuer: str
    number: int
    this_update: datetime
    next_update: datetime
    der: bytes
    entries: int


@attrs.frozen
class Certificate:
    """A stored certificate row."""

    issuer: str
    serial: int
    state: CertificateState
    profile: str
    subject: str
    names: tuple[str, ...]
    public_key: bytes
    not_before: datetime
    not_after: datetime
    der: bytes | None
    transaction: int | None
    created: datetime
    id: int = 0
    revocation: Revocation | None = None
    lineage: Lineage | None = None  # None: the first of its line


@attrs.frozen
class Challenge:
    """A stored one-time challenge: never its text, only the keyed digest."""

    id: int
    profile: str
    digest: bytes
    common_name: str | None
    names: tuple[str, ...]  # as "dns:host"; empty = the profile's own rules alone
    expires: datetime
    uses: int
    uses_left: int
    state: ChallengeState
    created: datetime
    created_by: str
    transaction: int | None = None  # the last transaction that reserved or spent it
    spent_by: bytes | None = None  # SHA-256 of that requester's SubjectPublicKeyInfo
    sealed: bytes | None = None  # its text under the store key, where the profile takes password encryption


@attrs.frozen
class Entity:
    """A registered end entity: what it is called, what is vouched for, whether it may enrol; never its code.

    `digest` is None where no code was given, as of those that a registration authority's request made.
    `tries_left` None: wrong codes are not counted, since nobody guesses a generated one.
    """

    id: int
    profile: str
    username: str  # the common name of its requests
    state: EntityState
    digest: bytes | None
    attributes: tuple[tuple[str, str], ...]  # pairs of short name and value
    names: tuple[str, ...]  # as "dns:host"
    tries_left: int | None
    expires: datetime | None
    created: datetime
    created_by: str
    updated: datetime
    transaction: int | None = None  # the last one that took it
    spent_by: bytes | None = None  # SHA-256 of that requester's SubjectPublicKeyInfo


@attrs.frozen
class Token:
    """What another system presents to have one-time challenges made: never its text, only the keyed digest."""

    id: int
    name: str
    digest: bytes
    profiles: tuple[str, ...]
    pattern: str | None  # what the common name must match that each challenge is bound to; None: any, or no binding
    per_minute: int
    left: int | None  # challenges that it may still have made; None: no end
    expires: datetime | None
    created: datetime
    created_by: str
    revoked: datetime | None = None


@attrs.frozen
class Refusal:
    """A refused request, kept in a bounded table so that an operator can see where a device stopped."""

    at: datetime
    profile: str
    transaction_id: str
    requester: bytes
    message_type: int
    reason: Reason
    detail: str
    subject: str
    address: str
    request_id: str
    trail: tuple[Step, ...] = ()


@attrs.frozen
class Issued:
    """Outcome: a certificate exists and is on record."""

    transaction: Transaction
    certificate_der: bytes
    again: bool = False  # delivered before: the same answer for the same transaction


@attrs.frozen
class Pending:
    """Outcome: a person must decide."""

    transaction: Transaction


@attrs.frozen
class Rejected:
    """Outcome: refused; `reason` decides the wire answer."""

    reason: Reason
    detail: str = ""


@attrs.frozen
class Notice:
    """What an outside service is told of a request's end: `outcome` is issued, pending or rejected."""

    profile: str
    transaction_id: str
    request_id: str
    outcome: str
    reason: str = ""
    subject: str = ""
    serial: int | None = None
    not_after: datetime | None = None
    certificate_der: bytes | None = None
    identity_method: str = ""
    identity_name: str = ""
    number: int = 0  # of its row in the outbox: the same each time that it is told
    csr_der: bytes | None = attrs.field(default=None, repr=False)  # as received, for services that want it back


@attrs.frozen
class Posting:
    """A notice for one notifier: a row of the outbox, with how often it was tried."""

    kind: str  # the notifier's name
    notice: Notice
    enclosure: bytes | None = attrs.field(default=None, repr=False)
    attempts: int = 0


@attrs.frozen
class Found:
    """Outcome of a lookup: what was asked for, certificates or CRLs as DER; `subject` is for the log."""

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    subject: str = ""


Answered = Issued | Pending | Rejected  # what becomes of a request for a certificate
Outcome = Answered | Found


def to_json(value: Mapping[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    """Return canonical JSON: sorted keys, no spaces, so that equal values hash equally."""
    return _ENCODER.encode(value)
