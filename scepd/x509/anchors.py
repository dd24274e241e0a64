"""Whose signed challenges are believed: the keys of a PEM file, each with its one algorithm."""

import hashlib
import re
from datetime import datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from scepd.refusal import OperatorError

_BLOCK = re.compile(rb"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----.+?-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ")
_MOST = 16  # keys that one token may be tried with
_SMALLEST_RSA = 2_048  # bits

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@attrs.frozen
class Anchor:
    """A key whose signatures are believed, the one algorithm it is used with, and until when."""

    key: Key
    algorithm: str  # of RFC 7518: RS256 or ES256, as the key's type says
    key_id: bytes  # SHA-256 of its SubjectPublicKeyInfo
    not_before: datetime | None = None  # of a certificate
    not_after: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether it can be used now."""
        return (self.not_before is None or self.not_before <= now) and (self.not_after is None or now < self.not_after)


def read_anchors(octets: bytes, now: datetime) -> tuple[Anchor, ...]:
    """Return the anchors of a PEM file; one block that cannot be used makes the whole file unusable.

    Raises OperatorError: nothing in it, something half written, a certificate of a CA (which signs certificates, not
    challenges), a weak or unknown key, or nothing that is valid now.
    """
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(octets)]
    if len(blocks) != len(_BEGIN.findall(octets)):
        raise unusable("holds something that is neither a whole certificate nor a whole public key")
    anchors = tuple(_read_block(kind, pem) for kind, pem in blocks)
    if len(anchors) > _MOST:
        raise unusable(f"holds more than {_MOST} keys")
    if not any(anchor.is_valid(now) for anchor in anchors):
        raise unusable("holds nothing that is valid now")
    return anchors


def _read_block(kind: bytes, pem: bytes) -> Anchor:
    try:
        if kind == b"PUBLIC KEY":
            return _anchor(load_pem_public_key(pem))
        certificate = x509.load_pem_x509_certificate(pem)
        _require_signer(certificate)
        anchor = _anchor(certificate.public_key())
    except ValueError as error:
        raise unusable("holds an unreadable certificate or key") from error
    return attrs.evolve(
        anchor, not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc
    )


def _require_signer(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise unusable("holds the certificate of a CA; name the one that signs the challenges")
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            raise unusable("holds a certificate that may not sign")


def _anchor(key: object) -> Anchor:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        algorithm = "RS256"
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        algorithm = "ES256"
    else:
        raise unusable(f"holds a key that is neither RSA of {_SMALLEST_RSA} bits or more nor P-256")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Anchor(key, algorithm, hashlib.sha256(spki).digest())


def unusable(problem: str) -> OperatorError:
    """Return what is wrong with a file of anchors."""
    hint = "openssl x509 -in anchors.pem -noout -subject -enddate   (of each certificate in it)"
    return OperatorError(f"the trust bundle of signed challenges {problem}", hint)
