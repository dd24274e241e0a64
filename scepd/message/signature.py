"""Signature algorithms of a SignerInfo: which triple of key, digest and OID, verified and made."""

from functools import lru_cache
from typing import Literal

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from scepd.message import tlv
from scepd.message.algorithms import (
    ECDSA_SIGNATURES,
    ED25519,
    MGF1,
    RSA_ENCRYPTION,
    RSA_SIGNATURES,
    RSASSA_PSS,
    CryptoPolicy,
    Digest,
)
from scepd.message.certificate import SignerKey
from scepd.message.errors import MessageError
from scepd.message.kinds import is_ec, is_private_ec, is_private_ed25519, is_private_rsa, is_rsa
from scepd.message.tlv import Element
from scepd.refusal import Reason, Reject
from scepd.x509.unreadable import own_hashes

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KeyKind = Literal["rsa", "ec", "ed25519"]

_DIGESTS = {digest.oid: digest for digest in Digest}
_ECDSA_OIDS = {digest: oid for oid, digest in ECDSA_SIGNATURES.items()}
_EDWARDS_OIDS = {Digest.SHA512: ED25519}
_MAXIMUM_SALT = 512  # octets
_SHORT = 20  # octets: an OID with NULL or no parameters, and nothing that differs from message to message
_MAXIMUM_EXPONENT = 1 << 64


@attrs.frozen
class Algorithm:
    """An AlgorithmIdentifier: dotted OID and the parameters as received."""

    oid: str
    parameters_der: bytes | None


@attrs.frozen
class Scheme:
    """How a signature is checked: the kind of key, the digest, and for RSA the padding."""

    kind: KeyKind
    digest: Digest
    padding: padding.AsymmetricPadding | None


def find_digest(oid: str) -> Digest | None:
    """Return the digest of that OID, None for unknown ones."""
    return _DIGESTS.get(oid)


def read_algorithm(element: Element) -> Algorithm:
    """Return an AlgorithmIdentifier; raises `MessageError`."""
    der = element.der
    return _read_short(der) if len(der) <= _SHORT else _read_long(element)


def _read_long(element: Element) -> Algorithm:
    fields = element.fields()
    oid = fields.take().oid()
    parameters = fields.optional()
    fields.finish()
    return Algorithm(oid, None if parameters is None else parameters.normalise())


@lru_cache(maxsize=128)
def _read_short(der: bytes) -> Algorithm:
    """Return an AlgorithmIdentifier of few octets: the same dozen of them in all messages."""
    return _read_long(tlv.read(der))


@lru_cache(maxsize=128)
def write_algorithm(oid: str, parameters_der: bytes | None = None) -> bytes:
    """Return an AlgorithmIdentifier, with NULL parameters unless others are given."""
    return tlv.sequence(tlv.oid(oid), tlv.null() if parameters_der is None else parameters_der)


def read_scheme(algorithm: Algorithm, digest: Digest) -> Scheme:
    """Return how to check a signature over that digest; raises `Reject(algorithm_unsupported)` for any other triple.

    rsaEncryption leaves the choice to digestAlgorithm, the other OIDs must agree with it.
    """
    if algorithm.oid == RSASSA_PSS:
        return Scheme("rsa", digest, _read_pss(algorithm.parameters_der, digest))
    if algorithm.parameters_der not in {None, tlv.null()}:
        raise Reject(Reason.algorithm_unsupported, f"signature algorithm {algorithm.oid} with parameters")
    if algorithm.oid == RSA_ENCRYPTION or RSA_SIGNATURES.get(algorithm.oid) is digest:
        return Scheme("rsa", digest, padding.PKCS1v15())
    if ECDSA_SIGNATURES.get(algorithm.oid) is digest:
        return Scheme("ec", digest, None)
    # RFC 8419 section 3.1: the digest is that of the content alone.
    if algorithm.oid == ED25519 and digest is Digest.SHA512:
        return Scheme("ed25519", digest, None)
    raise Reject(Reason.algorithm_unsupported, f"signature algorithm {algorithm.oid} with digest {digest.name}")


def _read_pss(parameters_der: bytes | None, digest: Digest) -> padding.PSS:
    """Return the padding of explicit RSASSA-PSS-params (RFC 4055 section 3.1) that use one digest throughout."""
    if parameters_der is None:
        raise Reject(Reason.algorithm_unsupported, "RSASSA-PSS without parameters")
    try:
        hashed, masked, salt, trailer = _pss_fields(tlv.read(parameters_der))
    except MessageError as error:
        raise Reject(Reason.algorithm_unsupported, f"RSASSA-PSS parameters: {error.detail}") from None
    if (hashed, masked, trailer) != (digest.oid, digest.oid, 1) or not 0 <= salt <= _MAXIMUM_SALT:
        raise Reject(Reason.algorithm_unsupported, "RSASSA-PSS parameters that do not fit the digest")
    return padding.PSS(mgf=padding.MGF1(digest.hash), salt_length=salt)


