"""What a recovery brings back into a store that is older than what was published since."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from scepd.records.certificates import Crl, RevokedEntry


@attrs.frozen
class LostCertificate:
    """A certificate that the store has forgotten.

    Where only the audit trail tells of it, its bytes are gone, and `not_after` is the issuer's own end.
    """

    issuer: str
    serial: int
    issued: datetime
    not_after: datetime
    profile: str = ""
    subject: str = ""
    names: tuple[str, ...] = ()
    shard: int = 0  # of its issuer's CRL
    digest: str = ""  # SHA-256 of the certificate, hexadecimal
    der: bytes | None = None
    not_before: datetime | None = None
    public_key: bytes = b""  # SHA-256 of its SubjectPublicKeyInfo


@attrs.frozen
class LostRevocation:
    """A revocation that the store does not know (any more); `not_after` as of a lost certificate."""

    issuer: str
    entry: RevokedEntry
    not_after: datetime
    source: str  # "CRL 9", "audit n1/desk 12"
    shard: int = 0  # of the issuer's CRL


@attrs.frozen(kw_only=True)
class Imports:
    """Everything that could be found of what was lost.

    `crls` are the newest published ones; `floors` the greatest CRL numbers that may have been published, by the name
    of the CRL; `ends` when the certificates of the issuers end.
    `switch_off` are profiles whose spent credentials cannot be told from fresh ones for a while.
    """

    certificates: tuple[LostCertificate, ...] = ()
    revocations: tuple[LostRevocation, ...] = ()
    crls: tuple[Crl, ...] = ()
    floors: Mapping[str, int] = attrs.field(factory=dict)
    ends: Mapping[str, datetime] = attrs.field(factory=dict)
    switch_off: tuple[str, ...] = ()


@attrs.frozen
class Recovered:
    """What a recovery did, in numbers."""

    audit_rows: int = 0
    certificates: int = 0
    revocations: int = 0
    crls: int = 0
    challenges: int = 0
    entities: int = 0
    tokens: int = 0
    approvals: int = 0
    profiles: int = 0
