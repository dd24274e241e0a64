"""The key policy, fixture by fixture, and the proof of possession in a PKCS#10."""

import math
import time

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, x25519

from scepd.message import tlv
from scepd.message.algorithms import CryptoPolicy, Digest
from scepd.message.csr import build_csr, parse_csr
from scepd.refusal import FailInfo, Reason, Reject
from scepd.x509.keys import (
    KeyPolicy,
    check_public_key,
    encode_public_key,
    key_identifier,
    load_public_key,
    read_pss_parameters,
    spki_digest,
    verify_csr,
)
from scepd.x509.names import from_text
from tests.x509.material import ec_key, ed_key, rsa_key, spki

SUBJECT = from_text("CN=r1")
LEGACY = CryptoPolicy(digests=frozenset(Digest))


def modulus(bits, form=lambda n: n):
    """Return an odd number of that size without small factors."""
    n = form((1 << bits) - (1 << (bits - 2)) + 1)
    while math.gcd(n, PRIMORIAL) != 1:
        n += 2
    return n


PRIMORIAL = math.prod(p for p in range(2, 752) if all(p % d for d in range(2, math.isqrt(p) + 1)))


def factor(n):
    """Return the next number without small factors: to every check it is as good as a prime, and found at once."""
    n |= 1
    while math.gcd(n, PRIMORIAL) != 1:
        n += 2
    return n


def key_of(n, e=65537):
    return rsa.RSAPublicNumbers(e, n).public_key()


