"""The reader of the common shape against the general one: what it reads, it reads alike; the rest it leaves alone."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from scepd.message import tlv
from scepd.message.algorithms import RSASSA_PSS, CryptoPolicy, Digest
from scepd.message.errors import MessageError
from scepd.message.names import DATA, ENVELOPED_DATA, MESSAGE_TYPE
from scepd.message.plain import read_plain
from scepd.message.request import build_message, parse_message, verify_message
from scepd.message.signed import read_parts

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FLIPS = 3000


@cache
def key(kind="rsa"):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(kind="rsa", serial=0x5CFFEE):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "r1"), x509.NameAttribute(NameOID.COUNTRY_NAME, "CH")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key(kind).public_key())
    builder = builder.serial_number(serial).not_valid_before(NOW).not_valid_after(NOW + timedelta(1))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.sign(key(kind), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def message(kind="rsa", **fields):
    return build_message(
        **{
            "message_type": 19,
            "transaction_id": "0123456789abcdef",
            "sender_nonce": bytes(range(16)),
            "content": bytes(300),
            "signer": (certificate(kind), key(kind)),
            "digest": Digest.SHA256,
            "signing_time": NOW,
            **fields,
        }
    )


def seen(parts):
    """Return parts in a form that compares: the attributes by their octets."""
    info = parts.signer_info
    return attrs.evolve(parts, signer_info=attrs.evolve(info, attributes=None)), info.attributes.normalise()


def agree(body):
    """Return whether the plain reader takes a message, which the general one must then read alike."""
    plain = read_plain(body)
    if plain is not None:
        assert seen(plain) == seen(read_parts(body))
    return plain is not None


def rebuilt(body, **changes):
    """Return a message with some of its parts replaced: digests, encapsulated, bags, infos; `info` holds a SignerInfo's."""
    kind, wrapped = tlv.read(body).children
    version, digests, encapsulated, bag, infos = wrapped.inner().children
    fields = [child.der for child in infos.inner().children]
    for index, der in changes.pop("info", {}).items():
        fields[index : index + 1] = der if isinstance(der, list) else [der]
    parts = {
        "version": version.der,
        "digests": digests.der,
        "encapsulated": encapsulated.der,
        "bags": bag.der,
        "infos": tlv.write(tlv.SET, tlv.sequence(*fields)),
        **changes,
    }
    return tlv.sequence(kind.der, tlv.explicit(0, tlv.sequence(*parts.values())))


def signer_info(body):
    return tlv.read(body).children[1].inner().children[4].inner().children


def attributes(*more):
    return tlv.write(0xA0, signer_info(message())[3].content, *more)


def attribute(oid, *values):
    return tlv.sequence(tlv.oid(oid), tlv.write(tlv.SET, *values))


def bagged(*ders):
    return tlv.write(0xA0, *ders)


def v1(der):
    tbs, algorithm, signature = tlv.read(der).children
    return tlv.sequence(tlv.sequence(*[child.der for child in tbs.children[1:7]]), algorithm.der, signature.der)


