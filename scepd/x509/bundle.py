"""Files of trust anchors that an operator keeps for the clients of a profile (threats M)."""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification

from scepd.refusal import OperatorError
from scepd.x509.fields import UNREADABLE

_MAXIMUM_ANCHORS = 500
_SMALLEST_RSA = 2048  # bits
_SHOW = "openssl storeutl -noout -text -certs FILE"

E = TypeVar("E", bound=x509.ExtensionType)


@attrs.frozen(eq=False)
class Bundle:
    """The anchors of one file, ready to verify with."""

    certificates: tuple[x509.Certificate, ...]
    store: verification.Store


def read_bundle(pem: bytes) -> Bundle:
    """Return the anchors of a PEM file; raises OperatorError for the first thing that is wrong, dates not counted.

    A certificate that ends while we serve is for the verifier to overlook: the others stay good.
    """
    certificates = _read_certificates(pem)
    for certificate in certificates:
        for problem in _judge_anchor(certificate):
            raise problem
    return Bundle(certificates, verification.Store(list(certificates)))


def judge_bundle(pem: bytes, now: datetime) -> tuple[OperatorError, ...]:
    """Return everything that is wrong with a file of anchors: unreadable, empty, expired, no CA, too weak a key."""
    try:
        certificates = _read_certificates(pem)
    except OperatorError as problem:
        return (problem,)
    return tuple(
        problem
        for certificate in certificates
        for problem in (*_judge_anchor(certificate), *_judge_dates(certificate, now))
    )


def _read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    if b"PRIVATE KEY" in pem:
        raise OperatorError("it holds a private key", "openssl x509 -in FILE -out anchors.pem")
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise OperatorError("it holds no PEM certificate", "openssl x509 -inform der -in FILE -out anchors.pem")
    try:
        found = x509.load_pem_x509_certificates(pem)
        for certificate in found:
            # The library reads fields when they are asked for.
            certificate.public_key()
            list(certificate.extensions)
            str(certificate.subject)
    except UNREADABLE as error:
        raise OperatorError(f"a certificate in it is unreadable: {error}", _SHOW) from None
    certificates = tuple(dict.fromkeys(found))
    if len(certificates) > _MAXIMUM_ANCHORS:
        raise OperatorError(
            f"it holds {len(certificates)} certificates", "keep the CAs of this profile's clients alone"
        )
    return certificates


def _judge_anchor(certificate: x509.Certificate) -> Iterator[OperatorError]:
    name = certificate.subject.rfc4514_string()
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        yield OperatorError(f"{name} is no CA certificate", "name the CA that signed it, basicConstraints CA:TRUE")
    elif usage is not None and not usage.key_cert_sign:
        yield OperatorError(f"{name} may not sign certificates (keyUsage)", "name the CA's own certificate")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        yield OperatorError(f"{name} has a key that is neither RSA nor EC", "name another CA")
    elif isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        yield OperatorError(f"{name} has an RSA key of {key.key_size} bits", f"a CA of {_SMALLEST_RSA} bits or more")


def _judge_dates(certificate: x509.Certificate, now: datetime) -> Iterator[OperatorError]:
    name = certificate.subject.rfc4514_string()
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        yield OperatorError(f"{name} expired on {end:%Y-%m-%d %H:%M} UTC", "take it out; check the clock: date -u")
    elif now < begin:
        yield OperatorError(f"{name} is valid only from {begin:%Y-%m-%d %H:%M} UTC", "check the clock: date -u")


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
