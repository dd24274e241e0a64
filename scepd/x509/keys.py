"""Their public keys: loading, the key policy, and the proof of possession in a PKCS#10."""

import hashlib
import math
from functools import lru_cache

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from scepd.message import tlv
from scepd.message.algorithms import (
    ECDSA_SIGNATURES,
    ED25519,
    MGF1,
    RSA_SIGNATURES,
    RSASSA_PSS,
    CryptoPolicy,
    Digest,
)
from scepd.message.certificate import load_key
from scepd.message.csr import CertificationRequest
from scepd.message.errors import MessageError
from scepd.message.kinds import is_ec, is_ed25519, is_rsa
from scepd.refusal import Reason, Reject
from scepd.x509.fields import contents, elements

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_MAXIMUM_SPKI = 4_096  # octets; an RSA key of 16,384 bits needs 2,100
_MAXIMUM_EXPONENT_BITS = 32
_FERMAT_ROUNDS = 110  # as many as public CAs make


@attrs.frozen
class KeyPolicy:
    """Which public keys a profile certifies: RSA bits (both ends included, multiples of 8), exponents, named curves."""

    rsa_minimum: int = 2048
    rsa_maximum: int = 8192
    rsa_exponents: frozenset[int] = frozenset({65_537})
    curves: frozenset[str] = frozenset({"P-256", "P-384", "P-521"})
    ed25519: bool = False


def spki_digest(spki_der: bytes) -> bytes:
    """Return the SHA-256 of a SubjectPublicKeyInfo: how a key is named in the store and in block lists."""
    return hashlib.sha256(spki_der).digest()


@lru_cache(maxsize=8)  # a draft carries it, and lint derives it again
def key_identifier(spki_der: bytes) -> bytes:
    """Return the SHA-1 of a key's BIT STRING without its count of unused bits (RFC 5280 section 4.2.1.2, method 1)."""
    _, bits = elements(contents(spki_der))
    return hashlib.sha1(contents(bits)[1:], usedforsecurity=False).digest()


