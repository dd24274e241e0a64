"""Requests as they were received, challenge included, sealed until a service that wants them back is told of their end."""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"scepd: enclosed requests, 1"
_NONCE = 12  # octets


class Enclosures:
    """Seals and opens under the store key, for one profile's rows alone."""

    def __init__(self, store_key: bytes, random: Callable[[int], bytes]) -> None:
        """Derive the key."""
        self._key = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(store_key))
        self._random = random

    def seal(self, profile: str, csr_der: bytes) -> bytes:
        """Return the sealed request."""
        nonce = self._random(_NONCE)
        return nonce + self._key.encrypt(nonce, csr_der, profile.encode())

    def open(self, profile: str, sealed: bytes) -> bytes | None:
        """Return the request; None where it was sealed under another store key or is damaged."""
        try:
            return self._key.decrypt(sealed[:_NONCE], sealed[_NONCE:], profile.encode())
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            return None
