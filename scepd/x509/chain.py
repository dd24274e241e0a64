"""Certificates in order, and the proof that one follows from another (RFC 5280 section 6)."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from scepd.refusal import OperatorError
from scepd.x509.draft import split, verifies
from scepd.x509.fields import UNREADABLE, tbs_fields
from scepd.x509.issuer import IssuerCertificate

_MAXIMUM_DEPTH = 8


def _check_signing(_policy: verification.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("it may not sign certificates")


# What makes a CA (RFC 5280 sections 4.2.1.3 and 4.2.1.9), and no more: CAs of factories have neither key usage nor key
# identifiers where `openssl req -x509` made them.
_PLAIN_CA = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_signing)
)


class ChainError(ValueError):
    """A certificate does not follow from what it should follow from."""


def order_chain(certificates: Sequence[bytes]) -> list[bytes]:
    """Return certificates with the lowest first, each followed by its issuer; copies are dropped.

    Raises OperatorError for bytes that are no certificate and for certificates that form no single line.
    """
    try:
        parsed = {der: x509.load_der_x509_certificate(der) for der in certificates}
    except UNREADABLE as error:
        raise OperatorError(
            f"a certificate of the chain is unreadable: {error}", "openssl x509 -text -in FILE"
        ) from None
    above = {der: [other for other in parsed if other != der and _issued(parsed[other], parsed[der])] for der in parsed}
    lowest = [der for der in parsed if not any(der in others for others in above.values())]
    ordered = lowest[:1]
    while ordered and len(above[ordered[-1]]) == 1 and above[ordered[-1]][0] not in ordered:
        ordered += above[ordered[-1]]
    if len(ordered) != len(parsed):
        raise OperatorError("the certificates form no single chain", "openssl crl2pkcs7 -nocrl -certfile FILE")
    return ordered


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, TypeError, InvalidSignature):
        return False
    return True


def verify_issued(certificate_der: bytes, issuer: IssuerCertificate, now: datetime) -> None:
    """Raise ChainError unless a certificate is the issuer's and valid: name by octets, key identifier, signature, time."""
    try:
        tbs, algorithm, signature = split(certificate_der)
        certificate = x509.load_der_x509_certificate(certificate_der)
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        issuer_der = tbs_fields(tbs)[3]
    except (*UNREADABLE, x509.ExtensionNotFound) as error:
        raise ChainError(f"unreadable: {error}") from None
    if issuer_der != issuer.subject_der or extension.value.key_identifier != issuer.key_identifier:
        raise ChainError("it names another issuer")
    if not verifies(tbs, algorithm, signature, issuer.public_key):
        raise ChainError("the signature does not verify")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc <= issuer.not_after:
        raise ChainError("it is not valid now, or longer than its issuer")


def verify_path(
    certificate_der: bytes, intermediates: Sequence[bytes], anchors: Sequence[bytes], now: datetime
) -> list[bytes]:
    """Return the verified path from a certificate to one of the anchors, the certificate first; ChainError if none.

    Extensions of the end entity are not judged: what a certificate may be used for is its profile's business.
    """
    try:
        store = verification.Store([x509.load_der_x509_certificate(der) for der in anchors])
        verifier = (
            verification.PolicyBuilder()
            .store(store)
            .time(now)
            .max_chain_depth(_MAXIMUM_DEPTH)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=verification.ExtensionPolicy.permit_all(),
            )
            .build_client_verifier()
        )
        certificate = x509.load_der_x509_certificate(certificate_der)
        verified = verifier.verify(certificate, [x509.load_der_x509_certificate(der) for der in intermediates])
    except (*UNREADABLE, verification.VerificationError) as error:
        raise ChainError(str(error)) from None
    return [found.public_bytes(serialization.Encoding.DER) for found in verified.chain]


def verify_client_path(
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: verification.Store,
    now: datetime,
) -> list[x509.Certificate]:
    """Return the verified path from somebody else's certificate to one of the anchors, both included; ChainError if none.

    Name constraints and path lengths hold; extensions of the end entity are for the caller to judge.
    """
    verifier = (
        verification.PolicyBuilder()
        .store(anchors)
        .time(now)
        .max_chain_depth(_MAXIMUM_DEPTH)
        .extension_policies(ca_policy=_PLAIN_CA, ee_policy=verification.ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        return verifier.verify(certificate, list(intermediates)).chain
    except (*UNREADABLE, verification.VerificationError) as error:
        raise ChainError(str(error)) from None
