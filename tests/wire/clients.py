"""Messages as single client builds were seen to write them; each is for the RA of a `Server` and has a static challenge."""

import base64
import hashlib
from datetime import timedelta
from functools import cache

import attrs
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.message import names, tlv
from scepd.message.algorithms import PKCS1V15, Cipher, Digest
from scepd.message.csr import Extension, write_name
from scepd.message.enveloped import encrypt
from scepd.message.signature import write_algorithm
from scepd.x509.usages import KEY_USAGES
from tests import make
from tests.world import NOW, STATIC

ALGORITHM_PROTECTION = "1.2.840.113549.1.9.52"
FRIENDLY_NAME = "1.2.840.113549.1.9.20"
KEY_USAGE = "2.5.29.15"
WITH_RSA = {
    Digest.SHA1: "1.2.840.113549.1.1.5",
    Digest.SHA256: "1.2.840.113549.1.1.11",
    Digest.SHA512: "1.2.840.113549.1.1.13",
}
SIGNATURE_AND_ENCIPHERMENT = Extension(KEY_USAGE, True, b"\x03\x02\x05\xa0")
assert {"digitalSignature", "keyEncipherment"} <= KEY_USAGES


@attrs.frozen
class Sent:
    """A message, and who can open its reply."""

    body: bytes
    party: make.Party


def bits(key):
    """The key's bits, which clients digest to a transactionID."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


def validity(before, after, *, generalized=False):
    times = (before, after)
    if generalized:
        return tlv.sequence(*(tlv.write(0x18, f"{time:%Y%m%d%H%M%S}Z".encode()) for time in times))
    return tlv.sequence(*map(tlv.time, times))


@cache
def signer(who, *, serial, days=1.0, version=2, generalized=False, extensions=()):
    """A self-signed party; `serial` is its INTEGER's content."""
    key = make.key(who)
    return make.Party(
        key,
        make.certificate(
            key,
            subject=make.name(CN=who),
            serial_der=tlv.write(tlv.INTEGER, serial),
            version=version,
            validity_der=validity(NOW - timedelta(hours=1), NOW + timedelta(days=days), generalized=generalized),
            extensions=extensions,
        ),
    )


def csr(who, *attributes, digest=Digest.SHA256, subject=None, version=0):
    """A PKCS#10 whose attributes stand in the order given."""
    key = make.key(who)
    info = tlv.sequence(
        tlv.integer(version),
        write_name(subject or make.name(CN=who)),
        make.spki(key),
        tlv.implicit(0, b"".join(attributes), constructed=True),
    )
    _, signature = make.sign(key, info, digest, pss=False)
    return tlv.sequence(info, write_algorithm(WITH_RSA[digest]), tlv.bit_string(signature))


def password(tag=tlv.PRINTABLE_STRING, text=STATIC):
    return make.attribute(names.CHALLENGE_PASSWORD, tlv.text(tag, text))


def wishes(*extensions, oid=names.EXTENSION_REQUEST):
    return make.attribute(oid, tlv.sequence(*(extension.encode() for extension in extensions)))


def announced(message, party, digest):
    """The same message with sha*WithRSAEncryption as the signature's OID."""
    parts = make.take_apart(message).resign(party.key, digest=digest)
    return parts.bend(signature_algorithm=write_algorithm(WITH_RSA[digest])).der()


def unsigned_time(message, party, digest=Digest.SHA256):
    """The same message without signingTime."""
    return make.take_apart(message).without_attribute(names.SIGNING_TIME).resign(party.key, digest=digest).der()


def sscep(server, *, serial_end=b"\0", **fields):
    """32 upper hex of MD5, whose ASCII with the NUL is the signer's serial; rsaEncryption."""
    transaction = hashlib.md5(bits(make.key("sscep"))).hexdigest().upper()
    party = signer("sscep", serial=transaction.encode() + serial_end, days=6)
    request = csr("sscep", password())
    return Sent(_req(server, request, party, transaction, **fields), party)


def micromdm(server, *, constructed=True, recipients=None, digest=Digest.SHA1, cipher=Cipher.DES):
    """Single DES and SHA-1 whatever is announced; an entry for each certificate of GetCACert."""
    party = signer("micromdm", serial=b"\x5c" * 16, days=1 / 24, extensions=(SIGNATURE_AND_ENCIPHERMENT,))
    request = csr("micromdm", password(), digest=digest)
    everybody = recipients or [server.ra, make.Party(server.keys.sign, server.keys.sign_der)]
    content_key = b"\x5b" * cipher.key_size
    envelopes = [
        make.open_up(encrypt(request, who.certificate_der, cipher=cipher, transport=PKCS1V15, random=_same(content_key)))
        for who in everybody
    ]
    parts = attrs.evolve(envelopes[0], entries=tuple(one.entry for one in envelopes))
    if constructed:
        pieces = make.fragments(parts.ciphertext, 700, tag=0xA0, definite=True)
        parts = attrs.evolve(parts, ciphertext_der=pieces)
    message = make.message(
        parts.der(), signer=party, transaction_id="q+Zs/3R0YyH4m1JpD7bX0aVZ2xk=", digest=digest, signing_time=None
    )
    return Sent(announced(message, party, digest), party)