def close_factors(bits, rounds):
    """Return a product of two numbers that Fermat's method finds in about that many rounds."""
    p = factor(3 << (bits // 2 - 2))
    return p * factor(p + math.isqrt(8 * p * rounds))  # (p + q) / 2 - sqrt(pq) is about (q - p)² / 8p


def roca():
    """Return a modulus of which every factor would be a power of 65537 modulo the product of small primes."""
    product = math.prod(p for p in range(2, 168) if all(p % d for d in range(2, math.isqrt(p) + 1)))
    n = pow(65537, 1234567, product) + product * ((3 << 2046) // product)
    while math.gcd(n, PRIMORIAL) != 1:
        n += product
    return n


@pytest.mark.parametrize(
    "key",
    [rsa_key("device"), rsa_key("device", 3072), ec_key("device"), ec_key("d", "secp384r1"), ec_key("d", "secp521r1")],
    ids=["2048", "3072", "P-256", "P-384", "P-521"],
)
def test_C144_S28_good_keys_pass(key):
    loaded = load_public_key(spki(key))
    check_public_key(loaded, KeyPolicy())
    assert encode_public_key(loaded) == spki(key)


@pytest.mark.parametrize(
    ("key", "because"),
    [
        (lambda: key_of(modulus(1024)), "1024 bits"),
        (lambda: key_of(modulus(2040)), "2040 bits"),
        (lambda: key_of(modulus(2049)), "2049 bits"),
        (lambda: key_of(modulus(2052)), "2052 bits"),
        (lambda: key_of(modulus(8200)), "8200 bits"),
        (lambda: key_of(modulus(16384)), "16384 bits"),
        (lambda: key_of(modulus(2048), 3), "exponent"),
        (lambda: key_of(modulus(2048), 17), "exponent"),
        (lambda: key_of(modulus(2048), 65539), "exponent"),
        (lambda: key_of(modulus(2048), (1 << 33) + 1), "exponent"),
        (lambda: key_of(3 * modulus(2046)), "small factor"),
        (lambda: key_of(743 * 751 * modulus(2028, lambda n: n + (1 << 2027))), "small factor"),
        (lambda: key_of(roca()), "ROCA"),
        (lambda: key_of(close_factors(2048, 1)), "close primes"),
        (lambda: key_of(close_factors(2048, 105)), "close primes"),
        (lambda: key_of(factor(3 << 1022) ** 2), "close primes"),
        (lambda: ed_key("device").public_key(), "Ed25519"),
        (lambda: ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1"),
    ],
)
def test_C144_S28_bad_keys_are_refused(key, because):
    with pytest.raises(Reject, match=because) as refused:
        check_public_key(key(), KeyPolicy())
    assert refused.value.reason is Reason.key_refused
    assert (refused.value.fail_info, refused.value.fail_info_text) == (FailInfo.badRequest, "key rejected")


def test_C144_S28_a_known_digest_is_judged_like_one_worked_out():
    key = rsa_key("device").public_key()
    with pytest.raises(Reject, match="blocked"):
        check_public_key(key, KeyPolicy(), forbidden=frozenset({b"known"}), digest=b"known")


@pytest.mark.parametrize("make", [rsa_key, ec_key, ed_key])
def test_C278_key_identifiers_are_those_of_cryptography(make):
    key = make("device")
    assert key_identifier(spki(key)) == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def test_S28_primes_not_so_close_pass():
    check_public_key(key_of(close_factors(2048, 115)), KeyPolicy())


def test_S28_differences_that_only_look_like_squares_pass():
    for start in range(100, 120):  # of these, 112 passes the sieve, and only the square root tells
        check_public_key(key_of(factor((3 << 2046) + (start << 1000))), KeyPolicy())


def test_C144_policies_open_what_they_name():
    check_public_key(ed_key("device").public_key(), KeyPolicy(ed25519=True))
    check_public_key(rsa_key("small", 1024).public_key(), KeyPolicy(rsa_minimum=1024))
    check_public_key(key_of(modulus(2048), 3), KeyPolicy(rsa_exponents=frozenset({3, 65537})))
    with pytest.raises(Reject):
        check_public_key(ec_key("device").public_key(), KeyPolicy(curves=frozenset({"P-384"})))


@pytest.mark.parametrize("key", [rsa_key("device"), ec_key("device")])
def test_S28_our_own_and_blocked_keys_are_refused(key):
    with pytest.raises(Reject, match="blocked"):
        check_public_key(key.public_key(), KeyPolicy(), forbidden=frozenset({spki_digest(spki(key))}))
    check_public_key(key.public_key(), KeyPolicy(), forbidden=frozenset({spki_digest(spki(ec_key("other")))}))


@pytest.mark.parametrize("key", [rsa_key("device", 2048), key_of(modulus(8192)), key_of(modulus(4096))])
def test_S28_a_check_takes_under_20_ms(key):
    public = key if isinstance(key, rsa.RSAPublicKey) else key.public_key()
    begun = time.perf_counter()
    for _ in range(5):
        check_public_key(public, KeyPolicy())
    assert (time.perf_counter() - begun) / 5 < 0.020


def ec_spki(point, curve="1.2.840.10045.3.1.7"):
    return tlv.sequence(tlv.sequence(tlv.oid("1.2.840.10045.2.1"), tlv.oid(curve)), tlv.bit_string(point))


def explicit_curve():
    """Return a P-256 key whose curve is spelled out (SEC 1 appendix C.2)."""
    p = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    g = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    parameters = tlv.sequence(
        tlv.integer(1),
        tlv.sequence(tlv.oid("1.2.840.10045.1.1"), tlv.integer(p)),
        tlv.sequence(tlv.octet_string((p - 3).to_bytes(32, "big")), tlv.octet_string(b.to_bytes(32, "big"))),
        tlv.octet_string(bytes.fromhex(g)),
        tlv.integer(order),
        tlv.integer(1),
    )
    point = tlv.read(spki(ec_key("device"))).children[1].bits()
    return tlv.sequence(tlv.sequence(tlv.oid("1.2.840.10045.2.1"), parameters), tlv.bit_string(point))


def flipped_point():
    point = bytearray(tlv.read(spki(ec_key("device"))).children[1].bits())
    point[-1] ^= 1
    return bytes(point)


def compressed_point():
    public = ec_key("device").public_key()
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def rsa_spki(key, *parameters, oid="1.2.840.113549.1.1.1"):
    return tlv.sequence(tlv.sequence(tlv.oid(oid), *parameters), tlv.read(spki(key)).children[1].der)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"\x30\0",
        lambda: spki(rsa_key("device"))[:-1],
        lambda: spki(rsa_key("device")) + b"\0",
        lambda: spki(ec_key("device")) + b"\0" * 5000,
        lambda: ec_spki(b"\0"),
        lambda: ec_spki(flipped_point()),
        lambda: ec_spki(compressed_point()),
        lambda: ec_spki(b"\4" + bytes(48), "1.2.840.10045.3.1.1"),
        explicit_curve,
        lambda: rsa_spki(rsa_key("device")),
        lambda: rsa_spki(rsa_key("device"), oid="1.2.840.113549.1.1.10"),
        lambda: spki(x25519.X25519PrivateKey.generate()),
        lambda: spki(ed448.Ed448PrivateKey.generate()),
        lambda: spki(dsa.generate_private_key(1024)),
    ],
    ids=[
        "empty",
        "hollow",
        "cut",
        "trailing",
        "huge",
        "infinity",
        "off-curve",
        "compressed",
        "P-192",
        "explicit",
        "no-null",
        "pss-key",
        "x25519",
        "ed448",
        "dsa",
    ],
)
def test_S28_keys_that_do_not_load_or_not_canonically(make):
    with pytest.raises(Reject) as refused:
        load_public_key(make())
    assert refused.value.reason is Reason.key_refused


def test_S28_an_even_modulus_is_refused():
    even = tlv.sequence(tlv.integer((1 << 2048) - 2), tlv.integer(65537))
    made = tlv.sequence(tlv.sequence(tlv.oid("1.2.840.113549.1.1.1"), tlv.null()), tlv.bit_string(even))
    with pytest.raises(Reject) as refused:
        check_public_key(load_public_key(made), KeyPolicy())
    assert refused.value.reason is Reason.key_refused


def csr(key=None, digest=Digest.SHA256):
    made = build_csr(subject=SUBJECT, private_key=key or rsa_key("device"), challenge="x", digest=digest)
    return parse_csr(made)


def refusal(request, policy=LEGACY):
    with pytest.raises(Reject) as refused:
        verify_csr(request, policy)
    return refused.value.reason


@pytest.mark.parametrize("digest", [Digest.SHA256, Digest.SHA384, Digest.SHA512])
@pytest.mark.parametrize("key", [rsa_key("device"), ec_key("device")], ids=["rsa", "ec"])
def test_C141_S66_good_signatures_verify(key, digest):
    verify_csr(csr(key, digest), CryptoPolicy())


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.MD5])
def test_C143_S66_old_digests_only_with_their_switch(digest):
    request = csr(digest=digest)
    with pytest.raises(Reject) as refused:
        verify_csr(request, CryptoPolicy())
    assert refused.value.reason is Reason.csr_algorithm_refused
    assert refused.value.fail_info is FailInfo.badAlg
    verify_csr(request, CryptoPolicy(digests=frozenset({digest})))


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256])
def test_C141_C143_S66_a_bad_signature_is_uniform_whatever_its_digest(digest):
    request = csr(digest=digest)
    bad = request.signature[:-1] + bytes([request.signature[-1] ^ 1])
    assert refusal(attrs.evolve(request, signature=bad), CryptoPolicy()) is Reason.csr_signature_invalid
    other = csr(rsa_key("other"), digest)
    assert refusal(attrs.evolve(request, signature=other.signature)) is Reason.csr_signature_invalid
    changed = attrs.evolve(request, info_der=request.info_der + b"\0")
    assert refusal(changed) is Reason.csr_signature_invalid


