"""Ceremonies: the certificates of the service's own keys, drafted, linted, signed by the CA key and verified."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs

from scepd.ports import SigningKey
from scepd.records import GeneralName, Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import (
    IssuerCertificate,
    RaRole,
    draft_ca_certificate,
    draft_ra_certificate,
    draft_tls_certificate,
    new_serial,
)
from scepd.x509.draft import Draft, IssuerPublicKey, seal
from scepd.x509.keys import PublicKey
from scepd.x509.lint import lint

# A ceremony and the first request may follow each other within a second, on machines whose clocks differ.
_BACKDATE = timedelta(minutes=5)

Kind = Literal["ca", "crossed", "ra", "tls"]


@attrs.frozen
class Ceremony:
    """The CA key at work for the service's own certificates; time and randomness come in."""

    key: SigningKey
    now: datetime
    random: Callable[[int], bytes]

    def found_ca(
        self,
        subject: Name,
        validity: timedelta,
        *,
        transport: bool = False,
        path_length: int | None = 0,
        like: IssuerCertificate | None = None,
    ) -> bytes:
        """Return a self-signed CA certificate that may issue end entities only, unless `path_length` says more.

        `transport` is for a CA that is its own RA: its key may then sign replies and be encrypted to (C-051). `like` is
        another CA certificate, whose name and key identifier this one has in place of `subject`.
        """
        public_key: IssuerPublicKey = self.key.public_key()
        draft = draft_ca_certificate(
            subject,
            public_key,
            serial=new_serial(self.random),
            not_before=self.now - _BACKDATE,
            not_after=self.now + validity,
            path_length=path_length,
            transport=transport,
            like=like,
        )
        return self._sign(draft, "ca" if like is None else "crossed", None)

    def certify_ra(self, issuer: IssuerCertificate, subject: Name, public_key: IssuerPublicKey, role: RaRole) -> bytes:
        """Return the certificate of an RA key, valid as long as the CA: it ends with the CA, unless rotated."""
        draft = draft_ra_certificate(
            subject,
            public_key,
            role=role,
            issuer=issuer,
            serial=new_serial(self.random),
            now=self.now,
            validity=issuer.not_after - self.now,
        )
        return self._sign(draft, "ra", issuer)

    def certify_tls(
        self,
        issuer: IssuerCertificate,
        names: Sequence[GeneralName],
        public_key: PublicKey,
        validity: timedelta,
    ) -> bytes:
        """Return the certificate of a TLS listener's key."""
        draft = draft_tls_certificate(
            names,
            public_key,
            issuer,
            serial=new_serial(self.random),
            now=self.now,
            validity=validity,
        )
        return self._sign(draft, "tls", issuer)

    def _sign(self, draft: Draft, kind: Kind, issuer: IssuerCertificate | None) -> bytes:
        findings = lint(draft.der, issuer, kind)
        if findings:
            listed = "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings)
            raise OperatorError(f"the {kind} certificate would be invalid: {listed}", "choose another name or validity")
        return seal(draft.der, self.key, self.key.public_key() if issuer is None else issuer.public_key)


@attrs.frozen
class Fingerprints:
    """The fingerprints of a certificate, upper-case hexadecimal with colons; old gear shows SHA-1 and MD5 only."""

    sha256: str
    sha1: str
    md5: str

    @classmethod
    def of(cls, certificate_der: bytes) -> "Fingerprints":
        """Return the fingerprints of the whole DER (RFC 8894 section 2.2)."""
        return cls(
            sha256=_with_colons(hashlib.sha256(certificate_der)),
            sha1=_with_colons(hashlib.sha1(certificate_der, usedforsecurity=False)),
            md5=_with_colons(hashlib.md5(certificate_der, usedforsecurity=False)),
        )


def _with_colons(digest: "hashlib._Hash") -> str:
    return digest.digest().hex(":").upper()
