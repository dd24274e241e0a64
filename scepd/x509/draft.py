"""Drafts: whole certificates signed by a placeholder, later sealed by a real key over exactly the same octets."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils

from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.message.kinds import is_ec, is_private_ec, is_private_rsa, is_rsa
from scepd.message.scan import LIMITS, TWO_OCTETS, header
from scepd.x509.unreadable import Unreadable

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
IssuerPublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_SEQUENCE, _BIT_STRING = 0x30, 0x03


class SealError(Exception):
    """A draft could not be sealed, or the result does not verify: an alarm, never the device's fault (threats S-110)."""


@attrs.frozen
class Draft:
    """A certificate whose signature is a placeholder: the whole DER, the TBSCertificate inside it, its validity."""

    der: bytes
    tbs: bytes
    not_before: datetime
    not_after: datetime


def _refuse(operation: str) -> NoReturn:
    raise TypeError(f"a placeholder key cannot {operation}")


class RsaPlaceholder(Unreadable, rsa.RSAPrivateKey):
    """Stands for an RSA key while a builder writes: `sign` keeps what it was given and returns zeros of right length."""

    def __init__(self, public_key: rsa.RSAPublicKey) -> None:
        """Stand for the private half of `public_key`."""
        self._public_key = public_key
        self.signed = b""

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public key that was given."""
        return self._public_key

    def sign(
        self,
        data: bytes | Any,
        padding: padding.AsymmetricPadding,  # noqa: ARG002 - cryptography's signature
        algorithm: asymmetric_utils.Prehashed | hashes.HashAlgorithm | asymmetric_utils.NoDigestInfo,  # noqa: ARG002
    ) -> bytes:
        """Keep `data` in `signed`; return zeros as long as a signature."""
        self.signed = bytes(data)
        return placeholder_signature(self._public_key)

    def decrypt(self, ciphertext: bytes | Any, padding: padding.AsymmetricPadding) -> bytes:  # noqa: ARG002
        """Raise TypeError."""
        _refuse("decrypt")


class EcPlaceholder(Unreadable, ec.EllipticCurvePrivateKey):
    """Stands for an EC key while a builder writes; the placeholder is the pair r = s = 1."""

    def __init__(self, public_key: ec.EllipticCurvePublicKey) -> None:
        """Stand for the private half of `public_key`."""
        self._public_key = public_key
        self.signed = b""

    @property
    def key_size(self) -> int:
        """Bits of the field."""
        return self._public_key.key_size

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve of the public key."""
        return self._public_key.curve

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key that was given."""
        return self._public_key

    def sign(self, data: bytes | Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # noqa: ARG002
        """Keep `data` in `signed`; return a well-formed signature that never verifies."""
        self.signed = bytes(data)
        return placeholder_signature(self._public_key)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:  # noqa: ARG002
        """Raise TypeError."""
        _refuse("agree on a secret")


def placeholder(public_key: IssuerPublicKey) -> RsaPlaceholder | EcPlaceholder:
    """Return the stand-in for the private half of a public key."""
    if is_rsa(public_key):
        return RsaPlaceholder(public_key)
    return EcPlaceholder(public_key)


def placeholder_signature(public_key: IssuerPublicKey) -> bytes:
    """Return well-formed signature octets that never verify: zeros as long as an RSA signature, or r = s = 1."""
    if is_rsa(public_key):
        return bytes((public_key.key_size + 7) // 8)
    return asymmetric_utils.encode_dss_signature(1, 1)


def signature_algorithm(public_key: IssuerPublicKey, digest: Digest) -> bytes:
    """Return the AlgorithmIdentifier that a key signs with; ValueError for a digest that we do not issue with."""
    known = RSA_ALGORITHMS if is_rsa(public_key) else EC_ALGORITHMS
    for algorithm, used in known.items():
        if isinstance(digest.hash, used):
            return algorithm
    raise ValueError(f"{digest.name} signs no certificate")


def split(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return TBS, AlgorithmIdentifier and signature octets of a SIGNED structure that we wrote (RFC 5280 section 4.1).

    Raises ValueError where the three parts are not exactly the whole.
    """
    try:
        start, whole = _enter(der, 0, _SEQUENCE)
        tbs_end = sum(_enter(der, start, _SEQUENCE))
        algorithm_end = sum(_enter(der, tbs_end, _SEQUENCE))
        content, length = _enter(der, algorithm_end, _BIT_STRING)
    except IndexError:
        raise ValueError("cut off") from None
    if length < 1 or content + length != len(der) or start + whole != len(der) or der[content]:
        raise ValueError("no SIGNED structure")
    return der[start:tbs_end], der[tbs_end:algorithm_end], der[content + 1 :]