@pytest.mark.parametrize("oid", ["1.2.3.4", "1.2.840.10045.4.3.2", "1.3.101.112", "1.2.840.113549.1.1.12"])
def test_S26_S66_an_algorithm_that_is_not_the_keys_is_uniform(oid):
    assert refusal(attrs.evolve(csr(), signature_oid=oid)) is Reason.csr_signature_invalid


def test_S26_S66_the_same_for_ec_and_ed25519():
    for oid in ("1.2.840.113549.1.1.11", "1.3.101.112"):
        assert refusal(attrs.evolve(csr(ec_key("device")), signature_oid=oid)) is Reason.csr_signature_invalid
    request = edwards()
    verify_csr(request, CryptoPolicy())
    bad = attrs.evolve(request, signature_oid="1.2.840.113549.1.1.11")
    assert refusal(bad) is Reason.csr_signature_invalid


@pytest.mark.parametrize("digest", list(Digest), ids=lambda d: d.name)
def test_C141_ed25519_requests_verify_whatever_digests_the_policy_takes(digest):
    request = csr(ed_key("device"), digest)
    assert (request.signature_oid, request.signature_parameters_der) == ("1.3.101.112", None)
    verify_csr(request, CryptoPolicy(digests=frozenset()))
    bad = request.signature[:-1] + bytes([request.signature[-1] ^ 1])
    for signature in (bad, b"", request.signature + b"\0"):
        assert refusal(attrs.evolve(request, signature=signature)) is Reason.csr_signature_invalid


def edwards():
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string("CN=r1"))
    return parse_csr(builder.sign(ed_key("device"), None).public_bytes(serialization.Encoding.DER))


