"""OCSP answers: written by our own DER writer, since cryptography's builder takes one certificate alone (RFC 6960)."""

import enum
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepd.message import tlv
from scepd.records import Revocation, RevocationReason
from scepd.x509.draft import IssuerPublicKey, PrivateKey, SealError, sign_tbs, signature_algorithm, verifies
from scepd.x509.fields import contents, elements
from scepd.x509.issuer import IssuerCertificate, issuing_digest
from scepd.x509.keys import encode_public_key
from scepd.x509.ocsp_request import SHA1, SHA256, CertId

_BASIC = tlv.oid("1.3.6.1.5.5.7.48.1.1")
_NONCE = tlv.oid("1.3.6.1.5.5.7.48.1.2")
_EXTENDED_REVOKE = tlv.sequence(tlv.oid("1.3.6.1.5.5.7.48.1.9"), tlv.octet_string(tlv.null()))
_ENUMERATED = 0x0A
_GOOD, _UNKNOWN = tlv.implicit(0, b"", constructed=False), tlv.implicit(2, b"", constructed=False)
_BEGINNING_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class OcspStatus(enum.IntEnum):
    """Why there is no answer (RFC 6960 section 4.2.1)."""

    malformedRequest = 1
    internalError = 2
    tryLater = 3
    unauthorized = 6


@attrs.frozen
class CertificateStatus:
    """What is known of one certificate: good without a `revocation`.

    `issued` False: it was never issued, and is said to be revoked all the same (RFC 6960 section 4.4.8); `ours` False:
    its issuer is another's, and nothing is said of it.
    """

    revocation: Revocation | None = None
    issued: bool = True
    ours: bool = True


NEVER_ISSUED = CertificateStatus(Revocation(_BEGINNING_OF_TIME, RevocationReason.certificateHold), issued=False)
FOREIGN = CertificateStatus(ours=False)


@attrs.frozen(eq=False)
class ResponderCertificate:
    """The certificate of an OCSP key, with what each answer needs worked out once."""

    der: bytes
    certificate: x509.Certificate
    public_key: IssuerPublicKey
    algorithm_der: bytes
    responder_der: bytes  # ResponderID, by key: shorter than the name (C-310)
    not_before: datetime
    not_after: datetime

    @classmethod
    def load(cls, der: bytes) -> Self:
        """Read a certificate of ours; ValueError where it is none that may answer (RFC 6960 section 4.2.2.2)."""
        certificate = x509.load_der_x509_certificate(der)
        public_key = certificate.public_key()
        if not may_answer(certificate) or not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError("no certificate for OCSP signing")
        return cls(
            der=der,
            certificate=certificate,
            public_key=public_key,
            algorithm_der=signature_algorithm(public_key, issuing_digest(public_key)),
            responder_der=tlv.explicit(2, tlv.octet_string(key_hash(encode_public_key(public_key), SHA1))),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )


def may_answer(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is for OCSP signing."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def key_hash(spki_der: bytes, algorithm: str) -> bytes:
    """Return the hash of the key's BIT STRING without its unused bits (RFC 6960 section 4.1.1, issuerKeyHash)."""
    return _hash(contents(elements(contents(spki_der))[1])[1:], algorithm)


def issuer_hashes(issuer: IssuerCertificate) -> list[tuple[str, bytes, bytes]]:
    """Return algorithm, name hash and key hash of the CertIDs that mean this issuer."""
    spki_der = encode_public_key(issuer.public_key)
    return [(name, _hash(issuer.subject_der, name), key_hash(spki_der, name)) for name in (SHA1, SHA256)]


def _hash(data: bytes, algorithm: str) -> bytes:
    if algorithm == SHA256:
        return hashlib.sha256(data).digest()
    return hashlib.sha1(data, usedforsecurity=False).digest()  # C-303: it names an issuer, and protects nothing


def refuse_request(status: OcspStatus) -> bytes:
    """Return an unsigned answer without content (RFC 6960 section 4.2.1)."""
    return tlv.sequence(tlv.write(_ENUMERATED, bytes((status,))))


def write_answer(
    statuses: Sequence[tuple[CertId, CertificateStatus]],
    responder: ResponderCertificate,
    *,
    now: datetime,
    valid: timedelta,
    nonce: bytes | None = None,
) -> tuple[bytes, datetime]:
    """Return a ResponseData (RFC 6960 section 4.2.1) and its nextUpdate: not past the responder's own certificate."""
    this_update = now.replace(microsecond=0)
    next_update = min(this_update + valid, responder.not_after)
    times = _time(this_update) + tlv.explicit(0, _time(next_update))  # C-306: nextUpdate always
    singles = [tlv.sequence(cert_id.der, _status(status), times) for cert_id, status in statuses]
    extensions = _extensions((status for _cert_id, status in statuses), nonce)
    data = tlv.sequence(responder.responder_der, _time(this_update), tlv.sequence(*singles), extensions)
    return data, next_update


def sign_answer(data: bytes, key: PrivateKey, responder: ResponderCertificate) -> bytes:
    """Return the OCSPResponse over a ResponseData: signed, then read by cryptography and verified.

    Raises SealError where the octets read are not those that were to be signed, or the signature is not the
    responder's (threats S-110).
    """
    algorithm = responder.algorithm_der
    signature = sign_tbs(data, algorithm, key)
    certificates = tlv.explicit(0, tlv.sequence(responder.der))
    basic = tlv.sequence(data, algorithm, tlv.bit_string(signature), certificates)
    der = tlv.sequence(tlv.write(_ENUMERATED, b"\0"), tlv.explicit(0, tlv.sequence(_BASIC, tlv.octet_string(basic))))
    parsed = ocsp.load_der_ocsp_response(der)
    if parsed.tbs_response_bytes != data:
        raise SealError("the sealed octets are not those that were written")
    if not verifies(parsed.tbs_response_bytes, algorithm, parsed.signature, responder.public_key):
        raise SealError("the signature does not verify with the responder's public key")
    return der


def _extensions(statuses: Iterable[CertificateStatus], nonce: bytes | None) -> bytes:
    found = [] if nonce is None else [tlv.sequence(_NONCE, tlv.octet_string(tlv.octet_string(nonce)))]
    if not all(status.issued for status in statuses):
        found.append(_EXTENDED_REVOKE)
    return tlv.explicit(1, tlv.sequence(*found)) if found else b""


def _status(status: CertificateStatus) -> bytes:
    if not status.ours:
        return _UNKNOWN
    if status.revocation is None:
        return _GOOD
    reason = status.revocation.reason
    # Unspecified is said by leaving it out, as in a CRL (C-292).
    code = tlv.explicit(0, tlv.write(_ENUMERATED, bytes((reason,)))) if reason else b""
    return tlv.implicit(1, _time(status.revocation.at) + code, constructed=True)


def _time(moment: datetime) -> bytes:
    """Return a GeneralizedTime with seconds and without fractions (C-306)."""
    moment = moment.astimezone(UTC)
    return tlv.write(tlv.GENERALIZED_TIME, f"{moment.year:04}{moment:%m%d%H%M%S}Z".encode())
