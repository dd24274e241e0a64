"""The RA decryption key on SoftHSM: the same calls and the same path for every bad padding."""

import os
import sys

import attrs
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from pkcs11 import exceptions

from scepd.hsm import mechanisms
from scepd.hsm.decryption import RsaDecryptionKey, TokenDecryption
from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import Opening
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15
from scepd.refusal import Unavailable

from .test_mechanisms import block
from .tokens import SECRET

KEY = bytes(range(1, 17))


def vectors(public_key) -> dict[str, bytes]:
    """Return the encrypted keys of threats S-10: the first is good, all others must be rejected."""
    numbers = public_key.public_numbers()

    def encrypt(plain: bytes) -> bytes:
        return pow(int.from_bytes(plain, "big"), numbers.e, numbers.n).to_bytes(256, "big")

    good = encrypt(block(KEY))
    found = {
        "valid": good,
        "first byte wrong": encrypt(block(KEY, first=1)),
        "02 wrong": encrypt(block(KEY, second=1)),
        "no zero": encrypt(b"\x00\x02" + b"\x5a" * 254),
        "zero too early": encrypt(b"\x00\x02\x5a\x00" + b"\x5a" * 252),
        "zero among the first eight": encrypt(block(KEY, filler=b"\x5a\x5a\x00\x5a")),
        "empty message": encrypt(b"\x00\x02" + b"\x5a" * 253 + b"\x00"),
        "c = 0": bytes(256),
        "c = 1": (1).to_bytes(256, "big"),
        "c = n-1": (numbers.n - 1).to_bytes(256, "big"),
        "c = n": numbers.n.to_bytes(256, "big"),
        "c = n+2": (numbers.n + 2).to_bytes(256, "big"),
        "c = all ones": b"\xff" * 256,
        "short": good[:-1],
        "long": good + b"\x00",
        "long, zero in front": b"\x00" + good,
        "empty": b"",
        "random": bytes([0x12]) + os.urandom(255),
    }
    found.update({f"content key of {length}": encrypt(block(b"k" * length)) for length in (15, 17, 24, 32)})
    return found