def pss(salt, digest=None):
    digest = digest or hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string("CN=r1"))
    scheme = padding.PSS(padding.MGF1(digest), salt)
    made = builder.sign(rsa_key("device"), digest, rsa_padding=scheme)
    return parse_csr(made.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("salt", [0, 20, 32, 64])
def test_C141_S66_pss_signatures_verify(salt):
    verify_csr(pss(salt), CryptoPolicy())
    verify_csr(pss(salt, hashes.SHA512()) if salt < 64 else pss(salt), CryptoPolicy())


def algorithm(digest, *parameters):
    return tlv.sequence(tlv.oid(digest.oid), *parameters)


def mask(digest, function="1.2.840.113549.1.1.8"):
    return tlv.sequence(tlv.oid(function), algorithm(digest))


def pss_parameters(hash_=None, mgf=None, salt=None, trailer=None):
    parts = [hash_, mgf, None if salt is None else tlv.integer(salt), None if trailer is None else tlv.integer(trailer)]
    return tlv.sequence(*[tlv.explicit(number, part) for number, part in enumerate(parts) if part is not None])


def test_S66_pss_parameters_and_their_defaults():
    assert read_pss_parameters(None) == (Digest.SHA1, 20)
    assert read_pss_parameters(pss_parameters()) == (Digest.SHA1, 20)
    whole = pss_parameters(algorithm(Digest.SHA256, tlv.null()), mask(Digest.SHA256), 32, 1)
    assert read_pss_parameters(whole) == (Digest.SHA256, 32)


SHA256 = algorithm(Digest.SHA256)


def tlv_fields():
    """Return the fields of parameters that are right."""
    whole = pss_parameters(SHA256, mask(Digest.SHA256), 32, 1)
    return [field.der for field in tlv.read(whole).children]


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        tlv.null(),
        tlv.sequence(tlv.null()),
        pss_parameters(SHA256),
        pss_parameters(SHA256, mask(Digest.SHA512)),
        pss_parameters(SHA256, mask(Digest.SHA256, "1.2.3")),
        pss_parameters(SHA256, tlv.sequence(tlv.oid("1.2.840.113549.1.1.8"))),
        pss_parameters(SHA256, mask(Digest.SHA256), 65),
        pss_parameters(SHA256, mask(Digest.SHA256), -1),
        pss_parameters(SHA256, mask(Digest.SHA256), 1 << 100),
        pss_parameters(SHA256, mask(Digest.SHA256), 32, 2),
        pss_parameters(tlv.sequence(tlv.oid("1.2.3")), mask(Digest.SHA256)),
        pss_parameters(tlv.sequence(), mask(Digest.SHA256)),
        tlv.sequence(tlv.explicit(4, tlv.null())),
        tlv.sequence(tlv.explicit(4, tlv.null()), *tlv_fields()),
        tlv.sequence(tlv.explicit(0, SHA256 + SHA256)),
        tlv.sequence(*[tlv.explicit(2, tlv.integer(20))] * 30),
        tlv.sequence(tlv.explicit(2, tlv.integer(1 << 4000))),
    ],
)
def test_S66_pss_parameter_bombs_are_uniform(parameters):
    request = attrs.evolve(pss(32), signature_parameters_der=parameters)
    assert refusal(request) is Reason.csr_signature_invalid


def test_S28_S66_numbers_that_cost_time_are_not_used():
    info = csr().info_der
    for public in (key_of(modulus(8200)), key_of(modulus(2048), (1 << 32) + 15)):
        made = attrs.evolve(csr(), spki_der=encode_public_key(public), info_der=info)
        begun = time.perf_counter()
        assert refusal(made) is Reason.csr_signature_invalid
        assert time.perf_counter() - begun < 0.050


def test_S66_a_key_that_does_not_load_proves_nothing():
    assert refusal(attrs.evolve(csr(), spki_der=b"\x30\0")) is Reason.csr_signature_invalid
    assert refusal(attrs.evolve(csr(ec_key("device")), signature=b"")) is Reason.csr_signature_invalid


def test_S28_the_sieve_of_fermats_method_agrees_with_the_method_itself():
    from math import isqrt

    from scepd.x509.keys import _FERMAT_ROUNDS, _has_close_factors

    def plainly(modulus):
        root = isqrt(modulus - 1) + 1
        return any(isqrt(d) ** 2 == d for d in ((root + step) ** 2 - modulus for step in range(_FERMAT_ROUNDS)))

    # Large ones pass the sieve now and then without being a product of close factors, small ones often are.
    for begin, count in ((2**256 + 1, 2000), (10**6 + 1, 300)):
        for modulus in range(begin, begin + 2 * count, 2):
            assert _has_close_factors(modulus) is plainly(modulus)
