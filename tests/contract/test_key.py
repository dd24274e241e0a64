"""The contract of our private keys: the same behaviour from a token and from memory."""

import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from scepd.hsm.mechanisms import rejection_key
from scepd.hsm.software import software_decryption_key
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, Cipher
from scepd.ports import DecryptionKey
from tests.hsm.tokens import SECRET, open_bench, prepare

TRANSPORTS = {
    "pkcs1v15": (PKCS1V15, padding.PKCS1v15()),
    "oaep-sha1": (OAEP_SHA1, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)),
    "oaep-sha256": (OAEP_SHA256, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    before = os.environ.get("SOFTHSM2_CONF")
    prepared = prepare(tmp_path_factory.mktemp("contract-token"))
    bench = open_bench(prepared, tmp_path_factory.mktemp("contract-copy"))
    yield bench
    bench.module.finalise()
    os.environ.pop("SOFTHSM2_CONF", None)
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(scope="module", params=["token", "software"])
def keys(request, bench):
    """Return RSA and EC signing keys and a decryption key of one implementation, with the calls it recorded."""
    calls: list[str] = []
    if request.param == "software":
        decryption = software_decryption_key(
            rsa.generate_private_key(65537, 2048), SECRET, lambda name, _size: calls.append(name)
        )
        signing = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
    else:
        from scepd.hsm.keys import Opening

        decryption = bench.decryption(Opening(recorder=lambda name, _size: calls.append(name)))
        signing = {"rsa": bench.signing("ra-sign"), "ec": bench.signing("ca")}
    return {"decryption": decryption, "calls": calls, **signing}


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_rsa_key_signs(keys, algorithm):
    key, scheme = keys["rsa"], padding.PKCS1v15()
    key.public_key().verify(key.sign(b"data", scheme, algorithm), b"data", scheme, algorithm)
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    key.public_key().verify(key.sign(b"data", scheme, algorithm), b"data", scheme, algorithm)


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_ec_key_signs(keys, algorithm):
    key = keys["ec"]
    key.public_key().verify(key.sign(b"data", ec.ECDSA(algorithm)), b"data", ec.ECDSA(algorithm))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_builders_take_the_key(keys, kind):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    assert builder.sign(keys[kind], hashes.SHA256()).is_signature_valid


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("cipher", list(Cipher))
def test_decryption_key_unwraps_every_content_key(keys, transport, cipher):
    key: DecryptionKey = keys["decryption"]
    ours, theirs = TRANSPORTS[transport]
    content_key = os.urandom(cipher.key_size)
    assert key.supports(ours)
    assert key.unwrap(keys["decryption"].public_key.encrypt(content_key, theirs), ours, cipher.key_size) == content_key


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_S10_decryption_key_rejects_without_saying_so(keys, transport):
    key, (ours, theirs) = keys["decryption"], TRANSPORTS[transport]
    numbers = key.public_key.public_numbers()
    wrong_length = key.public_key.encrypt(b"k" * 15, theirs)
    bad = [wrong_length, wrong_length[1:], wrong_length + b"\x00", b"", bytes(256), b"\xff" * 256]
    bad += [number.to_bytes(256, "big") for number in (1, 2, 3, numbers.n - 2, numbers.n - 1, numbers.n, numbers.n + 1)]
    sequences = set()
    for encrypted in bad:
        keys["calls"].clear()
        assert key.unwrap(encrypted, ours, 16) == rejection_key(SECRET, encrypted, 16)
        sequences.add(tuple(keys["calls"]))
    assert len(sequences) == 1
    assert len(next(iter(sequences))) == 1


def test_S13_a_transport_of_another_kind_is_a_rejection(keys):
    key = keys["decryption"]
    encrypted = key.public_key.encrypt(b"k" * 16, padding.PKCS1v15())
    assert key.unwrap(encrypted, OAEP_SHA256, 16) == rejection_key(SECRET, encrypted, 16)