def traced(function):
    """Return the result and the lines of scepd.hsm that ran for it."""
    lines: list[tuple[str, int]] = []

    def trace(frame, event, _arg):
        if "scepd/hsm" not in frame.f_code.co_filename:
            return None
        lines.append((frame.f_code.co_name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return function(), lines
    finally:
        sys.settrace(before)


@pytest.fixture(params=[True, False], ids=["raw RSA", "CKM_RSA_PKCS"])
def key_and_calls(request, bench):
    calls: list[tuple[str, int]] = []
    key = bench.decryption(Opening(raw=request.param, recorder=lambda name, size: calls.append((name, size))))
    assert key.raw is request.param
    calls.clear()
    return key, calls


def test_S10_S11_same_token_calls_for_every_vector(key_and_calls):
    key, calls = key_and_calls
    sequences = {}
    for name, encrypted in vectors(key.public_key).items():
        calls.clear()
        found = key.unwrap(encrypted, PKCS1V15, 16)
        sequences[name] = tuple(calls)
        expected = KEY if name == "valid" else mechanisms.rejection_key(SECRET, encrypted, 16)
        assert found == expected, name
    assert set(sequences.values()) == {((f"C_Decrypt {'RSA_X_509' if key.raw else 'RSA_PKCS'}", 256),)}


def test_S10_same_code_path_for_every_vector_under_raw_rsa(bench):
    key = bench.decryption()
    paths = {}
    for name, encrypted in vectors(key.public_key).items():
        _, paths[name] = traced(lambda encrypted=encrypted: key.unwrap(encrypted, PKCS1V15, 16))
    assert all(path == paths["valid"] for path in paths.values())
    assert len(paths["valid"]) > 20


@pytest.mark.parametrize("length", [16, 24, 32])
def test_S10_content_key_lengths(bench, length):
    key = bench.decryption()
    for sent in (15, 16, 17, 24, 32):
        encrypted = key.public_key.encrypt(b"k" * sent, padding.PKCS1v15())
        found = key.unwrap(encrypted, PKCS1V15, length)
        assert len(found) == length
        assert (found == b"k" * length) is (sent == length)


@pytest.mark.parametrize(("transport", "algorithm"), [(OAEP_SHA1, hashes.SHA1()), (OAEP_SHA256, hashes.SHA256())])
def test_S10_oaep_same_path_and_calls(bench, transport, algorithm):
    calls: list[tuple[str, int]] = []
    key = bench.decryption(Opening(recorder=lambda name, size: calls.append((name, size))))
    good = key.public_key.encrypt(KEY, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    found = {"valid": good, "other": bytes([0x12]) + os.urandom(255)}
    found["label"] = key.public_key.encrypt(KEY, padding.OAEP(padding.MGF1(algorithm), algorithm, b"label"))
    found["short key"] = key.public_key.encrypt(KEY[:-1], padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    found |= {name: value for name, value in vectors(key.public_key).items() if name != "valid"}
    observed = {}
    for name, encrypted in found.items():
        calls.clear()
        result, path = traced(lambda encrypted=encrypted: key.unwrap(encrypted, transport, 16))
        assert result == (KEY if name == "valid" else mechanisms.rejection_key(SECRET, encrypted, 16)), name
        observed[name] = (tuple(calls), tuple(path))
    assert set(observed.values()) == {observed["valid"]}


def test_S10_rejection_is_stable_for_one_ciphertext(bench):
    key, bad = bench.decryption(), b"\x12" * 256
    assert key.unwrap(bad, PKCS1V15, 16) == key.unwrap(bad, PKCS1V15, 16)
    other = attrs.evolve(key, secret=b"another process")
    assert key.unwrap(bad, PKCS1V15, 16) != other.unwrap(bad, PKCS1V15, 16)


class Leaky(RsaDecryptionKey):
    """The same key as it must not be: it tells padding from no padding."""

    def unwrap(self, encrypted_key, transport, length):
        found = super().unwrap(encrypted_key, transport, length)
        if found == mechanisms.rejection_key(self.secret, encrypted_key, length):
            raise ValueError("bad padding")
        return found


def observe(key, ciphertext: bytes) -> str:
    """Return what a Bleichenbacher attacker could see of one query: the kind of the outcome and its size."""
    try:
        return f"key of {len(key.unwrap(ciphertext, PKCS1V15, 16))}"
    except ValueError as error:
        return str(error)


def test_S10_multiples_of_a_captured_ciphertext_tell_nothing(bench):
    key = bench.decryption()
    numbers = key.public_key.public_numbers()
    captured = int.from_bytes(vectors(key.public_key)["valid"], "big")
    queries = [(captured * pow(s, numbers.e, numbers.n) % numbers.n).to_bytes(256, "big") for s in range(1, 101)]
    assert {observe(key, query) for query in queries} == {"key of 16"}
    leaky = Leaky(key.public_key, key.operation, key.raw, key.secret)
    assert {observe(leaky, query) for query in queries} == {"key of 16", "bad padding"}


class BrokenKey:
    def __init__(self, error):
        self.error = error

    def decrypt(self, *_args, **_options):
        raise self.error


IMPLICIT = (
    exceptions.GeneralError,
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
    exceptions.FunctionFailed,
    exceptions.DataInvalid,
    exceptions.DataLenRange,
    exceptions.ArgumentsBad,
)
SESSION = (
    exceptions.SessionHandleInvalid,
    exceptions.SessionClosed,
    exceptions.ObjectHandleInvalid,
    exceptions.KeyHandleInvalid,
)
DEVICE = (exceptions.DeviceError, exceptions.DeviceRemoved, exceptions.TokenNotPresent, exceptions.UserNotLoggedIn)


def broken(bench, code, *, raw):
    key = bench.decryption()
    return attrs.evolve(key, operation=TokenDecryption(bench.token.session(), BrokenKey(code()), raw), raw=raw)


@pytest.mark.parametrize("code", IMPLICIT, ids=lambda code: code.__name__)
def test_S11_an_error_that_may_speak_of_the_ciphertext_is_a_rejection(bench, code):
    key = broken(bench, code, raw=False)
    encrypted = vectors(key.public_key)["valid"]
    assert key.unwrap(encrypted, PKCS1V15, 16) == mechanisms.rejection_key(SECRET, encrypted, 16)


@pytest.mark.parametrize("code", IMPLICIT, ids=lambda code: code.__name__)
def test_S11_S116_an_error_of_plain_rsa_speaks_of_the_token_and_is_the_same_for_every_ciphertext(bench, code):
    key, said = broken(bench, code, raw=True), set()
    for encrypted in vectors(key.public_key).values():
        with pytest.raises(Unavailable) as caught:
            key.unwrap(encrypted, PKCS1V15, 16)
        said.add(caught.value.cause)
    assert len(said) == 1


def test_S116_a_key_that_falters_while_it_is_opened_loses_no_transport(bench, monkeypatch):
    whole, times = bench.decryption(), [1]
    plain = TokenDecryption.__call__

    def falter(self, ciphertext, transport):
        if times[0]:
            times[0] -= 1
            raise Unavailable("not now")
        return plain(self, ciphertext, transport)

    monkeypatch.setattr(TokenDecryption, "__call__", falter)
    again = bench.decryption()
    assert (again.raw, again.transports) == (whole.raw, whole.transports)
    times[0] = 2
    with pytest.raises(TokenFault, match="does not decrypt"):
        bench.decryption()


@pytest.mark.parametrize("code", [*SESSION, *DEVICE], ids=lambda code: code.__name__)
def test_S116_lost_session_and_device_are_faults_when_decrypting(bench, code):
    operation = TokenDecryption(bench.token.session(), BrokenKey(code()), raw=True)
    with pytest.raises(TokenFault) as caught:
        operation(b"\x02" * 256, PKCS1V15)
    assert caught.value.kind == ("session" if code in SESSION else "device")


def test_transports_are_what_the_token_can(bench):
    assert bench.decryption().transports == {PKCS1V15, OAEP_SHA1, OAEP_SHA256}
    without_raw = bench.decryption(Opening(raw=False))  # SoftHSM knows OAEP with SHA-1 only
    assert without_raw.transports == {PKCS1V15, OAEP_SHA1}
    assert not without_raw.supports(OAEP_SHA256)


def test_S113_the_secret_is_not_shown(bench):
    assert SECRET.hex() not in repr(bench.decryption())
    assert repr(SECRET) not in repr(bench.decryption())
