"""What the host does around the token's bare operations: DigestInfo, ECDSA framing, and RSA unpadding in constant work."""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from scepd.message.algorithms import Digest, KeyTransport

# DigestInfo up to the digest's octets (RFC 8017 section 9.2, note 1), by hashlib name.
_DIGEST_INFO = {
    "md5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_IS_ZERO = bytes([1]) + bytes(255)  # translation table: 00 becomes 01, everything else 00
_LENGTH_OCTETS = 4
_MAXIMUM_KEY = 32  # octets of the longest content key (AES-256)
_EDGE = 2  # ciphertexts 0, 1, n-2 + 1 and beyond are never what a sender made

HashAlgorithm = Prehashed | hashes.HashAlgorithm


def digest(data: bytes, algorithm: HashAlgorithm) -> tuple[str, bytes]:
    """Return the digest's hashlib name and octets; `Prehashed` data is taken as it is."""
    if isinstance(algorithm, Prehashed):
        name = algorithm._algorithm.name  # noqa: SLF001 - cryptography gives no other way to it
        return name, bytes(data)
    return algorithm.name, hashlib.new(algorithm.name, data, usedforsecurity=False).digest()


def digest_info(name: str, octets: bytes) -> bytes:
    """Return the DER DigestInfo that CKM_RSA_PKCS pads and signs (RFC 8017 section 9.2)."""
    if name not in _DIGEST_INFO:
        raise ValueError(f"no DigestInfo for {name}")
    return _DIGEST_INFO[name] + octets


def ecdsa_input(octets: bytes, order_bits: int) -> bytes:
    """Return the digest's leftmost octets that the curve's order can take (FIPS 186-4 section 6.4)."""
    return octets[: (order_bits + 7) // 8]


def ecdsa_der(raw: bytes) -> bytes:
    """Return the Ecdsa-Sig-Value of CKM_ECDSA's r || s, each half of the octets."""
    half, odd = divmod(len(raw), 2)
    if odd or not half:
        raise ValueError("r || s has an odd length")
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def rejection_key(secret: bytes, encrypted_key: bytes, length: int) -> bytes:
    """Return the content key that takes the place of one that does not unpad: the same for the same ciphertext."""
    if not 0 < length <= _MAXIMUM_KEY:
        raise ValueError("content keys have 1 to 32 octets")
    return hmac.digest(secret, encrypted_key + length.to_bytes(_LENGTH_OCTETS, "big"), "sha256")[:length]


def fit_ciphertext(encrypted_key: bytes, modulus: int, size: int, substitute: bytes) -> tuple[bytes, bool]:
    """Return what goes to the token, and whether it is what came.

    A wrong length, a value not below the modulus and the fixed points 0, 1 and n-1 are replaced by a
    substitute of the right size, since tokens refuse them with errors of their own before any arithmetic.
    """
    value = int.from_bytes(encrypted_key, "big")
    fits = (len(encrypted_key) == size) & (value >= _EDGE) & (value <= modulus - _EDGE)
    return (substitute, encrypted_key)[fits], fits


def unpad(block: bytes, transport: KeyTransport, length: int) -> tuple[bytes, bool]:
    """Return the last `length` octets of a decrypted RSA block, and whether its padding holds exactly that many.

    `block` has the modulus' octets. Since the length of the content key is known from the cipher, a
    good block has one shape only, which one comparison in constant time decides.
    """
    if transport.oaep is None:
        return _unpad_pkcs1v15(block, length)
    return _unpad_oaep(block, transport.oaep, length)


def choose(good: bool, key: bytes, other: bytes) -> bytes:
    """Return `key` where good, else `other`, by index instead of by branch."""
    return (other, key)[good]


def _unpad_pkcs1v15(block: bytes, length: int) -> tuple[bytes, bool]:
    # RFC 8017 section 7.2.2: 00 02 PS 00 M, with no 00 in PS. PS has at least 8 octets for any RSA key above 352 bits.
    end = len(block) - length - 1
    seen = block[:2] + block[2:end].translate(_IS_ZERO) + block[end : end + 1]
    wanted = b"\x00\x02" + bytes(end - 2 + 1)
    return block[-length:], hmac.compare_digest(seen, wanted)


def _unpad_oaep(block: bytes, oaep: Digest, length: int) -> tuple[bytes, bool]:
    # RFC 8017 section 7.1.2: 00, masked seed, masked DB; DB = lHash, zeros, 01, M. The label is empty.
    def hash_of(data: bytes) -> bytes:
        return hashlib.new(oaep.name.lower(), data, usedforsecurity=False).digest()

    masked_seed, masked = block[1 : 1 + oaep.size], block[1 + oaep.size :]
    seed = _xor(masked_seed, _mgf1(masked, oaep.size, hash_of))
    data = _xor(masked, _mgf1(seed, len(masked), hash_of))
    zeros = len(data) - oaep.size - 1 - length
    seen = block[:1] + data[:-length]
    wanted = b"\x00" + hash_of(b"") + bytes(max(zeros, 0)) + b"\x01"
    return data[-length:], hmac.compare_digest(seen, wanted)


def _mgf1(seed: bytes, length: int, hash_of: Callable[[bytes], bytes]) -> bytes:
    # RFC 8017 appendix B.2.1.
    size = len(hash_of(b""))
    rounds = -(-length // size)
    return b"".join(hash_of(seed + counter.to_bytes(4, "big")) for counter in range(rounds))[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