def encode_public_key(key: PublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


read_public_key = load_key  # one cache: the key of the signer is the request's and the draft's


@lru_cache(maxsize=8)  # one request asks for its key several times
def load_public_key(spki_der: bytes) -> PublicKey:
    """Return the key in a SubjectPublicKeyInfo; Reject(key_refused) when it is none, or not in its one encoding.

    Explicit curve parameters, compressed points, RSASSA-PSS key OIDs and missing NULL parameters load as something
    that encodes otherwise; a certificate must carry the request's own octets (C-156), so they are refused.
    """
    if len(spki_der) > _MAXIMUM_SPKI:
        raise Reject(Reason.key_refused, f"public key of {len(spki_der)} octets")
    try:
        key = read_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Reject(Reason.key_refused, f"unreadable public key: {error}") from None
    if not (is_rsa(key) or is_ec(key) or is_ed25519(key)):
        raise Reject(Reason.key_refused, f"{type(key).__name__} is not certified")
    if encode_public_key(key) != spki_der:
        raise Reject(Reason.key_refused, "public key is not in its canonical encoding")
    return key


def check_public_key(
    key: PublicKey, policy: KeyPolicy, *, forbidden: frozenset[bytes] = frozenset(), digest: bytes | None = None
) -> None:
    """Raise Reject(key_refused) for a key that the policy excludes or that is weak (C-144, threats S-28).

    `forbidden` holds `spki_digest` values: our own keys, and a block list where there is one; `digest` is that of
    this key, where it is known already.
    """
    if forbidden and (digest or spki_digest(encode_public_key(key))) in forbidden:
        raise Reject(Reason.key_refused, "the key is blocked or one of this service's own")
    if is_rsa(key):
        _check_rsa(key.public_numbers(), policy)
    elif is_ec(key):
        # The loader takes named curves only and checks that the point lies on them (SEC 1 section 3.2.2).
        if _CURVES.get(key.curve.name) not in policy.curves:
            raise Reject(Reason.key_refused, f"curve {key.curve.name}")
    elif not policy.ed25519:
        raise Reject(Reason.key_refused, "Ed25519")


def _check_rsa(numbers: rsa.RSAPublicNumbers, policy: KeyPolicy) -> None:
    modulus, exponent = numbers.n, numbers.e
    size = modulus.bit_length()
    if not policy.rsa_minimum <= size <= policy.rsa_maximum or size % 8:
        raise Reject(Reason.key_refused, f"RSA modulus of {size} bits")
    if exponent not in policy.rsa_exponents:
        raise Reject(Reason.key_refused, "RSA exponent")
    if math.gcd(modulus, _PRIMORIAL) != 1:
        raise Reject(Reason.key_refused, "RSA modulus with a small factor")
    if _has_roca_fingerprint(modulus):
        raise Reject(Reason.key_refused, "RSA modulus with the ROCA fingerprint")
    if _has_close_factors(modulus):
        raise Reject(Reason.key_refused, "RSA modulus of two close primes")


def _primes(below: int) -> tuple[int, ...]:
    return tuple(n for n in range(2, below) if all(n % d for d in range(2, math.isqrt(n) + 1)))


_SMALL_PRIMES = _primes(752)
_PRIMORIAL = math.prod(_SMALL_PRIMES)


def _powers(prime: int) -> frozenset[int]:
    """Return the residues that powers of 65537 take: all that a factor made by the flawed library can be."""
    return frozenset(pow(65_537, exponent, prime) for exponent in range(prime))


# CVE-2017-15361: each factor is a power of 65537 modulo the product of the first primes, hence so is the modulus.
_ROCA = tuple((p, _powers(p)) for p in _SMALL_PRIMES if 2 < p <= 167 and len(_powers(p)) < p - 1)
_ROCA_PRODUCT = math.prod(p for p, _ in _ROCA)


def _has_roca_fingerprint(modulus: int) -> bool:
    residue = modulus % _ROCA_PRODUCT
    return all(residue % prime in powers for prime, powers in _ROCA)


def _roots(modulus: int) -> tuple[int, ...]:
    """Return, by n, as bits, the a for which a * a - n is a square modulo `modulus`; enough of them for all rounds."""
    squares = {a * a % modulus for a in range(modulus)}
    reach = range(modulus + _FERMAT_ROUNDS)
    return tuple(sum(1 << a for a in reach if (a * a - n) % modulus in squares) for n in range(modulus))


# Squares are rare: modulo all of these together they let one number in two thousand through to the real square root.
_SIEVES = tuple((modulus, _roots(modulus)) for modulus in (64, 63, 65, 11, 17, 19, 23, 31))
_SIEVES_PRODUCT = math.prod(modulus for modulus, _ in _SIEVES)


def _has_close_factors(modulus: int) -> bool:
    """Return whether Fermat's method factors an odd modulus within the rounds (CVE-2022-26320)."""
    root = math.isqrt(modulus - 1) + 1
    candidates = (1 << _FERMAT_ROUNDS) - 1  # bit n: root + n may be the mean of the factors
    rest, root_rest = modulus % _SIEVES_PRODUCT, root % _SIEVES_PRODUCT
    for small, roots in _SIEVES:
        candidates &= roots[rest % small] >> root_rest % small
    while candidates:
        step = (candidates & -candidates).bit_length() - 1
        candidates &= candidates - 1
        difference = (root + step) ** 2 - modulus
        if math.isqrt(difference) ** 2 == difference:
            return True
    return False


def verify_csr(csr: CertificationRequest, policy: CryptoPolicy) -> None:
    """Verify the proof of possession over the received octets, then judge its algorithm.

    Reject(csr_signature_invalid), which is uniform on the wire, for whatever cannot be verified; only a signature
    that did verify gets Reject(csr_algorithm_refused) for a digest outside the policy (C-141, C-143, threats S-66).
    """
    digest = _verify_possession(csr, policy)
    if digest is not None and digest not in policy.digests:
        raise Reject(Reason.csr_algorithm_refused, f"PKCS#10 signed with {digest.name}")


def _verify_possession(csr: CertificationRequest, policy: CryptoPolicy) -> Digest | None:
    """Return the digest of the verified signature; None where the algorithm has none of its own (Ed25519)."""
    try:
        key = load_public_key(csr.spki_der)
        if is_rsa(key):
            _bound_rsa(key, policy)
            return _verify_rsa(csr, key)
        if is_ec(key):
            return _verify_ec(csr, key)
        _verify_ed25519(csr, key)
    except Reject as refusal:
        raise Reject(Reason.csr_signature_invalid, refusal.detail) from None
    except KeyError:
        raise Reject(Reason.csr_signature_invalid, f"signature algorithm {csr.signature_oid}") from None
    except InvalidSignature:
        raise Reject(Reason.csr_signature_invalid, "signature does not verify") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Reject(Reason.csr_signature_invalid, f"signature cannot be verified: {error}") from None
    return None


def _bound_rsa(key: rsa.RSAPublicKey, policy: CryptoPolicy) -> None:
    """Refuse to exponentiate with numbers that are there to cost time."""
    if key.key_size > policy.maximum_signer_rsa or key.public_numbers().e.bit_length() > _MAXIMUM_EXPONENT_BITS:
        raise Reject(Reason.key_refused, f"RSA key of {key.key_size} bits")


def _verify_ec(csr: CertificationRequest, key: ec.EllipticCurvePublicKey) -> Digest:
    digest = ECDSA_SIGNATURES[csr.signature_oid]
    key.verify(csr.signature, csr.info_der, ec.ECDSA(digest.hash))
    return digest


def _verify_ed25519(csr: CertificationRequest, key: ed25519.Ed25519PublicKey) -> None:
    if csr.signature_oid != ED25519:
        raise KeyError(csr.signature_oid)
    key.verify(csr.signature, csr.info_der)


def _verify_rsa(csr: CertificationRequest, key: rsa.RSAPublicKey) -> Digest:
    if csr.signature_oid != RSASSA_PSS:
        digest = RSA_SIGNATURES[csr.signature_oid]
        key.verify(csr.signature, csr.info_der, padding.PKCS1v15(), digest.hash)
        return digest
    digest, salt = read_pss_parameters(csr.signature_parameters_der)
    key.verify(csr.signature, csr.info_der, padding.PSS(padding.MGF1(digest.hash), salt), digest.hash)
    return digest


_DIGESTS = {digest.oid: digest for digest in Digest}
_STRICT = tlv.Limits(size=256, elements=32, depth=6, ber_depth=0)


def read_pss_parameters(parameters_der: bytes | None) -> tuple[Digest, int]:
    """Return digest and salt octets of RSASSA-PSS-params (RFC 4055 section 3.1); ValueError for what nobody should send.

    Absent parameters mean SHA-1 with a salt of 20 octets; the mask must use the same digest, the salt be 64 at most.
    """
    digest, mask, salt, trailer = Digest.SHA1, Digest.SHA1, 20, 1
    if parameters_der is not None:
        for field in tlv.read(parameters_der, _STRICT).expect(tlv.SEQUENCE).children:
            value = field.inner()
            if field.tag == 0xA0:
                digest = _read_digest(value)
            elif field.tag == 0xA1:
                function, algorithm = value.children
                mask = _read_digest(algorithm) if function.oid() == MGF1 else Digest.MD5
            elif field.tag == 0xA2:
                salt = value.integer()
            elif field.tag == 0xA3:
                trailer = value.integer()
            else:
                raise MessageError(f"tag {field.tag:#x} in RSASSA-PSS parameters")
    if mask != digest or not 0 <= salt <= 64 or trailer != 1:
        raise MessageError("RSASSA-PSS parameters that nobody should send")
    return digest, salt


def _read_digest(element: tlv.Element) -> Digest:
    return _DIGESTS[element.fields().take().oid()]
