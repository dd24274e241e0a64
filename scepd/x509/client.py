"""Judging the certificate that a TLS client presented, against the anchors of one profile (threats S-95 to S-97)."""

import enum
import hashlib
from collections.abc import Sequence
from datetime import datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepd.records import ClientIdentity
from scepd.x509.bundle import Bundle
from scepd.x509.chain import ChainError, verify_client_path
from scepd.x509.fields import UNREADABLE
from scepd.x509.names import from_x509, from_x509_general_name, to_text
from scepd.x509.revocation import RevocationLists, Revoked

_MAXIMUM_PRESENTED = 10  # certificates; each costs a signature, perhaps several
_MAXIMUM_LENGTH = 32_768  # octets of one certificate
_RSA_BITS = range(2048, 8193)
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


class ClientFault(enum.Enum):
    """Why a certificate does not open a profile's gate; the word of log and metrics."""

    missing = "missing"
    unreadable = "unreadable"
    untrusted = "untrusted"
    not_yet_valid = "not_yet_valid"
    expired = "expired"
    wrong_purpose = "wrong_purpose"
    weak_key = "weak_key"
    weak_digest = "weak_digest"
    revoked = "revoked"
    not_on_record = "not_on_record"


class ClientRefused(ValueError):  # noqa: N818 - the outcome of a judgement
    """A client's certificate is refused: why, and a detail for the log."""

    def __init__(self, fault: ClientFault, detail: str = "") -> None:
        """Keep both."""
        super().__init__(fault.value, detail)
        self.fault = fault
        self.detail = detail


@attrs.frozen(eq=False)
class ClientTrust:
    """What a certificate is judged by: the profile's anchors, CAs of ours that may stand between, revocation lists.

    `purpose_optional` admits certificates without any extended key usage, as factories give them (IEEE 802.1AR).
    """

    bundle: Bundle
    intermediates: tuple[x509.Certificate, ...] = ()
    lists: RevocationLists | None = None
    purpose_optional: bool = False


def verify_client(presented: Sequence[bytes], trust: ClientTrust, now: datetime) -> list[x509.Certificate]:
    """Return the path from the client's certificate, the first of those presented, to an anchor of the profile.

    What comes after the first is a hint of the client's and nothing more. Revocation is judged by `judge_lists`.
    Raises `ClientRefused`.
    """
    if not presented:
        raise ClientRefused(ClientFault.missing)
    if len(presented) > _MAXIMUM_PRESENTED or any(len(der) > _MAXIMUM_LENGTH for der in presented):
        raise ClientRefused(ClientFault.unreadable, "too many or too long certificates")
    certificate = _load(presented[0])
    if certificate is None:
        raise ClientRefused(ClientFault.unreadable)
    _judge_dates(certificate, now)
    _judge_strength(certificate)
    hints = [hint for hint in map(_load, presented[1:]) if hint is not None and _has_strong_key(hint)]
    try:
        path = verify_client_path(certificate, [*hints, *trust.intermediates], trust.bundle.store, now)
    except ChainError as error:
        raise ClientRefused(ClientFault.untrusted, str(error)) from None
    _judge_purpose(certificate, purpose_optional=trust.purpose_optional)
    return path


def judge_lists(path: Sequence[x509.Certificate], lists: RevocationLists, now: datetime) -> None:
    """Raise `ClientRefused(revoked)` by the lists; `revocation.ListMissing` where they do not say."""
    try:
        lists.judge(path, now)
    except Revoked as revoked:
        raise ClientRefused(ClientFault.revoked, str(revoked)) from None


def identify(certificate: x509.Certificate, der: bytes) -> ClientIdentity:
    """Return who the holder of a verified certificate is; alternative names of kinds that we do not know are left out."""
    names = []
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = [text for text in map(_name_text, extension.value) if text]
    return ClientIdentity(
        subject=to_text(from_x509(certificate.subject)),
        names=tuple(names),
        serial=certificate.serial_number,
        issuer=to_text(from_x509(certificate.issuer)),
        digest=hashlib.sha256(der).digest(),
    )


def _name_text(name: x509.GeneralName) -> str:
    try:
        known = from_x509_general_name(name)
    except ValueError:
        return ""
    return f"{known.kind}:{known.value}"


def _load(der: bytes) -> x509.Certificate | None:
    """Return a certificate whose every part that anybody asks for can be read; None for any other octets."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        list(certificate.extensions)
        str((certificate.subject, certificate.issuer, certificate.signature_hash_algorithm))
    except UNREADABLE:
        return None
    return certificate


def _judge_dates(certificate: x509.Certificate, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise ClientRefused(ClientFault.expired, f"on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc:
        raise ClientRefused(ClientFault.not_yet_valid, f"until {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _judge_strength(certificate: x509.Certificate) -> None:
    if not _has_strong_key(certificate):
        raise ClientRefused(ClientFault.weak_key)
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name not in _DIGESTS:
        raise ClientRefused(ClientFault.weak_digest, digest.name)


def _has_strong_key(certificate: x509.Certificate) -> bool:
    """Return whether the key is of a kind and size that we take, and that costs little to verify with."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size in _RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    return isinstance(key, ed25519.Ed25519PublicKey)


def _judge_purpose(certificate: x509.Certificate, *, purpose_optional: bool) -> None:
    purposes: list[x509.ObjectIdentifier] | None = None
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise ClientRefused(ClientFault.wrong_purpose, "it is a CA certificate")
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            raise ClientRefused(ClientFault.wrong_purpose, "its key usage has no digitalSignature")
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            purposes = list(extension.value)
    if purposes is None and not purpose_optional:
        raise ClientRefused(ClientFault.wrong_purpose, "it has no extended key usage")
    # anyExtendedKeyUsage is no clientAuth: whoever issues such certificates did not think of this gate.
    if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise ClientRefused(ClientFault.wrong_purpose, "its extended key usage has no clientAuth")
