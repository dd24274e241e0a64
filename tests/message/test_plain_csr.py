"""The reader of the common request against the general one: what it reads, it reads alike; the rest it leaves alone."""

import random
from functools import cache

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepd.message import names, tlv
from scepd.message.csr import _LIMITS, _read, _read_plain, build_csr, parse_csr
from scepd.message.csr_attributes import Extension
from scepd.message.errors import MessageError
from scepd.records import Attribute
from scepd.refusal import Reject

FLIPS = 4000
NULL = tlv.null()
SUBJECT = ((Attribute("2.5.4.3", "r1"),), (Attribute("2.5.4.10", "Exämple"),))
SAN = Extension(names.SUBJECT_ALT_NAME, False, tlv.sequence(tlv.implicit(2, b"r1.example.net", constructed=False)))
USAGE = Extension("2.5.29.15", True, bytes.fromhex("030205a0"))


@cache
def key(kind="ec"):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()


def request(kind="ec", subject=SUBJECT, challenge="secret", extensions=()):
    return build_csr(subject=subject, private_key=key(kind), challenge=challenge, extensions=extensions)


def general(der):
    """Return what the general reader says, None where it refuses."""
    try:
        return _read(tlv.read(der, _LIMITS), verisign=False, longest_challenge=255)
    except (MessageError, Reject):
        return None


def agree(der):
    """Return whether the plain reader takes a request, which the general one must then read alike."""
    plain = _read_plain(der)
    if plain is not None:
        other = general(der)
        assert plain == other
        assert plain.element.der == other.element.der
        assert plain.without_challenge_der == other.without_challenge_der
        assert (plain.wishes, plain.fingerprint, plain.fingerprint_sha1) == (
            other.wishes,
            other.fingerprint,
            other.fingerprint_sha1,
        )
    return plain is not None


def built(**changes):
    """Return a request with some of its parts replaced; its signature is no matter of reading."""
    parts = {
        "version": tlv.integer(0),
        "subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.utf8("r1")))),
        "spki": tlv.sequence(tlv.sequence(tlv.oid("1.3.101.112")), tlv.bit_string(bytes(32))),
        "attributes": [attribute(names.CHALLENGE_PASSWORD, tlv.printable("secret"))],
        "algorithm": tlv.sequence(tlv.oid("1.2.840.10045.4.3.2")),
        "signature": tlv.bit_string(bytes(70)),
        "after": b"",
        **changes,
    }
    attributes = parts["attributes"]
    wrapped = b"" if attributes is None else tlv.implicit(0, b"".join(attributes), constructed=True)
    info = tlv.sequence(parts["version"], parts["subject"], parts["spki"], wrapped)
    return tlv.sequence(info, parts["algorithm"], parts["signature"], parts["after"])


def pair(oid, value):
    return tlv.sequence(tlv.oid(oid), value)


def rdn(*pairs):
    return tlv.set_of(pairs, sort=False)


def attribute(oid, *values):
    return tlv.sequence(tlv.oid(oid), tlv.set_of(values, sort=False))


def wishes(*extensions, oid=names.EXTENSION_REQUEST):
    return attribute(oid, tlv.sequence(*(extension.encode() for extension in extensions)))


def san_of(count):
    return attrs.evolve(SAN, value_der=tlv.sequence(*[tlv.implicit(2, b"a", constructed=False)] * count))