def _pss_fields(parameters: Element) -> tuple[str, str, int, int]:
    """Return hash OID, MGF1's hash OID, salt length and trailer field, with their defaults."""
    fields = parameters.fields()
    hashed = fields.optional(0xA0)
    masked = fields.optional(0xA1)
    salt = fields.optional(0xA2)
    trailer = fields.optional(0xA3)
    fields.finish()
    return (
        Digest.SHA1.oid if hashed is None else read_algorithm(hashed.inner()).oid,
        Digest.SHA1.oid if masked is None else read_mgf1(masked.inner()),
        20 if salt is None else salt.inner().integer(),
        1 if trailer is None else trailer.inner().integer(),
    )


def read_mgf1(element: Element) -> str:
    """Return the OID of the digest of an MGF1 AlgorithmIdentifier (RFC 4055 section 2.2); raises `MessageError`."""
    algorithm = read_algorithm(element)
    if algorithm.oid != MGF1 or algorithm.parameters_der is None:
        raise MessageError(f"mask generation {algorithm.oid}")
    return read_algorithm(tlv.read(algorithm.parameters_der)).oid


def check_signer_key(key: SignerKey, scheme: Scheme, policy: CryptoPolicy) -> None:
    """Refuse a key that is not the scheme's or outside the policy, before any exponentiation with it (C-092)."""
    kind = _kind(type(key))
    if kind == "ed25519" and not policy.ed25519:
        raise Reject(Reason.signer_key_refused, "Ed25519")
    if kind != scheme.kind:
        raise Reject(Reason.algorithm_unsupported, "signature algorithm of another kind of key")
    if not is_rsa(key):
        return
    exponent = key.public_numbers().e
    if not policy.minimum_signer_rsa <= key.key_size <= policy.maximum_signer_rsa:
        raise Reject(Reason.signer_key_refused, f"RSA key of {key.key_size} bits")
    if not 3 <= exponent <= _MAXIMUM_EXPONENT:  # even ones do not load
        raise Reject(Reason.signer_key_refused, f"RSA exponent of {exponent.bit_length()} bits")


@lru_cache(maxsize=32)  # of classes, since those of cryptography are abstract and slow to ask
def _kind(key_type: type) -> KeyKind:
    if issubclass(key_type, rsa.RSAPublicKey):
        return "rsa"
    return "ec" if issubclass(key_type, ec.EllipticCurvePublicKey) else "ed25519"


def is_valid(key: SignerKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    """Return whether the signature over `data` is the key's."""
    try:
        if is_rsa(key):
            assert scheme.padding is not None
            key.verify(signature, data, scheme.padding, scheme.digest.hash)
        elif is_ec(key):
            key.verify(signature, data, ec.ECDSA(scheme.digest.hash))
        else:
            key.verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    except UnsupportedAlgorithm:
        raise Reject(Reason.algorithm_unsupported, f"digest {scheme.digest.name} not available") from None
    return True


def sign(key: SigningKey, data: bytes, digest: Digest, *, pss: bool) -> tuple[bytes, bytes]:
    """Return signatureAlgorithm and signature, by one private-key operation.

    RSA PKCS#1 v1.5 is announced as rsaEncryption: strongSwan 5.9.8 refuses shaNWithRSAEncryption. Raises KeyError
    where `can_sign` says no.
    """
    if is_private_ed25519(key):
        return tlv.sequence(tlv.oid(_EDWARDS_OIDS[digest])), key.sign(data)
    if is_private_ec(key):
        algorithm = tlv.sequence(tlv.oid(_ECDSA_OIDS[digest]))
        return algorithm, key.sign(data, ec.ECDSA(digest.hash))
    if pss:
        return _pss_algorithm(digest), key.sign(
            data, padding.PSS(mgf=padding.MGF1(digest.hash), salt_length=digest.size), digest.hash
        )
    return write_algorithm(RSA_ENCRYPTION), key.sign(data, padding.PKCS1v15(), digest.hash)


def can_sign(key: SigningKey, digest: Digest) -> bool:
    """Return whether there is a signature OID for the key and the digest (none for ECDSA with MD5), and the key can."""
    if is_private_ed25519(key):
        return digest in _EDWARDS_OIDS
    if is_private_rsa(key):
        hashes = own_hashes(key)
        return hashes is None or digest.name in hashes
    return digest in _ECDSA_OIDS


def _pss_algorithm(digest: Digest) -> bytes:
    hashed = write_algorithm(digest.oid)
    parameters = tlv.sequence(
        tlv.explicit(0, hashed),
        tlv.explicit(1, write_algorithm(MGF1, hashed)),
        tlv.explicit(2, tlv.integer(digest.size)),
    )
    return write_algorithm(RSASSA_PSS, parameters)