def _enter(der: bytes, start: int, tag: int) -> tuple[int, int]:
    if der[start] != tag:
        raise ValueError("no SIGNED structure")
    if der[start + 1] == TWO_OCTETS and der[start + 2]:  # as `header`, which costs a call
        return start + 4, der[start + 2] << 8 | der[start + 3]
    return header(der, start, LIMITS)


# The whole AlgorithmIdentifier, as cryptography's builders write it -> digest.
RSA_ALGORITHMS: Mapping[bytes, type[hashes.HashAlgorithm]] = MappingProxyType(
    {
        bytes.fromhex("300d06092a864886f70d01010b0500"): hashes.SHA256,
        bytes.fromhex("300d06092a864886f70d01010c0500"): hashes.SHA384,
        bytes.fromhex("300d06092a864886f70d01010d0500"): hashes.SHA512,
    }
)
EC_ALGORITHMS: Mapping[bytes, type[hashes.HashAlgorithm]] = MappingProxyType(
    {
        bytes.fromhex("300a06082a8648ce3d040302"): hashes.SHA256,
        bytes.fromhex("300a06082a8648ce3d040303"): hashes.SHA384,
        bytes.fromhex("300a06082a8648ce3d040304"): hashes.SHA512,
    }
)

_ECDSA = {used: ec.ECDSA(used()) for used in EC_ALGORITHMS.values()}


def seal(draft_der: bytes, key: PrivateKey, issuer_public_key: IssuerPublicKey) -> bytes:
    """Return the certificate (or CRL): the draft's TBS, its algorithm, and the key's signature over those octets.

    The key is called exactly once. The result is taken apart again, its TBS compared with the draft's and its
    signature verified with the issuer's public key; SealError when any of that fails.
    """
    try:
        tbs, algorithm, _ = split(draft_der)
    except ValueError as error:
        raise SealError(f"the draft is unreadable: {error}") from None
    signature = sign_tbs(tbs, algorithm, key)
    der = tlv.sequence(tbs, algorithm, tlv.bit_string(signature))
    sealed_tbs, sealed_algorithm, sealed_signature = split(der)
    if (sealed_tbs, sealed_algorithm) != (tbs, algorithm):
        raise SealError("the sealed octets are not the draft's")
    if not verifies(sealed_tbs, algorithm, sealed_signature, issuer_public_key):
        raise SealError("the signature does not verify with the issuer's public key")
    return der


def sign_tbs(tbs: bytes, algorithm: bytes, key: PrivateKey) -> bytes:
    """Return the key's signature over those octets by that AlgorithmIdentifier; SealError where it is not the key's."""
    if is_private_rsa(key) and algorithm in RSA_ALGORITHMS:
        return key.sign(tbs, padding.PKCS1v15(), RSA_ALGORITHMS[algorithm]())
    if is_private_ec(key) and algorithm in EC_ALGORITHMS:
        return key.sign(tbs, _ECDSA[EC_ALGORITHMS[algorithm]])
    raise SealError("the draft's signature algorithm is not the key's")


def verifies(tbs: bytes, algorithm: bytes, signature: bytes, public_key: IssuerPublicKey) -> bool:
    """Return whether the signature is the key's over those octets, by one of the algorithms that we issue with."""
    try:
        if is_rsa(public_key) and algorithm in RSA_ALGORITHMS:
            public_key.verify(signature, tbs, padding.PKCS1v15(), RSA_ALGORITHMS[algorithm]())
        elif is_ec(public_key) and algorithm in EC_ALGORITHMS:
            public_key.verify(signature, tbs, _ECDSA[EC_ALGORITHMS[algorithm]])
        else:
            return False
    except InvalidSignature:
        return False
    return True