def _same(content_key):
    """A random source that gives every envelope one content key and IV."""
    return lambda size: content_key[:size] if size == len(content_key) else content_key[:1] * size


def strongswan(server, *, tag=tlv.UTF8_STRING, cipher=Cipher.AES128):
    """40 upper hex of SHA-1, also the serial; challenge and extensions in no DER order; sha256WithRSA."""
    digest = hashlib.sha1(bits(make.key("strongswan")))
    party = signer("strongswan", serial=b"\0" + digest.digest(), days=365)
    attributes = sorted((password(tag), wishes(make.dns_names("strongswan"))), reverse=True)
    message = _req(server, csr("strongswan", *attributes), party, digest.hexdigest().upper(), cipher=cipher)
    return Sent(announced(message, party, Digest.SHA256), party)


def jscep(server):
    """BER of indefinite length throughout, SHA-512, CMSAlgorithmProtection among the signed attributes."""
    transaction = hashlib.sha1(bits(make.key("jscep"))).hexdigest()
    party = signer("jscep", serial=b"\x01")
    request = csr("jscep", password(), digest=Digest.SHA256)
    content = make.ber_envelope(make.envelope(request, server.ra))
    message = make.message(content, signer=party, transaction_id=transaction, digest=Digest.SHA512, signing_time=NOW)
    protection = tlv.sequence(
        write_algorithm(Digest.SHA512.oid), tlv.write(0xA1, write_algorithm(WITH_RSA[Digest.SHA512])[2:])
    )
    parts = make.take_apart(message).with_attribute(ALGORITHM_PROTECTION, protection)
    return Sent(make.ber_message(announced(parts.der(), party, Digest.SHA512)), party)


def pyscep(server, *, transaction=None):
    """SHA-512 announced as rsaEncryption, AES-256, no signingTime."""
    transaction = transaction or hashlib.sha1(bits(make.key("pyscep"))).hexdigest()
    party = signer("pyscep", serial=b"\x02")
    message = _req(server, csr("pyscep", password()), party, transaction, digest=Digest.SHA512, cipher=Cipher.AES256)
    return Sent(unsigned_time(message, party, Digest.SHA512), party)


def certmonger(server, **fields):
    """A v1 certificate of 100 years in GeneralizedTime, 77 decimal digits, friendlyName in the PKCS#10."""
    number = int.from_bytes(hashlib.sha256(bits(make.key("certmonger"))).digest(), "big") % 10**77
    party = signer(
        "certmonger", serial=b"\x7f" + bytes(range(31)), days=36_500, version=None, generalized=True
    )
    friendly = make.attribute(FRIENDLY_NAME, tlv.text(tlv.BMP_STRING, "one"))
    request = csr("certmonger", friendly, password())
    return Sent(_req(server, request, party, f"{number:077d}", cipher=Cipher.AES256, **fields), party)


def libscep(server, *, content_type=False, **fields):
    """64 upper hex of SHA-256, serial 1, 3DES; no contentType attribute unless told."""
    transaction = hashlib.sha256(bits(make.key("libscep"))).hexdigest().upper()
    party = signer("libscep", serial=b"\x01")
    message = _req(server, csr("libscep", password()), party, transaction, cipher=Cipher.DES3, **fields)
    parts = make.take_apart(message)
    if not content_type:
        parts = parts.without_attribute(names.CONTENT_TYPE)
    return Sent(parts.resign(party.key).der(), party)


def plain(server, *, who="device", attributes=None, transaction=make.TRANSACTION, **fields):
    """A PKCSReq of nobody in particular, for one thing to be bent at a time."""
    party = signer(who, serial=b"\x09")
    request = csr(who, *((password(),) if attributes is None else attributes))
    return Sent(_req(server, request, party, transaction, **fields), party)


def _req(server, request, party, transaction, *, cipher=Cipher.AES128, **fields):
    content = make.envelope(request, server.ra, cipher=cipher)
    return make.message(content, signer=party, transaction_id=transaction, **{"signing_time": NOW, **fields})


def encoded(message):
    """Its base64 as text of the standard alphabet."""
    return base64.b64encode(message).decode()
