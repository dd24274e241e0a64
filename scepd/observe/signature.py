"""Signatures by the audit key, over octets that say themselves what they are: seals, records of ceremonies."""

import hashlib
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from scepd.ports import SigningKey

AuditPublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
AuditKeys = Mapping[str, AuditPublicKey]


def sign(key: SigningKey, octets: bytes) -> bytes:
    """Return the signature with SHA-256: ECDSA, or RSASSA-PKCS1-v1_5 (what every token has)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(octets, ec.ECDSA(hashes.SHA256()))


def is_signed(key: AuditPublicKey, signature: bytes, octets: bytes) -> bool:
    """Return whether the signature is the key's over those octets."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, octets, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def fingerprint(spki_der: bytes) -> str:
    """Return how a seal names the key that signed it: SHA-256 of its SubjectPublicKeyInfo, in hexadecimal."""
    return hashlib.sha256(spki_der).hexdigest()


def fingerprint_of(key: SigningKey) -> str:
    """Return the fingerprint of a signing key."""
    return fingerprint(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def audit_keys(spkis: Iterable[bytes]) -> AuditKeys:
    """Return the keys of those SubjectPublicKeyInfos (DER) by their fingerprints."""
    keys: dict[str, AuditPublicKey] = {}
    for spki in spkis:
        key = load_der_public_key(spki)
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise TypeError("an audit key is RSA or EC")
        keys[fingerprint(spki)] = key
    return keys
