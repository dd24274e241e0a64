"""Certificates, their revocation, and CRLs."""

import enum
from datetime import datetime

import attrs


class CertificateState(enum.Enum):
    """The life of a certificate row: reserved with its serial before signing, then issued or failed; later revoked."""

    RESERVED = "reserved"
    ISSUED = "issued"
    FAILED = "failed"
    REVOKED = "revoked"


@attrs.frozen
class Lineage:
    """Where a renewal stands: the row number of the certificate it replaces, how many came before, since when."""

    predecessor: int
    renewals: int  # of the certificate to come: 1 for the first renewal
    first_issued: datetime  # notBefore of the first certificate of the line


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
    """A published CRL (RFC 5280 section 5): `number` rises by one with each; `entries` is how many it lists.

    `issuer` is the name of the CRL: its issuer's, or that of one of its shards (`records.crl_name`).
    """

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
    shard: int = 0  # of its issuer's CRL
