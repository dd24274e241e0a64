"""A request for a certificate on its way: what is durable of it, and where it stopped."""

import enum
from datetime import datetime, timedelta

import attrs

from scepd.records.certificates import CertificateState, Lineage
from scepd.records.identity import Identity
from scepd.refusal import Reason


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


@attrs.frozen
class TransactionKey:
    """The identity of a transaction: profile, transactionID as received, SHA-256 of the signer's SubjectPublicKeyInfo."""

    profile: str
    transaction_id: str
    requester: bytes


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
    shard: int = 0  # of the CRL that the certificate names
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
