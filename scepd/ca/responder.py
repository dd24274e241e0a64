"""OCSP: which issuer is asked about, what is on record, and an answer that the issuer's OCSP key signs (RFC 6960)."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Protocol, Self

import attrs

from scepd.ports import SigningKey
from scepd.records import CertificateState, Revocation
from scepd.refusal import Unavailable
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.ocsp import (
    FOREIGN,
    NEVER_ISSUED,
    CertificateStatus,
    ResponderCertificate,
    issuer_hashes,
    sign_answer,
    write_answer,
)
from scepd.x509.ocsp_request import CertId, OcspRequest, write_cert_id

_RETRY = 60  # seconds


class StatusStore(Protocol):
    """What answering needs of the store."""

    def generation(self) -> int:
        """Return the number that rises with each revocation."""

    def certificate_status(self, issuer: str, serial: int) -> tuple[CertificateState, Revocation | None] | None:
        """Return the state of a certificate and its revocation; None where there is no such row."""

    def responder_certificate(self, issuer: str) -> bytes | None:
        """Return the newest certificate of an issuer's OCSP key."""


@attrs.frozen(eq=False)
class OcspAnswer:
    """A signed answer; `known`: every certificate that it is about was issued, so that it is worth keeping.

    `generation` is the store's, before anything was read: where it has moved since, the answer may be wrong.
    """

    der: bytes
    this_update: datetime
    next_update: datetime
    generation: int
    known: bool

    @cached_property
    def tag(self) -> bytes:
        """An entity tag."""
        return b'"%b"' % hashlib.sha256(self.der).hexdigest()[:32].encode()


class Authorities:
    """The issuers that OCSP answers for, by the hashes with which they are asked about."""

    def __init__(self, certificates: Mapping[str, IssuerCertificate]) -> None:
        """Take the certificates of those issuers by name."""
        self._certificates = certificates
        self._names: dict[tuple[str, bytes, bytes], tuple[str, ...]] = {}
        for name, certificate in certificates.items():
            for hashes in issuer_hashes(certificate):
                self._names[hashes] = (*self._names.get(hashes, ()), name)

    def of(self, cert_id: CertId) -> tuple[str, ...]:
        """Return the issuers that a CertID may mean: several where they are one CA, none where it is another's."""
        return self._names.get((cert_id.algorithm, cert_id.name_hash, cert_id.key_hash), ())

    def asked_as(self, issuer: str, serial: int) -> list[CertId]:
        """Return the CertIDs with which a certificate is asked about, as OpenSSL writes them."""
        hashes = issuer_hashes(self._certificates[issuer])
        return [CertId(write_cert_id(*one, serial), *one, serial) for one in hashes]


@attrs.define
class Responder:
    """The OCSP key of one issuer, in one lane, and the certificates that it has."""

    issuer: str
    key: SigningKey
    first: ResponderCertificate  # of the configuration: it says which key is meant, and may have ended
    valid: timedelta  # from thisUpdate to nextUpdate
    lasting: timedelta = timedelta()  # for which an answer is given out again
    _newest: ResponderCertificate | None = attrs.field(default=None, init=False)
    _generation: int = attrs.field(default=-1, init=False)

    def certificate(self, store: StatusStore, generation: int, now: datetime) -> ResponderCertificate:
        """Return the newest certificate of this key that is valid now. Raises `Unavailable`."""
        if generation != self._generation:
            self._newest = newest_certificate(store, self.issuer, self.first)
            self._generation = generation
        for one in (self._newest, self.first):
            if one is not None and one.not_before <= now < one.not_after:
                return one
        raise Unavailable(f"no certificate of the OCSP key of issuer {self.issuer} is valid now", _RETRY)


def newest_certificate(store: StatusStore, issuer: str, first: ResponderCertificate) -> ResponderCertificate | None:
    """Return what was made for the configured key; None where there is nothing, or only of a former key."""
    der = store.responder_certificate(issuer)
    newest = None if der is None else ResponderCertificate.load(der)
    return newest if newest is not None and newest.public_key == first.public_key else None


@attrs.frozen
class Responders:
    """The responders of one lane by their issuers' names."""

    authorities: Authorities
    by_issuer: Mapping[str, Responder]

    @classmethod
    def of(cls, authorities: Authorities, responders: Iterable[Responder]) -> Self:
        """Put them together."""
        return cls(authorities, MappingProxyType({responder.issuer: responder for responder in responders}))

    def answer(self, store: StatusStore, request: OcspRequest, now: datetime) -> OcspAnswer | None:
        """Return the signed answer of the issuer that is asked about first; None where no issuer is ours.

        Of other issuers it says "unknown": a responder speaks for its own CA alone (RFC 6960 section 4.2.2.2). Raises
        `Unavailable`, `TokenFault`, and SealError where the signature is not the key's.
        """
        names = next(filter(None, map(self.authorities.of, request.certificates)), ())
        if not names:
            return None
        generation = store.generation()
        statuses = [(one, self._status(store, names, one)) for one in request.certificates]
        responder = self.by_issuer[names[0]]
        certificate = responder.certificate(store, generation, now)
        data, next_update = write_answer(statuses, certificate, now=now, valid=responder.valid, nonce=request.nonce)
        der = sign_answer(data, responder.key, certificate)
        known = all(status.ours and status.issued for _one, status in statuses)
        return OcspAnswer(der, now.replace(microsecond=0), next_update, generation, known)

    def _status(self, store: StatusStore, names: tuple[str, ...], cert_id: CertId) -> CertificateStatus:
        if self.authorities.of(cert_id) != names:
            return FOREIGN
        for name in names:
            found = store.certificate_status(name, cert_id.serial)
            if found is not None:
                return _judge(*found)
        return NEVER_ISSUED


def _judge(state: CertificateState, revocation: Revocation | None) -> CertificateStatus:
    """Return what is said of a row: good only of what was issued (C-305, threats S-108)."""
    if state is CertificateState.REVOKED:
        return CertificateStatus(revocation)
    return CertificateStatus() if state is CertificateState.ISSUED else NEVER_ISSUED


NO_RESPONDERS = Responders.of(Authorities({}), ())
