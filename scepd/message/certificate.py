"""The certificates that come with a message, read leniently: only key, issuer and serial matter."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, lru_cache

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from scepd.message import tlv
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.kinds import is_ec, is_ed25519, is_rsa
from scepd.message.names import SUBJECT_KEY_IDENTIFIER
from scepd.message.tlv import Element, Fields
from scepd.refusal import Reason, Reject

MAXIMUM_CERTIFICATE = 16_384  # octets
MAXIMUM_SERIAL = 33  # octets: sscep and certmonger make serials of 32, which may need a leading zero

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_VERSION = 0xA0
_EXTENSIONS = 0xA3

SignerKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@attrs.frozen
class SignerCertificate:
    """A certificate by its parts: issuer, subject and key as DER.

    Version, validity, extensions and signature are not judged: devices sign with v1 certificates, serials of
    32 octets and odd times (sscep, certmonger), and a self-signed certificate says nothing but its key.
    """

    der: bytes
    issuer_der: bytes
    serial: int
    serial_der: bytes  # the INTEGER as received
    subject_der: bytes
    spki_der: bytes

    @property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same octets."""
        return self.issuer_der == self.subject_der

    @property
    def not_before(self) -> datetime | None:
        """The beginning of the validity, None where it cannot be read."""
        return self._validity[0]

    @property
    def not_after(self) -> datetime | None:
        """The end of the validity, None where it cannot be read."""
        return self._validity[1]

    @property
    def key_identifier(self) -> bytes:
        """The subjectKeyIdentifier, else SHA-1 of the key's bits (RFC 5280 section 4.2.1.2)."""
        return _key_identifier(self.der, self.spki_der)

    def public_key(self) -> SignerKey:
        """Return the RSA, EC or Ed25519 key; raises `Reject(signer_key_refused)` for any other and for broken ones."""
        if self._key is None:
            raise Reject(Reason.signer_key_refused, "signer key unreadable, or of no kind that signs here")
        return self._key

    @cached_property
    def _key(self) -> SignerKey | None:
        try:
            key = load_key(self.spki_der)
        except (ValueError, UnsupportedAlgorithm):
            return None
        if is_ec(key):
            return key if isinstance(key.curve, _CURVES) else None
        return key if is_rsa(key) or is_ed25519(key) else None

    @cached_property
    def _validity(self) -> tuple[datetime | None, datetime | None]:
        times = [_time_or_none(child) for child in _fields_after_issuer(tlv.read(self.der)).take().children[:2]]
        return (times[0], times[1]) if len(times) == 2 else (None, None)


@lru_cache(maxsize=8)  # the signer's key is the request's and the reply's
def load_key(spki_der: bytes) -> object:
    """Return the key in a SubjectPublicKeyInfo, of whatever kind; ValueError or UnsupportedAlgorithm when unreadable."""
    return load_der_public_key(spki_der)


@lru_cache(maxsize=64)
def load_certificate(der: bytes) -> SignerCertificate:
    """Return the parts of one DER certificate; raises `MessageError`. The few that are ours are read once."""
    return read_certificate(tlv.read(der))


def read_certificate(element: Element) -> SignerCertificate:
    """Return a certificate's parts; raises `MessageError` where key, issuer or serial cannot be found."""
    if len(element.der) > MAXIMUM_CERTIFICATE:
        raise LimitExceeded("certificate too large")
    fields = _fields(element)
    serial = fields.take(tlv.INTEGER)
    if len(serial.content) > MAXIMUM_SERIAL:
        raise LimitExceeded("serial number too long")
    fields.take(tlv.SEQUENCE)  # signature algorithm
    issuer = fields.take(tlv.SEQUENCE)
    fields.take(tlv.SEQUENCE)  # validity
    subject = fields.take(tlv.SEQUENCE)
    spki = fields.take(tlv.SEQUENCE)
    return SignerCertificate(
        der=element.der,
        issuer_der=issuer.normalise(),
        serial=serial.integer(),
        serial_der=serial.der,
        subject_der=subject.normalise(),
        spki_der=spki.normalise(),
    )


def _fields(certificate: Element) -> Fields:
    """Return a cursor that stands before the serial number."""
    fields = certificate.fields().take().fields()
    fields.optional(_VERSION)  # absent in v1
    return fields


def _fields_after_issuer(certificate: Element) -> Fields:
    fields = _fields(certificate)
    for _ in ("serial", "signature", "issuer"):
        fields.take()
    return fields


def _time_or_none(element: Element) -> datetime | None:
    try:
        return element.time()
    except MessageError:
        return None


def _key_identifier(certificate_der: bytes, spki_der: bytes) -> bytes:
    try:
        for extension in _extensions(_fields_after_issuer(tlv.read(certificate_der))):
            if extension.children[0].oid() == SUBJECT_KEY_IDENTIFIER:
                return tlv.read(extension.children[-1].octets()).octets()
    except (MessageError, IndexError):
        pass  # an extension that cannot be read is no reason to refuse a signer
    parts = tlv.read(spki_der).children
    bits = parts[-1].content[1:] if parts else b""
    return hashlib.sha1(bits, usedforsecurity=False).digest()


def _extensions(fields: Fields) -> Sequence[Element]:
    while (field := fields.optional()) is not None:
        if field.tag == _EXTENSIONS:
            return field.inner().children
    return ()
