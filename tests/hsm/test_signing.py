"""Token keys as cryptography's own: its builders sign in the token, and nothing comes out."""

import copy
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID
from pkcs11 import exceptions

from scepd.hsm.faults import TokenFault, WrongSignature
from scepd.hsm.keys import Opening
from scepd.hsm.signing import TokenSigner

from .tokens import PIN

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("label", ["ra-sign", "ca"])
def test_builders_sign_in_the_token(bench, label):
    calls = []
    key = bench.signing(label, Opening(recorder=lambda name, size: calls.append((name, size))))
    calls.clear()
    certificate = (
        x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key()).serial_number(7)
        .not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate.verify_directly_issued_by(certificate)
    crl = (
        x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW).next_update(NOW + timedelta(days=1))
        .sign(key, hashes.SHA384())
    )  # fmt: skip
    assert crl.is_signature_valid(key.public_key())
    wanted = [("C_Sign ECDSA", 32)] * 2 if label == "ca" else [("C_Sign RSA_PKCS", 51), ("C_Sign RSA_PKCS", 67)]
    assert calls == wanted


@pytest.mark.parametrize("algorithm", [hashes.MD5(), hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_every_digest_verifies(bench, algorithm):
    key = bench.signing("ra-sign")
    key.public_key().verify(key.sign(b"data", padding.PKCS1v15(), algorithm), b"data", padding.PKCS1v15(), algorithm)
    if algorithm.name != "md5":
        curve = bench.signing("ca")
        curve.public_key().verify(curve.sign(b"data", ec.ECDSA(algorithm)), b"data", ec.ECDSA(algorithm))


@pytest.mark.parametrize("salt", [0, 20, padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH])
def test_pss_verifies(bench, salt):
    key = bench.signing("ra-sign")
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    key.public_key().verify(key.sign(b"data", scheme, hashes.SHA256()), b"data", scheme, hashes.SHA256())


def test_prehashed_and_memoryview(bench):
    key, digest = bench.signing("ra-sign"), hashes.Hash(hashes.SHA256())
    digest.update(b"data")
    signature = key.sign(digest.finalize(), padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    key.public_key().verify(signature, b"data", padding.PKCS1v15(), hashes.SHA256())
    assert key.sign(memoryview(b"data"), padding.PKCS1v15(), hashes.SHA256()) == signature


def test_signing_keys_are_of_cryptographys_classes(bench):
    assert isinstance(bench.signing("ra-sign"), rsa.RSAPrivateKey)
    assert isinstance(bench.signing("ca"), ec.EllipticCurvePrivateKey)
    assert bench.signing("ra-sign").key_size == 2048
    assert (bench.signing("ca").key_size, bench.signing("ca").curve.name) == (256, "secp256r1")


@pytest.mark.parametrize("label", ["ra-sign", "ca"])
def test_S119_nothing_comes_out(bench, label):
    key = bench.signing(label)
    for attempt in (
        key.private_numbers,
        lambda: key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ):
        with pytest.raises(TypeError):
            attempt()
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key


def test_S16_signing_keys_do_nothing_else(bench):
    with pytest.raises(TypeError):
        bench.signing("ra-sign").decrypt(b"x" * 256, padding.PKCS1v15())
    with pytest.raises(TypeError):
        bench.signing("ca").exchange(ec.ECDH(), bench.public_key("ca"))
    with pytest.raises(TypeError):
        bench.signing("ra-sign").sign(
            b"x", padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None), hashes.SHA1()
        )


class BrokenKey:
    def __init__(self, error):
        self.error = error

    def sign(self, *_args, **_options):
        raise self.error


CODES = {
    "session": ("SessionHandleInvalid", "SessionClosed", "ObjectHandleInvalid", "KeyHandleInvalid", "OperationActive",
                "OperationNotInitialized"),
    "device": ("DeviceError", "DeviceMemory", "DeviceRemoved", "TokenNotPresent", "TokenNotRecognised", "SlotIDInvalid",
               "HostMemory", "UserNotLoggedIn"),
    "sign": ("GeneralError", "FunctionFailed", "FunctionCancelled", "DataLenRange", "MechanismInvalid", "ArgumentsBad"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CODES.items() for code in codes])
def test_S116_every_code_has_its_kind(bench, kind, code):
    signer = TokenSigner(bench.token.session(), BrokenKey(getattr(exceptions, code)()))
    with pytest.raises(TokenFault) as caught:
        signer.sign(b"x", None)
    assert caught.value.kind == kind


@pytest.mark.parametrize("code", [code for codes in CODES.values() for code in codes])
@pytest.mark.parametrize("call", ["find", "session"])
def test_S116_every_code_of_searching_and_opening_is_a_fault(bench, call, code):
    def fail(*_args, **_options):
        raise getattr(exceptions, code)

    broken = type("Broken", (), {"get_objects": fail, "open": fail})()
    session = bench.token.session()
    session.handle = bench.token._token = broken
    with pytest.raises(TokenFault) as caught:
        session.find({}) if call == "find" else bench.token.session()
    assert caught.value.kind == ("session" if code in CODES["session"] else "device")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # python-pkcs11's search, on its way out
def test_S116_a_module_that_lost_its_initialisation_is_a_device_fault(bench):
    session = bench.token.session()
    bench.module.functions.finalize(None)
    with pytest.raises(TokenFault) as caught:
        session.find({})
    assert caught.value.kind == "device"


def test_S113_no_pin_in_representations(bench):
    shown = repr(bench.token) + repr(bench.token.session()) + repr(bench.signing("ca")) + str(vars(bench.signing("ca")))
    assert PIN not in shown


@pytest.mark.parametrize(
    ("label", "arguments"),
    [
        ("ra-sign", (padding.PKCS1v15(), hashes.SHA256())),
        ("ra-sign", (padding.PKCS1v15(), Prehashed(hashes.SHA512()))),
        ("ra-sign", (padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), hashes.SHA256())),
        ("ca", (ec.ECDSA(hashes.SHA256()),)),
        ("ca", (ec.ECDSA(Prehashed(hashes.SHA512())),)),
    ],
    ids=["v1.5", "v1.5 over a digest", "PSS", "ECDSA", "ECDSA over a digest"],
)
def test_S110_no_signature_leaves_that_does_not_verify(bench, monkeypatch, label, arguments):
    key, right = bench.signing(label), TokenSigner.sign
    data = bytes(64)  # as long as the digest where there is one
    key.public_key().verify(key.sign(data, *arguments), data, *arguments)

    def sign(signer, *wanted):
        signature = right(signer, *wanted)
        return signature[:-1] + bytes([signature[-1] ^ 1])

    monkeypatch.setattr(TokenSigner, "sign", sign)
    with pytest.raises(WrongSignature):
        key.sign(data, *arguments)
