"""A block list of public keys: what nobody may have certified, such as keys that leaked or that a flawed generator made."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.refusal import Reason, Reject
from scepd.x509.keys import PublicKey, load_public_key

# Debian's lists of what its OpenSSL made from 2006 to 2008 (CVE-2008-0166): the end of a SHA-1 over this text.
_DEBIAN = re.compile(r"[0-9a-f]{20}")
_SPKI = re.compile(r"[0-9a-f]{64}")


# SHA-256 digests of SubjectPublicKeyInfos, and names of RSA moduli.
Entries = tuple[frozenset[bytes], frozenset[bytes]]


@attrs.frozen
class _Sorted:
    """Octet strings of one length, packed: a list of half a million costs some megabytes, not a hundred."""

    packed: bytes = attrs.field(repr=False)
    width: int

    @classmethod
    def of(cls, entries: Collection[bytes], width: int) -> "_Sorted":
        return cls(b"".join(sorted(entries)), width)

    def __len__(self) -> int:
        return len(self.packed) // self.width

    def __getitem__(self, index: int) -> bytes:
        return self.packed[index * self.width : (index + 1) * self.width]

    def __contains__(self, entry: bytes) -> bool:
        index = bisect_left(self, entry)
        return index < len(self) and self[index] == entry


@attrs.frozen
class BlockedKeys:
    """Keys by SHA-256 of their SubjectPublicKeyInfo, and RSA moduli as Debian's openssl-blacklist names them."""

    digests: _Sorted
    moduli: _Sorted

    @classmethod
    def of(cls, lists: Iterable[Entries]) -> "BlockedKeys":
        """Return the keys of several lists."""
        digests: set[bytes] = set()
        moduli: set[bytes] = set()
        for one, other in lists:
            digests |= one
            moduli |= other
        return cls(_Sorted.of(digests, 32), _Sorted.of(moduli, 10))

    def __len__(self) -> int:
        return len(self.digests) + len(self.moduli)

    def check(self, spki_der: bytes) -> None:
        """Raise Reject(key_refused) for a key on the list (threats S-28)."""
        if hashlib.sha256(spki_der).digest() in self.digests:
            raise Reject(Reason.key_refused, "the key is on the block list")
        if len(self.moduli) and _debian_name(load_public_key(spki_der)) in self.moduli:
            raise Reject(Reason.key_refused, "the key is one of Debian's weak keys (CVE-2008-0166)")


def read_entries(text: str) -> Entries:
    """Return the keys in a text: one a line, 64 hex digits or 20; "#" begins a comment. ValueError names the line."""
    digests, moduli = set(), set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip().lower().replace(":", "")
        if _SPKI.fullmatch(word):
            digests.add(bytes.fromhex(word))
        elif _DEBIAN.fullmatch(word):
            moduli.add(bytes.fromhex(word))
        elif word:
            raise ValueError(f"line {number}: neither a SHA-256 (64 hex digits) nor a Debian entry (20)")
    return frozenset(digests), frozenset(moduli)


def _debian_name(key: PublicKey) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey):
        return b""
    text = f"Modulus={key.public_numbers().n:X}\n"
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()[-10:]