CHALLENGE = attribute(names.CHALLENGE_PASSWORD, tlv.utf8("secret"))


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
@pytest.mark.parametrize("challenge", ["secret", "", None])
@pytest.mark.parametrize("extensions", [(), (SAN,), (SAN, USAGE)], ids=len)
def test_what_we_write_is_read_alike(kind, challenge, extensions):
    assert agree(request(kind, challenge=challenge, extensions=extensions))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version": tlv.integer(2)},
        {"subject": tlv.sequence()},
        {"subject": tlv.sequence(*[rdn(pair("2.5.4.11", tlv.utf8("x")))] * 32)},
        {"subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.text(tlv.BMP_STRING, "r1"))))},
        {"attributes": []},
        {"attributes": [wishes(SAN), CHALLENGE]},
        {"attributes": [wishes(SAN, oid=names.MICROSOFT_EXTENSION_REQUEST)]},
        {"attributes": [wishes()]},
        {"attributes": [attribute(names.CHALLENGE_PASSWORD, tlv.utf8("x" * 255))]},
        {"attributes": [wishes(san_of(64))]},
    ],
)
def test_the_common_shape_is_read(changes):
    assert agree(built(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": tlv.integer(3)},
        {"version": tlv.integer(1000)},
        {"version": b""},
        {"subject": tlv.sequence(*[rdn(pair("2.5.4.11", tlv.utf8("x")))] * 33)},
        {"subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.utf8("a")), pair("2.5.4.5", tlv.utf8("b"))))},
        {"subject": tlv.sequence(rdn())},
        {"subject": tlv.sequence(rdn(tlv.sequence(tlv.oid("2.5.4.3"))))},
        {"subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.utf8("a") + NULL)))},
        {"subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.octet_string(b"a"))))},
        {"subject": tlv.sequence(rdn(pair("2.5.4.3", tlv.write(tlv.UTF8_STRING, b"\xff"))))},
        {"subject": tlv.sequence(rdn(tlv.sequence(tlv.write(tlv.OID, b"\x80"), tlv.utf8("a"))))},
        {"subject": tlv.sequence(tlv.utf8("a"))},
        {"subject": b""},
        {"spki": b""},
        {"attributes": None},
        {"attributes": [CHALLENGE, CHALLENGE]},
        {"attributes": [CHALLENGE] * 17},
        {"attributes": [attribute(names.CHALLENGE_PASSWORD)]},
        {"attributes": [attribute(names.CHALLENGE_PASSWORD, tlv.utf8("a"), tlv.utf8("b"))]},
        {"attributes": [attribute(names.CHALLENGE_PASSWORD, tlv.utf8("x" * 256))]},
        {"attributes": [attribute(names.CHALLENGE_PASSWORD, tlv.integer(5))]},
        {"attributes": [attribute("1.2.3.4", NULL)]},
        {"attributes": [wishes(SAN, oid=names.VERISIGN_EXTENSION_REQUEST)]},
        {"attributes": [wishes(SAN), wishes(USAGE)]},
        {"attributes": [wishes(SAN), wishes(USAGE, oid=names.MICROSOFT_EXTENSION_REQUEST)]},
        {"attributes": [attribute(names.EXTENSION_REQUEST)]},
        {"attributes": [attribute(names.EXTENSION_REQUEST, tlv.sequence(), tlv.sequence())]},
        {"attributes": [attribute(names.EXTENSION_REQUEST, tlv.sequence(NULL))]},
        {"attributes": [wishes(Extension(names.CHALLENGE_PASSWORD, False, tlv.utf8("secret")))]},
        {"attributes": [wishes(SAN, SAN)]},
        {"attributes": [wishes(*(Extension(f"1.2.3.{n}", False, b"") for n in range(33)))]},
        {"attributes": [wishes(san_of(65))]},
        {"attributes": [wishes(attrs.evolve(SAN, value_der=b"\x30\x05"))]},
        {"attributes": [NULL]},
        {"algorithm": tlv.sequence(tlv.oid("1.2.840.113549.1.1.10"), tlv.sequence(tlv.octet_string(bytes(30))))},
        {"algorithm": tlv.sequence()},
        {"algorithm": b""},
        {"signature": b"\x03\x00"},
        {"signature": b"\x03\x02\x01\x00"},
        {"signature": tlv.octet_string(bytes(70))},
        {"after": NULL},
    ],
)
def test_any_other_shape_is_left_to_the_general_reader(changes):
    assert not agree(built(**changes))


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x00", b"\x30\x80\x00\x00", built() + b"\0", built()[:-1]])
def test_what_is_cut_off_is_left_to_the_general_reader(der):
    assert not agree(der)
    with pytest.raises(Reject):
        parse_csr(der)


@pytest.mark.parametrize("make", [built, lambda: request("rsa", extensions=(SAN, USAGE))], ids=["built", "signed"])
def test_changed_octets_are_read_alike_or_left(make):
    der = make()
    rolls = random.Random(43)
    for _ in range(FLIPS):
        changed = bytearray(der)
        for _ in range(rolls.choice((1, 1, 2, 3))):
            changed[rolls.randrange(len(changed))] = rolls.randrange(256)
        agree(bytes(changed))


def test_lengths_that_reach_beyond_are_left_to_the_general_reader():
    der = built(attributes=[CHALLENGE, wishes(SAN, USAGE)])
    for at in range(len(der) - 71):
        for value in (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xFF, der[at] + 1 & 0xFF, der[at] - 1 & 0xFF):
            agree(der[:at] + bytes((value,)) + der[at + 1 :])
