"""Digests, ciphers, key transports and signature algorithms: their OIDs, and which of them a profile takes."""

import enum
import hashlib
from collections.abc import Callable

import attrs
from cryptography.hazmat.primitives import hashes


class Digest(enum.Enum):
    """A digest algorithm by its dotted OID, the octets of its output and cryptography's class of it.

    `hash` is an object of that class, `hasher` makes a hashlib object.
    """

    MD5 = ("1.2.840.113549.2.5", 16, hashes.MD5)
    SHA1 = ("1.3.14.3.2.26", 20, hashes.SHA1)
    SHA256 = ("2.16.840.1.101.3.4.2.1", 32, hashes.SHA256)
    SHA384 = ("2.16.840.1.101.3.4.2.2", 48, hashes.SHA384)
    SHA512 = ("2.16.840.1.101.3.4.2.3", 64, hashes.SHA512)

    def __init__(self, oid: str, size: int, algorithm: type[hashes.HashAlgorithm]) -> None:
        """Keep the parts of the value as attributes, since `value` costs a call."""
        self.oid = oid
        self.size = size
        self.hash = algorithm()
        self.hasher: Callable[..., hashlib._Hash] = getattr(hashlib, self.hash.name)

    __hash__ = object.__hash__  # members are identical when they are equal


class Cipher(enum.Enum):
    """A content cipher in CBC mode by its dotted OID, octets of key, octets of block and IV."""

    DES = ("1.3.14.3.2.7", 8, 8)
    DES3 = ("1.2.840.113549.3.7", 24, 8)
    AES128 = ("2.16.840.1.101.3.4.1.2", 16, 16)
    AES192 = ("2.16.840.1.101.3.4.1.22", 24, 16)
    AES256 = ("2.16.840.1.101.3.4.1.42", 32, 16)

    def __init__(self, oid: str, key_size: int, block_size: int) -> None:
        """Keep the parts of the value as attributes, since `value` costs a call."""
        self.oid = oid
        self.key_size = key_size
        self.block_size = block_size

    __hash__ = object.__hash__  # members are identical when they are equal


@attrs.frozen
class KeyTransport:
    """How a content key is encrypted with RSA: PKCS#1 v1.5 (`oaep` None) or OAEP with one digest for label and MGF1."""

    oaep: Digest | None = None

    def __str__(self) -> str:
        """Name it for logs."""
        return "pkcs1v15" if self.oaep is None else f"oaep-{self.oaep.name.lower()}"


PKCS1V15 = KeyTransport()
OAEP_SHA1 = KeyTransport(Digest.SHA1)
OAEP_SHA256 = KeyTransport(Digest.SHA256)

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
RSAES_OAEP = "1.2.840.113549.1.1.7"
MGF1 = "1.2.840.113549.1.1.8"
RSASSA_PSS = "1.2.840.113549.1.1.10"
EC_PUBLIC_KEY = "1.2.840.10045.2.1"

RSA_SIGNATURES: dict[str, Digest] = {
    "1.2.840.113549.1.1.4": Digest.MD5,
    "1.2.840.113549.1.1.5": Digest.SHA1,
    "1.2.840.113549.1.1.11": Digest.SHA256,
    "1.2.840.113549.1.1.12": Digest.SHA384,
    "1.2.840.113549.1.1.13": Digest.SHA512,
}

ECDSA_SIGNATURES: dict[str, Digest] = {
    "1.2.840.10045.4.1": Digest.SHA1,
    "1.2.840.10045.4.3.2": Digest.SHA256,
    "1.2.840.10045.4.3.3": Digest.SHA384,
    "1.2.840.10045.4.3.4": Digest.SHA512,
}

ED25519 = "1.3.101.112"

MODERN_DIGESTS = frozenset({Digest.SHA256, Digest.SHA384, Digest.SHA512})
MODERN_CIPHERS = frozenset({Cipher.AES128, Cipher.AES192, Cipher.AES256})


@attrs.frozen
class CryptoPolicy:
    """What a profile takes from a message; the reply mirrors it."""

    digests: frozenset[Digest] = MODERN_DIGESTS
    ciphers: frozenset[Cipher] = MODERN_CIPHERS
    transports: frozenset[KeyTransport] = frozenset({PKCS1V15, OAEP_SHA1, OAEP_SHA256})
    minimum_signer_rsa: int = 2048  # bits
    maximum_signer_rsa: int = 8192  # bits
    ed25519: bool = False  # signers with Ed25519 keys (RFC 8419)
    passwords: bool = False  # content keys under a challenge password (RFC 8894 section 3.1)
    content_type_optional: bool = False  # a message without the contentType attribute is about id-data (libscep)
