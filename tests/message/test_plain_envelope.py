"""The reader of the common envelope against the general one: what it reads, it reads alike; the rest it leaves alone."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from scepd.message import tlv
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, RSA_ENCRYPTION, Cipher, CryptoPolicy
from scepd.message.enveloped import _read, decrypt, encrypt, encrypt_for_password, parse_envelope
from scepd.message.errors import MessageError
from scepd.message.names import DATA, ENVELOPED_DATA
from scepd.message.plain_envelope import read_plain_envelope
from scepd.message.signature import write_algorithm
from scepd.records import Secret
from scepd.refusal import Reject

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ALL = CryptoPolicy(ciphers=frozenset(Cipher), passwords=True)
FLIPS = 3000
OID, NULL = tlv.oid, tlv.null()


@cache
def key():
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate(serial=0x5CFFEE):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "RA"), x509.NameAttribute(NameOID.COUNTRY_NAME, "CH")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key().public_key())
    builder = builder.serial_number(serial).not_valid_before(NOW).not_valid_after(NOW + timedelta(1))
    return builder.sign(key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def envelope(cipher=Cipher.AES128, transport=PKCS1V15, plaintext=bytes(600)):
    return encrypt(plaintext, certificate(), cipher=cipher, transport=transport, random=random.Random(7).randbytes)


def verdict(read, content, policy):
    """Return what a reader says of an envelope, or how it refuses it."""
    try:
        return read(content, policy)
    except (MessageError, Reject) as refusal:
        return type(refusal), getattr(refusal, "reason", None)


def agree(content, policy=ALL):
    """Return whether the plain reader takes an envelope, which the general one must then read alike."""
    plain = read_plain_envelope(content, policy)
    if plain is not None:
        assert plain == verdict(_read, content, policy)
    return plain is not None


def built(**changes):
    """Return an envelope with some of its parts replaced."""
    parts = {
        "outer": OID(ENVELOPED_DATA),
        "version": tlv.integer(0),
        "info_version": tlv.integer(0),
        "rid": tlv.sequence(tlv.sequence(tlv.set_of([tlv.sequence(OID("2.5.4.3"), tlv.utf8("RA"))])), tlv.integer(5)),
        "transport": write_algorithm(RSA_ENCRYPTION),
        "encrypted_key": tlv.octet_string(bytes(256)),
        "more_infos": b"",
        "kind": OID(DATA),
        "cipher": tlv.sequence(OID(Cipher.AES128.oid), tlv.octet_string(bytes(16))),
        "ciphertext": tlv.implicit(0, bytes(64), constructed=False),
        "after": b"",
        **changes,
    }
    info = tlv.sequence(*(parts[name] for name in ("info_version", "rid", "transport", "encrypted_key")))
    encrypted = tlv.sequence(parts["kind"], parts["cipher"], parts["ciphertext"])
    data = tlv.sequence(parts["version"], tlv.write(tlv.SET, info, parts["more_infos"]), encrypted, parts["after"])
    return tlv.sequence(parts["outer"], tlv.explicit(0, data))


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("transport", [PKCS1V15, OAEP_SHA1, OAEP_SHA256], ids=str)
def test_what_we_write_is_read_alike(cipher, transport):
    content = envelope(cipher, transport)
    assert agree(content) is (transport != OAEP_SHA256)  # whose parameters are too long to be remembered
    policy = CryptoPolicy(ciphers=frozenset(Cipher))
    assert decrypt(content, certificate(), key(), policy) == bytes(600)


def test_the_common_shape_is_read():
    assert agree(built())
    assert agree(built(version=tlv.integer(2), ciphertext=tlv.implicit(0, b"", constructed=False)))
    assert agree(built(ciphertext=tlv.implicit(0, bytes(200), constructed=False)))
    assert agree(built(transport=write_algorithm("1.2.3.4")))  # unknown, which the recipient's choice refuses


def test_an_envelope_by_password_is_left_to_the_general_reader():
    content = encrypt_for_password(bytes(5), Secret("x"), cipher=Cipher.AES128, random=random.Random(7).randbytes)
    assert not agree(content)


def nested(depth):
    value = tlv.sequence()
    for _ in range(depth):
        value = tlv.sequence(value)
    return tlv.sequence(value, tlv.integer(5))


@pytest.mark.parametrize(
    "changes",
    [
        {"outer": OID(DATA)},
        {"version": tlv.integer(300)},
        {"version": tlv.octet_string(b"0")},
        {"info_version": tlv.integer(70_000)},
        {"info_version": b""},
        {"rid": tlv.implicit(0, b"key", constructed=False)},
        {"rid": tlv.sequence(tlv.sequence())},
        {"rid": tlv.sequence(tlv.sequence(), tlv.integer(5), NULL)},
        {"rid": tlv.sequence(b"\x30\x80\x00\x00", tlv.integer(5))},
        {"rid": tlv.sequence(b"\x30\x03\x0c\x05A", tlv.integer(5))},
        {"rid": tlv.sequence(tlv.sequence(), b"\x02\x00")},
        {"rid": nested(40)},
        {"rid": tlv.sequence(tlv.sequence(*[NULL] * 700), tlv.integer(5))},
        {"rid": tlv.sequence(tlv.sequence(tlv.utf8("A" * 1500)), tlv.integer(5))},
        {"transport": tlv.octet_string(b"")},
        {"transport": tlv.sequence()},
        {"transport": tlv.sequence(OID(RSA_ENCRYPTION), NULL, NULL)},
        {"encrypted_key": tlv.bit_string(bytes(255))},
        {"encrypted_key": b"\x24\x82\x01\x04" + tlv.octet_string(bytes(256))},
        {"encrypted_key": tlv.octet_string(bytes(256)) + NULL},
        {"encrypted_key": b""},
        {"more_infos": NULL},
        {"kind": OID(ENVELOPED_DATA)},
        {"cipher": tlv.sequence(OID(Cipher.AES128.oid), tlv.octet_string(bytes(8)))},
        {"cipher": tlv.sequence(OID(Cipher.AES128.oid), tlv.octet_string(bytes(17)))},
        {"cipher": tlv.sequence(OID(Cipher.DES3.oid), tlv.octet_string(bytes(16)))},
        {"cipher": tlv.sequence(OID("1.2.3.4"), tlv.octet_string(bytes(16)))},
        {"cipher": tlv.sequence(OID(Cipher.AES128.oid))},
        {"cipher": tlv.sequence()},
        {"ciphertext": tlv.implicit(0, tlv.octet_string(bytes(64)), constructed=True)},
        {"ciphertext": tlv.implicit(1, bytes(64), constructed=False)},
        {"ciphertext": b""},
        {"ciphertext": b"\x80\x81\x40" + bytes(64)},
        {"ciphertext": tlv.implicit(0, bytes(64), constructed=False) + NULL},
        {"after": tlv.implicit(1, b"", constructed=True)},
    ],
)
def test_any_other_shape_is_left_to_the_general_reader(changes):
    assert not agree(built(**changes))


@pytest.mark.parametrize("content", [b"", b"0", b"\x30\x00", built() + b"\0", built()[:-1], built()[18:]])
def test_what_is_cut_off_or_bare_is_left_to_the_general_reader(content):
    assert not agree(content)


def test_a_cipher_outside_the_policy_is_left_to_the_general_reader():
    assert not agree(envelope(Cipher.DES3), CryptoPolicy())
    with pytest.raises(Reject):
        parse_envelope(envelope(Cipher.DES3), CryptoPolicy())


@pytest.mark.parametrize("make", [built, envelope])
def test_changed_octets_are_read_alike_or_left(make):
    content = make()
    rolls = random.Random(41)
    for _ in range(FLIPS):
        changed = bytearray(content)
        for _ in range(rolls.choice((1, 1, 2, 3))):
            changed[rolls.randrange(len(changed)) if rolls.random() < 0.3 else rolls.randrange(120)] = rolls.randrange(
                256
            )
        agree(bytes(changed))


def test_lengths_that_reach_beyond_are_left_to_the_general_reader():
    content = built()
    for at in range(len(content) - 70):
        for value in (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xFF, content[at] + 1 & 0xFF, content[at] - 1 & 0xFF):
            agree(content[:at] + bytes((value,)) + content[at + 1 :])
