"""Framing and unpadding on the host, against cryptography and against the letter of RFC 8017."""

import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from scepd.hsm import mechanisms
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15

SIZE = 256


def block(key: bytes, *, first: int = 0, second: int = 2, separator: int = 0, filler: bytes = b"\x5a") -> bytes:
    filling = (filler * SIZE)[: SIZE - 3 - len(key)]
    return bytes([first, second]) + filling + bytes([separator]) + key


@pytest.mark.parametrize(
    "algorithm", [hashes.MD5(), hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_digest_info_is_what_cryptography_signs(algorithm):
    key = rsa.generate_private_key(65537, 2048)
    name, octets = mechanisms.digest(b"data", algorithm)
    recovered = key.public_key().recover_data_from_signature(
        key.sign(b"data", padding.PKCS1v15(), algorithm), padding.PKCS1v15(), None
    )
    assert mechanisms.digest_info(name, octets) == recovered


def test_prehashed_data_is_taken_as_it_is():
    assert mechanisms.digest(b"\x01" * 32, Prehashed(hashes.SHA256())) == ("sha256", b"\x01" * 32)


def test_unknown_digest_has_no_digest_info():
    with pytest.raises(ValueError, match="sha3-256"):
        mechanisms.digest_info("sha3-256", b"")


def test_ecdsa_framing():
    raw = (5).to_bytes(32, "big") + (2**255 + 1).to_bytes(32, "big")
    assert decode_dss_signature(mechanisms.ecdsa_der(raw)) == (5, 2**255 + 1)
    for wrong in (b"", b"123"):
        with pytest.raises(ValueError, match="odd"):
            mechanisms.ecdsa_der(wrong)


def test_ecdsa_input_is_cut_to_the_order():
    assert mechanisms.ecdsa_input(b"x" * 64, 256) == b"x" * 32
    assert mechanisms.ecdsa_input(b"x" * 64, 521) == b"x" * 64
    assert ec.SECP521R1().key_size == 521


@pytest.mark.parametrize("length", [8, 16, 24, 32])
def test_S10_good_block(length):
    key = os.urandom(length)
    assert mechanisms.unpad(block(key), PKCS1V15, length) == (key, True)


@pytest.mark.parametrize(
    "bad",
    [
        block(b"k" * 16, first=1),
        block(b"k" * 16, second=1),
        block(b"k" * 16, separator=7),
        block(b"k" * 16, filler=b"\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x00"),
        block(b"k" * 16, filler=b"\x00"),
        block(b"k" * 15),
        block(b"k" * 17),
        block(b"k" * 24),
        block(b"k" * 32),
        bytes(SIZE),
        b"\xff" * SIZE,
    ],
)
def test_S10_bad_block(bad):
    assert mechanisms.unpad(bad, PKCS1V15, 16)[1] is False


def test_S10_every_flipped_padding_bit_that_matters_is_seen():
    good = bytearray(block(b"k" * 16))
    for place in [0, 1, SIZE - 17]:
        for bit in range(8):
            good[place] ^= 1 << bit
            assert mechanisms.unpad(bytes(good), PKCS1V15, 16)[1] is False
            good[place] ^= 1 << bit
    for place in range(2, SIZE - 17):
        kept, good[place] = good[place], 0
        assert mechanisms.unpad(bytes(good), PKCS1V15, 16)[1] is False
        good[place] = kept


@pytest.mark.parametrize(("transport", "algorithm"), [(OAEP_SHA1, hashes.SHA1()), (OAEP_SHA256, hashes.SHA256())])
@pytest.mark.parametrize("bits", [2048, 2056, 3072])
def test_oaep_undoes_cryptography(transport, algorithm, bits):
    key = rsa.generate_private_key(65537, bits)
    numbers, size = key.private_numbers(), (bits + 7) // 8
    scheme = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    encrypted = int.from_bytes(key.public_key().encrypt(b"k" * 24, scheme), "big")
    plain = pow(encrypted, numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
    assert mechanisms.unpad(plain, transport, 24) == (b"k" * 24, True)
    for length in (16, 23, 25, 32):
        assert mechanisms.unpad(plain, transport, length)[1] is False
    for place in (0, 1, 30, size - 1):
        flipped = bytearray(plain)
        flipped[place] ^= 1
        assert mechanisms.unpad(bytes(flipped), transport, 24)[1] is False


def test_rejection_key_depends_on_everything():
    keys = {
        mechanisms.rejection_key(secret, encrypted, 16)
        for secret in (b"a" * 32, b"b" * 32)
        for encrypted in (b"", b"x", b"y")
    }
    assert len(keys) == 6
    assert mechanisms.rejection_key(b"a", b"x", 32)[:16] != mechanisms.rejection_key(b"a", b"x", 16)
    assert mechanisms.rejection_key(b"a", b"x", 16) == mechanisms.rejection_key(b"a", b"x", 16)
    for length in (0, 33):
        with pytest.raises(ValueError, match="octets"):
            mechanisms.rejection_key(b"a", b"x", length)


def test_ciphertexts_that_cannot_be_are_replaced():
    modulus, instead = (1 << 2047) + 12345, b"\x07" * 256
    for number in (2, modulus - 2):
        octets = number.to_bytes(256, "big")
        assert mechanisms.fit_ciphertext(octets, modulus, 256, instead) == (octets, True)
    for number in (0, 1, modulus - 1, modulus, modulus + 1):
        assert mechanisms.fit_ciphertext(number.to_bytes(256, "big"), modulus, 256, instead) == (instead, False)
    for octets in (b"", b"\x01" * 255, b"\x00" + b"\x01" * 256, b"\x01" * 257):
        assert mechanisms.fit_ciphertext(octets, modulus, 256, instead) == (instead, False)
