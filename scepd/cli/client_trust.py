"""Whom the SCEP client believes: the pinned CA, RA certificates below it, what they issue (RFC 8894 section 2.2)."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepd.refusal import OperatorError

DISTRUST = "do not use this certificate; tell the operator of the CA"
_LONGEST_CHAIN = 8
_PURPOSES_OF_DEVICES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION}
_PIN_DIGESTS = {40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}  # by hexadecimal digits


@attrs.frozen
class Authority:
    """What a server served as its CA, checked: the pinned anchor, the recipient of requests, the signers of replies."""

    certificates: tuple[bytes, ...]  # as served
    anchor: bytes
    issuer: bytes  # the CA that issues: the lowest one below the anchor, or the anchor itself
    recipient: bytes | None  # None: no RSA key is served, only the challenge can protect a request (EC)
    signers: tuple[bytes, ...]


def establish(certificates: Sequence[bytes], fingerprint: str | None, now: datetime) -> Authority:
    """Return the authority whose CA has that fingerprint; without one, trust the CA that was served.

    Every RA certificate must lead to the anchor by signatures. Raises `OperatorError`.
    """
    pool = _load(certificates)
    anchor = _first_ca(pool) if fingerprint is None else _pinned(pool, fingerprint)
    believed = [one for one in pool if _leads_to(one, anchor, pool) and _is_current(one, now)]
    recipient = next((one for one in _by_role(believed) if _may_encrypt_to(one)), None)
    if recipient is None and not any(_is_elliptic(one) for one in _by_role(believed)):
        raise OperatorError(
            "none of the server's certificates can take an encrypted request",
            "look at them: scepd client getca --url URL --out FILE",
        )
    return Authority(
        certificates=tuple(certificates),
        anchor=_der(anchor),
        issuer=_der(next(one for one in _by_role(believed) if _is_ca(one))),
        recipient=None if recipient is None else _der(recipient),
        signers=tuple(_der(one) for one in _by_role(believed) if _may_sign(one)),
    )


def check_issued(
    issued: bytes, public_key_der: bytes, others: Iterable[bytes], authority: Authority, now: datetime
) -> None:
    """Check that the certificate has our key, leads to the pinned CA, is none itself and valid now (threats S-85).

    `others` came with it. Raises `OperatorError`.
    """
    certificate = _load([issued])[0]
    if certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public_key_der:
        raise OperatorError("the issued certificate is for another key than the request", DISTRUST)
    pool = _load([*authority.certificates, *others])
    if not _leads_to(certificate, _load([authority.anchor])[0], pool):
        raise OperatorError("the issued certificate does not lead to the pinned CA", DISTRUST)
    if _is_ca(certificate):
        raise OperatorError("the issued certificate is that of a CA, which nobody asked for", DISTRUST)
    if not _is_current(certificate, now):
        raise OperatorError("the issued certificate is not valid at this moment", "check the clocks of both sides")


def chain_of(issued: bytes, others: Iterable[bytes], authority: Authority) -> list[bytes]:
    """Return the certificates above the issued one, nearest first, up to the pinned CA."""
    pool = _load([*authority.certificates, *others])
    path = _path(_load([issued])[0], _load([authority.anchor])[0], pool)
    return [_der(one) for one in path[1:]]


def _load(certificates: Iterable[bytes]) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(der) for der in certificates]
    except ValueError as error:
        raise OperatorError(
            f"the server sent a certificate that cannot be read: {error}", "is this a SCEP server?"
        ) from error


def _pinned(pool: Sequence[x509.Certificate], fingerprint: str) -> x509.Certificate:
    wanted = "".join(fingerprint.split()).replace(":", "").lower()
    algorithm = _PIN_DIGESTS.get(len(wanted))
    if algorithm is None or not set(wanted) <= set("0123456789abcdef"):
        raise OperatorError(
            f"{fingerprint!r} is no fingerprint", "--fingerprint with the SHA-256 of the CA certificate in hexadecimal"
        )
    for one in pool:
        if hashlib.new(algorithm, _der(one)).hexdigest() == wanted:
            if not _is_ca(one):
                raise OperatorError(
                    "the fingerprint is that of an RA certificate", "--fingerprint of the CA certificate"
                )
            return one
    seen = (
        ", ".join(hashlib.new(algorithm, _der(one)).hexdigest() for one in pool if _is_ca(one)) or "no CA certificate"
    )
    raise OperatorError(
        f"the server's CA is not the pinned one (seen: {seen})",
        "compare the fingerprint with the CA's operator; a wrong CA would learn the challenge",
    )


def _first_ca(pool: Sequence[x509.Certificate]) -> x509.Certificate:
    authorities = [one for one in pool if _is_ca(one)]
    if not authorities:
        raise OperatorError("the server serves no CA certificate", "is this a SCEP server?")
    # The highest one served, so that everything below it leads there.
    return next((one for one in authorities if one.subject == one.issuer), authorities[-1])


def _leads_to(certificate: x509.Certificate, anchor: x509.Certificate, pool: Sequence[x509.Certificate]) -> bool:
    return bool(_path(certificate, anchor, pool))


def _path(
    certificate: x509.Certificate, anchor: x509.Certificate, pool: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    path = [certificate]
    for _step in range(_LONGEST_CHAIN):
        if path[-1] == anchor:
            return path
        parents = [anchor, *(one for one in pool if _is_ca(one) and one not in path)]
        parent = next((one for one in parents if _is_issued_by(path[-1], one)), None)
        if parent is None:
            return []
        path.append(parent)
    return []


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _by_role(pool: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    # RA certificates first, in the order served (a rotation serves the new one first); then the lowest CA.
    everything = list(pool)
    registration = [one for one in everything if not _is_ca(one) and _may_be_ra(one)]
    issuing = [one for one in everything if _is_ca(one) and not _issued_another_ca(one, everything)]
    return registration + issuing


def _may_be_ra(certificate: x509.Certificate) -> bool:
    # A device of the same CA could put its own certificate into an answer over plain HTTP, and learn challenges.
    try:
        purposes = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return True
    return bool(purposes - _PURPOSES_OF_DEVICES)


def _issued_another_ca(certificate: x509.Certificate, pool: Sequence[x509.Certificate]) -> bool:
    return any(_is_ca(one) and one != certificate and _is_issued_by(one, certificate) for one in pool)


def _may_encrypt_to(certificate: x509.Certificate) -> bool:
    usage = _key_usage(certificate)
    fits = usage is None or usage.key_encipherment or usage.data_encipherment
    return fits and isinstance(certificate.public_key(), rsa.RSAPublicKey)


def _is_elliptic(certificate: x509.Certificate) -> bool:
    return isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def _may_sign(certificate: x509.Certificate) -> bool:
    usage = _key_usage(certificate)
    # A CA that is its own RA may lack digitalSignature (old servers); its key is the anchor of everything anyway.
    return usage is None or usage.digital_signature or _is_ca(certificate)


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return certificate.version is x509.Version.v1 and certificate.subject == certificate.issuer


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    # A certificate that begins within five minutes is taken: the clocks of two machines differ.
    return (
        certificate.not_valid_before_utc.timestamp() - 300
        <= now.timestamp()
        <= certificate.not_valid_after_utc.timestamp()
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