TAKEN = {
    "as built": message,
    "EC": lambda: message("ec"),
    "short content": lambda: message(content=b"x"),
    "content of 130 octets": lambda: message(content=bytes(130)),
    "SHA-1": lambda: message(digest=Digest.SHA1),
    "more attributes": lambda: message(recipient_nonce=bytes(16), pki_status=2, fail_info=2, fail_info_text="no"),
    "no time": lambda: message(signing_time=None),
    "a certificate of version 1": lambda: rebuilt(message(), bags=bagged(v1(certificate()))),
    "an unknown attribute": lambda: rebuilt(message(), info={3: attributes(attribute("1.2.3", tlv.utf8("x")))}),
}
LEFT = {
    "empty": lambda: b"",
    "no eContent": lambda: message(content=None),
    "too large": lambda: message(content=bytes(9000)),
    "PSS": lambda: message(pss=True),
    "no certificate": lambda: message(certificates=()),
    "two certificates": lambda: message(certificates=(certificate(), certificate("ec"))),
    "another's certificate": lambda: message(certificates=(certificate("ec", serial=7),)),
    "another content type": lambda: rebuilt(
        message(), encapsulated=tlv.sequence(tlv.oid(ENVELOPED_DATA), tlv.explicit(0, tlv.octet_string(b"x")))
    ),
    "content in pieces": lambda: rebuilt(
        message(),
        encapsulated=tlv.sequence(tlv.oid(DATA), tlv.explicit(0, tlv.write(0x24, tlv.octet_string(b"x")))),
    ),
    "two digests": lambda: rebuilt(message(), digests=tlv.write(tlv.SET, *2 * [tlv.sequence(tlv.oid("1.2.3"))])),
    "a digest in BER": lambda: rebuilt(
        message(), digests=tlv.write(tlv.SET, b"\x30\x80" + tlv.oid(Digest.SHA1.oid) + bytes(2))
    ),
    "a digest with parameters": lambda: rebuilt(
        message(), digests=tlv.write(tlv.SET, tlv.sequence(tlv.oid(RSASSA_PSS), tlv.octet_string(bytes(20))))
    ),
    "CRLs": lambda: rebuilt(message(), bags=bagged(certificate()) + tlv.write(0xA1)),
    "two signers": lambda: rebuilt(
        message(), infos=tlv.write(tlv.SET, *2 * [tlv.read(message()).children[1].inner().children[4].inner().der])
    ),
    "a key identifier": lambda: rebuilt(message(), info={1: tlv.implicit(0, bytes(20), constructed=False)}),
    "no attributes": lambda: rebuilt(message(), info={3: []}),
    "unsigned attributes": lambda: rebuilt(message(), info={5: [signer_info(message())[5].der, tlv.write(0xA1)]}),
    "an attribute twice": lambda: rebuilt(message(), info={3: attributes(attribute(MESSAGE_TYPE, tlv.printable("3")))}),
    "an attribute of two values": lambda: rebuilt(
        message(), info={3: attributes(attribute("1.2.3", tlv.null(), tlv.null()))}
    ),
    "a constructed value": lambda: rebuilt(message(), info={3: attributes(attribute("1.2.3", tlv.sequence()))}),
    "a long attribute": lambda: rebuilt(message(), info={3: attributes(attribute("1.2.3", tlv.utf8("x" * 130)))}),
    "many attributes": lambda: rebuilt(
        message(), info={3: attributes(*(attribute(f"1.2.{n}", tlv.utf8("x")) for n in range(20)))}
    ),
    "an odd certificate": lambda: rebuilt(message(), bags=bagged(tlv.sequence(tlv.sequence(tlv.integer(1))))),
    "a certificate whose fields are elsewhere": lambda: rebuilt(
        message(), bags=bagged(tlv.sequence(tlv.sequence(tlv.integer(1), tlv.sequence()), *5 * [tlv.sequence()]))
    ),
    "a certificate in BER": lambda: rebuilt(
        message(), bags=bagged(b"\x30\x80" + tlv.read(certificate()).content + bytes(2))
    ),
    "a serial of 40 octets": lambda: rebuilt(
        message(), bags=bagged(tlv.sequence(tlv.sequence(tlv.integer(1 << 300), *5 * [tlv.sequence()])))
    ),
}


@pytest.mark.parametrize("shape", TAKEN)
def test_the_common_shapes_are_read_and_alike(shape):
    assert agree(TAKEN[shape]())


@pytest.mark.parametrize("shape", LEFT)
def test_other_shapes_are_left_to_the_general_reader(shape):
    assert not agree(LEFT[shape]())


def test_a_message_read_plainly_verifies():
    found = parse_message(message())
    verify_message(found, CryptoPolicy())
    assert found.proof.signer_info.attributes.children  # as the second attempt of a verification reads them


def bent(random_, body):
    """Return a message with one to three octets changed, dropped or doubled."""
    octets = bytearray(body)
    for _ in range(random_.randint(1, 3)):
        at = random_.randrange(len(octets))
        match random_.randrange(4):
            case 0:
                octets[at] = random_.randrange(256)
            case 1:
                octets[at] ^= 1 << random_.randrange(8)
            case 2:
                del octets[at]
            case _:
                octets.insert(at, octets[at])
    return bytes(octets)


@pytest.mark.parametrize("shape", TAKEN)
def test_S10_a_bent_message_is_never_read_otherwise(shape):
    generator, body = random.Random(shape), TAKEN[shape]()
    taken = sum(agree(bent(generator, body)) for _ in range(FLIPS // len(TAKEN)))
    assert taken  # some bend nothing but values


@pytest.mark.parametrize("shape", TAKEN)
def test_S10_every_single_octet_bent(shape):
    body = bytearray(TAKEN[shape]())
    for at in range(0, len(body), 1 if shape == "as built" else 7):
        octet = body[at]
        for other in (octet ^ 1, octet ^ 0x20, octet ^ 0x80, 0x80, 0):
            body[at] = other
            agree(bytes(body))
        body[at] = octet


def test_what_both_refuse_the_general_reader_names():
    with pytest.raises(MessageError, match="twice"):
        parse_message(LEFT["an attribute twice"]())
