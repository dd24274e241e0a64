"""Builders for tests: a well-behaved client, and a hostile one that can bend every field of a message.

`pkcs_req(challenge="x")` is the whole message. `take_apart(message)` gives its parts, `attrs.evolve` bends one,
`.der()` puts them together again, `resign` makes the signature fit. Keys are generated once per run.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.message import names, tlv
from scepd.message.algorithms import PKCS1V15, Cipher, Digest, KeyTransport
from scepd.message.csr import Extension, build_csr, write_name
from scepd.message.enveloped import encrypt
from scepd.message.names import MessageType
from scepd.message.request import parse_message
from scepd.message.signature import sign, write_algorithm
from scepd.message.signed import build_message, digest_content
from scepd.records import Attribute, Name

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NONCE = bytes(range(16))
TRANSACTION = "F4A5C0FFEE0123456789ABCDEF012345"
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k256": ec.SECP256K1}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


# Keys and certificates ------------------------------------------------------------------------------------------


@attrs.frozen
class Party:
    """A key and the certificate that goes with it."""

    key: PrivateKey
    certificate_der: bytes

    @property
    def signer(self) -> tuple[bytes, PrivateKey]:
        """As `build_message` wants it."""
        return self.certificate_der, self.key


def key(name: str, kind: str = "rsa2048") -> PrivateKey:
    """Return the key of that name and kind: rsa<bits>, p256, p384, p521, k256."""
    return _key(name, kind)


@cache
def _key(_name: str, kind: str) -> PrivateKey:
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def spki(private_key: PrivateKey) -> bytes:
    """Return the SubjectPublicKeyInfo."""
    return private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name(**parts: str) -> Name:
    """Return a Name of UTF8Strings: name(CN="r1", O="Example")."""
    return tuple((Attribute(_NAME_OIDS[kind], value),) for kind, value in parts.items())


_NAME_OIDS = {"C": "2.5.4.6", "O": "2.5.4.10", "OU": "2.5.4.11", "CN": "2.5.4.3", "serialNumber": "2.5.4.5"}


def certificate(
    subject_key: PrivateKey,
    *,
    subject: Name | None = None,
    issuer: Party | None = None,
    issuer_name: Name | None = None,
    serial_der: bytes = tlv.integer(0x1001),
    version: int | None = 2,
    validity_der: bytes = tlv.sequence(
        tlv.time(datetime(2026, 1, 1, tzinfo=UTC)), tlv.time(datetime(2036, 1, 1, tzinfo=UTC))
    ),
    extensions: Sequence[Extension] = (),
    spki_der: bytes | None = None,
) -> bytes:
    """Return a certificate with every odd thing a device may put in it; self-signed unless there is an issuer."""
    subject = name(CN="device") if subject is None else subject
    signing_key = subject_key if issuer is None else issuer.key
    issuer_der = write_name(subject) if issuer is None else _subject_der(issuer.certificate_der)
    algorithm = (
        tlv.sequence(tlv.oid("1.2.840.10045.4.3.2"))
        if isinstance(signing_key, ec.EllipticCurvePrivateKey)
        else write_algorithm("1.2.840.113549.1.1.11")
    )
    tbs = tlv.sequence(
        *(() if version is None else (tlv.explicit(0, tlv.integer(version)),)),
        serial_der,
        algorithm,
        issuer_der if issuer_name is None else write_name(issuer_name),
        validity_der,
        write_name(subject),
        spki(subject_key) if spki_der is None else spki_der,
        *((tlv.explicit(3, tlv.sequence(*(e.encode() for e in extensions))),) if extensions else ()),
    )
    return tlv.sequence(tbs, algorithm, tlv.bit_string(sign(signing_key, tbs, Digest.SHA256, pss=False)[1]))


def _subject_der(certificate_der: bytes) -> bytes:
    fields = tlv.read(certificate_der).children[0].children
    return fields[5 if fields[0].tag == 0xA0 else 4].der


def party(who: str, kind: str = "rsa2048", serial: int = 0x1001) -> Party:
    """Return a self-signed party of that name."""
    return _party(who, kind, serial)


@cache
def _party(who: str, kind: str, serial: int) -> Party:
    private_key = key(who, kind)
    return Party(private_key, certificate(private_key, subject=name(CN=who), serial_der=tlv.integer(serial)))


def device() -> Party:
    """Return the usual device."""
    return party("device")


def ra() -> Party:
    """Return the usual RA, for both roles."""
    return party("ra")


# The well-behaved client ----------------------------------------------------------------------------------------


def csr(
    *,
    challenge: str | None = "secret",
    subject: Name | None = None,
    private_key: PrivateKey | None = None,
    extensions: Sequence[Extension] = (),
    digest: Digest = Digest.SHA256,
    challenge_tag: int = tlv.PRINTABLE_STRING,
) -> bytes:
    """Return a PKCS#10 of the usual device."""
    return build_csr(
        subject=name(CN="device") if subject is None else subject,
        private_key=device().key if private_key is None else private_key,
        challenge=challenge,
        extensions=extensions,
        digest=digest,
        challenge_tag=challenge_tag,
    )


def dns_names(*hosts: str) -> Extension:
    """Return a subjectAltName wish."""
    return Extension(
        names.SUBJECT_ALT_NAME, False, tlv.sequence(*(tlv.implicit(2, h.encode(), constructed=False) for h in hosts))
    )


def envelope(
    plaintext: bytes,
    recipient: Party | None = None,
    *,
    cipher: Cipher = Cipher.AES128,
    transport: KeyTransport = PKCS1V15,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return an EnvelopedData for the usual RA."""
    certificate_der = (recipient or ra()).certificate_der
    return encrypt(plaintext, certificate_der, cipher=cipher, transport=transport, random=random)


def message(
    content: bytes | None,
    *,
    message_type: int = MessageType.PKCSReq,
    transaction_id: str = TRANSACTION,
    sender_nonce: bytes = NONCE,
    signer: Party | None = None,
    digest: Digest = Digest.SHA256,
    signing_time: datetime | None = NOW,
    certificates: Sequence[bytes] | None = None,
    pss: bool = False,
) -> bytes:
    """Return a signed PKIMessage of the usual device around an eContent."""
    return build_message(
        message_type=message_type,
        transaction_id=transaction_id,
        sender_nonce=sender_nonce,
        content=content,
        signer=(signer or device()).signer,
        digest=digest,
        signing_time=signing_time,
        certificates=certificates,
        pss=pss,
    )


def pkcs_req(
    *,
    challenge: str | None = "secret",
    subject: Name | None = None,
    private_key: PrivateKey | None = None,
    extensions: Sequence[Extension] = (),
    csr_der: bytes | None = None,
    recipient: Party | None = None,
    cipher: Cipher = Cipher.AES128,
    transport: KeyTransport = PKCS1V15,
    random: Callable[[int], bytes] = os.urandom,
    signer: Party | None = None,
    **fields: object,
) -> bytes:
    """Return a whole PKCSReq; `fields` are those of `message`.

    The PKCS#10's key is the signer's unless another is given.
    """
    who = signer or device()
    if csr_der is None:
        csr_der = csr(challenge=challenge, subject=subject, private_key=private_key or who.key, extensions=extensions)
    content = envelope(csr_der, recipient, cipher=cipher, transport=transport, random=random)
    return message(content, signer=who, **fields)


def issuer_and_subject(issuer: Name, subject: Name) -> bytes:
    """Return the messageData of a CertPoll (RFC 8894 section 3.3.3)."""
    return tlv.sequence(write_name(issuer), write_name(subject))


def issuer_and_serial(issuer: Name, serial: int) -> bytes:
    """Return the messageData of GetCert and GetCRL (RFC 8894 sections 3.3.4, 3.3.5)."""
    return tlv.sequence(write_name(issuer), tlv.integer(serial))


# The hostile client: SignedData ---------------------------------------------------------------------------------


def attribute(oid: str, *values: bytes) -> bytes:
    """Return an Attribute with any number of values, in the given order."""
    return tlv.sequence(tlv.oid(oid), tlv.set_of(values, sort=False))


@attrs.frozen
class Signer:
    """The parts of a SignerInfo as DER; `attributes` are the Attributes in their order, None leaves them out."""

    version: int
    sid: bytes
    digest_algorithm: bytes
    attributes: tuple[bytes, ...] | None
    signature_algorithm: bytes
    signature: bytes
    unsigned: tuple[bytes, ...] = ()

    def der(self) -> bytes:
        """Return the SignerInfo."""
        return tlv.sequence(
            tlv.integer(self.version),
            self.sid,
            self.digest_algorithm,
            b"" if self.attributes is None else tlv.implicit(0, b"".join(self.attributes), constructed=True),
            self.signature_algorithm,
            tlv.octet_string(self.signature),
            tlv.implicit(1, b"".join(self.unsigned), constructed=True) if self.unsigned else b"",
        )


@attrs.frozen
class Message:
    """The parts of a SignedData; `content` is eContent's octets, `content_der` anything else in its place."""

    digest_algorithms: tuple[bytes, ...]
    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    signers: tuple[Signer, ...]
    content_der: bytes | None = None
    crls: tuple[bytes, ...] = ()
    outer_type: str = names.SIGNED_DATA

    def der(self) -> bytes:
        """Return the ContentInfo."""
        content = self.content_der
        if content is None and self.content is not None:
            content = tlv.octet_string(self.content)
        signed_data = tlv.sequence(
            tlv.integer(1),
            tlv.set_of(self.digest_algorithms),
            tlv.sequence(tlv.oid(self.content_type), b"" if content is None else tlv.explicit(0, content)),
            tlv.implicit(0, b"".join(self.certificates), constructed=True) if self.certificates else b"",
            tlv.implicit(1, b"".join(self.crls), constructed=True) if self.crls else b"",
            tlv.set_of((signer.der() for signer in self.signers), sort=False),
        )
        return tlv.sequence(tlv.oid(self.outer_type), tlv.explicit(0, signed_data))

    @property
    def signer(self) -> Signer:
        """The first SignerInfo."""
        return self.signers[0]

    def bend(self, **fields: object) -> "Message":
        """Return a copy with fields of the first SignerInfo replaced."""
        return attrs.evolve(self, signers=(attrs.evolve(self.signer, **fields), *self.signers[1:]))

    def with_attribute(self, oid: str, *values: bytes) -> "Message":
        """Return a copy, not signed anew, with all attributes of that OID replaced by one."""
        return self.bend(attributes=(*self._without(oid), attribute(oid, *values)))

    def without_attribute(self, oid: str) -> "Message":
        """Return a copy, not signed anew, without the attributes of that OID."""
        return self.bend(attributes=self._without(oid))

    def _without(self, oid: str) -> tuple[bytes, ...]:
        assert self.signer.attributes is not None
        return tuple(a for a in self.signer.attributes if tlv.read(a).children[0].oid() != oid)

    def resign(
        self,
        private_key: PrivateKey | None = None,
        *,
        digest: Digest = Digest.SHA256,
        order: bool = True,
        octets: Callable[[tuple[bytes, ...]], bytes] | None = None,
        pss: bool = False,
    ) -> "Message":
        """Return a copy whose signature fits the attributes: in DER order, or as they stand when `order` is false.

        `octets` may choose other octets to sign.
        """
        attributes = self.signer.attributes or ()
        attributes = tuple(sorted(attributes)) if order else attributes
        signed = tlv.write(tlv.SET, *attributes) if octets is None else octets(attributes)
        algorithm, signature = sign(private_key or device().key, signed, digest, pss=pss)
        return self.bend(attributes=attributes, signature=signature, signature_algorithm=algorithm)

    def redigest(self, digest: Digest = Digest.SHA256) -> "Message":
        """Return a copy whose digest algorithms and messageDigest fit, not signed anew."""
        algorithm = write_algorithm(digest.oid)
        bent = attrs.evolve(self, digest_algorithms=(algorithm,)).bend(digest_algorithm=algorithm)
        return bent.with_attribute(names.MESSAGE_DIGEST, tlv.octet_string(digest_content(digest, self.content)))


def take_apart(der: bytes) -> Message:
    """Return the parts of a message that `message` or `pkcs_req` built."""
    fields = tlv.read(der).children[1].children[0].children
    encapsulated = fields[2].children
    return Message(
        digest_algorithms=tuple(e.der for e in fields[1].children),
        content_type=encapsulated[0].oid(),
        content=encapsulated[1].inner().octets() if len(encapsulated) > 1 else None,
        certificates=tuple(e.der for f in fields[3:-1] if f.tag == 0xA0 for e in f.children),
        signers=tuple(_take_apart_signer(e) for e in fields[-1].children),
    )


def _take_apart_signer(info: tlv.Element) -> Signer:
    version, sid, digest_algorithm, *rest = info.children
    attributes = tuple(e.der for e in rest.pop(0).children) if rest[0].tag == 0xA0 else None
    unsigned = tuple(e.der for e in rest.pop().children) if rest[-1].tag == 0xA1 else ()
    return Signer(version.integer(), sid.der, digest_algorithm.der, attributes, rest[0].der, rest[1].octets(), unsigned)


def bent_req(**fields: object) -> Message:
    """Return the parts of a fresh PKCSReq."""
    return take_apart(pkcs_req(**fields))


def splice(attributes_from: bytes, content_from: bytes) -> bytes:
    """Return a message with the SignerInfo and certificates of one and the eContent of another (threat S-07)."""
    return attrs.evolve(take_apart(attributes_from), content=take_apart(content_from).content).der()


def rewrap(victim: bytes, attacker: Party, **fields: object) -> bytes:
    """Return the victim's envelope in a message that the attacker signed (threat S-06)."""
    return message(parse_message(victim).content, signer=attacker, **fields)


def key_identifier_sid(identifier: bytes) -> bytes:
    """Return a SignerIdentifier or RecipientIdentifier by subjectKeyIdentifier."""
    return tlv.implicit(0, identifier, constructed=False)


# The hostile client: EnvelopedData ------------------------------------------------------------------------------


def encrypt_raw(public_key: rsa.RSAPublicKey, block: bytes | int) -> bytes:
    """Return the textbook RSA encryption of a block: the way to any padding one likes."""
    numbers = public_key.public_numbers()
    value = block if isinstance(block, int) else int.from_bytes(block, "big")
    return pow(value, numbers.e, numbers.n).to_bytes((public_key.key_size + 7) // 8, "big")


def bad_paddings(public_key: rsa.RSAPublicKey, content_key: bytes) -> Mapping[str, bytes]:
    """Return encrypted keys of every class of bad PKCS#1 v1.5 padding and content key length (threat S-10)."""
    size = (public_key.key_size + 7) // 8
    modulus = public_key.public_numbers().n

    def block(first: bytes, content: bytes, filler: bytes = b"\xa7") -> bytes:
        return first + filler * (size - len(first) - 1 - len(content)) + b"\0" + content

    blocks = {
        "first octet": block(b"\x01\x02", content_key),
        "second octet": block(b"\0\x01", content_key),
        "no zero": b"\0\x02" + b"\xa7" * (size - 2),
        "zero too early": b"\0\x02" + b"\xa7" * 3 + b"\0" + b"\xa7" * (size - 6),
        "nothing": block(b"\0\x02", b""),
        **{f"key of {n}": block(b"\0\x02", b"\x5a" * n) for n in (1, 8, 15, 17, 24, 32) if n != len(content_key)},
    }
    return {
        **{label: encrypt_raw(public_key, value) for label, value in blocks.items()},
        "c = 0": bytes(size),
        "c = 1": bytes(size - 1) + b"\x01",
        "c = n - 1": (modulus - 1).to_bytes(size, "big"),
        "c = n": modulus.to_bytes(size, "big"),
        "short": b"\x17" * (size - 1),
        "long": b"\x17" * (size + 1),
        "empty": b"",
    }


@attrs.frozen
class Entry:
    """The parts of a KeyTransRecipientInfo as DER."""

    rid: bytes
    algorithm: bytes
    encrypted_key: bytes
    version: int = 0

    def der(self) -> bytes:
        """Return the RecipientInfo."""
        return tlv.sequence(tlv.integer(self.version), self.rid, self.algorithm, tlv.octet_string(self.encrypted_key))


@attrs.frozen
class Enveloped:
    """The parts of an EnvelopedData; `others` are RecipientInfos of other kinds as DER."""

    entries: tuple[Entry, ...]
    cipher_algorithm: bytes
    ciphertext: bytes | None
    content_type: str = names.DATA
    outer_type: str = names.ENVELOPED_DATA
    version: int = 0
    others: tuple[bytes, ...] = ()
    originator: bytes = b""
    unprotected: bytes = b""
    trailing: bytes = b""
    bare: bool = False
    ciphertext_der: bytes | None = None

    def der(self) -> bytes:
        """Return the ContentInfo, or the bare EnvelopedData."""
        ciphertext = self.ciphertext_der
        if ciphertext is None:
            ciphertext = b"" if self.ciphertext is None else tlv.implicit(0, self.ciphertext, constructed=False)
        data = tlv.sequence(
            tlv.integer(self.version),
            self.originator,
            tlv.set_of((*(e.der() for e in self.entries), *self.others), sort=False),
            tlv.sequence(tlv.oid(self.content_type), self.cipher_algorithm, ciphertext),
            self.unprotected,
        )
        if self.bare:
            return data
        return tlv.sequence(tlv.oid(self.outer_type), tlv.explicit(0, data), self.trailing)

    @property
    def entry(self) -> Entry:
        """The first entry."""
        return self.entries[0]

    def bend(self, **fields: object) -> "Enveloped":
        """Return a copy with fields of the first entry replaced."""
        return attrs.evolve(self, entries=(attrs.evolve(self.entry, **fields), *self.entries[1:]))


def open_up(der: bytes) -> Enveloped:
    """Return the parts of an envelope that `envelope` built."""
    _, infos, encrypted = tlv.read(der).children[1].children[0].children
    content_type, algorithm, ciphertext = encrypted.children
    entries = []
    for info in infos.children:
        version, rid, transport, encrypted_key = info.children
        entries.append(Entry(rid.der, transport.der, encrypted_key.octets(), version.integer()))
    return Enveloped(tuple(entries), algorithm.der, ciphertext.content, content_type.oid())


def bent_envelope(plaintext: bytes | None = None, **fields: object) -> Enveloped:
    """Return the parts of a fresh envelope around a PKCS#10."""
    return open_up(envelope(csr() if plaintext is None else plaintext, **fields))


# BER and bombs --------------------------------------------------------------------------------------------------


def indefinite(tag: int, *parts: bytes) -> bytes:
    """Return an element of indefinite length."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def fragments(octets: bytes, size: int, *, tag: int = 0x24, definite: bool = False) -> bytes:
    """Return a constructed OCTET STRING (or [0]) of fragments."""
    pieces = [tlv.octet_string(octets[i : i + size]) for i in range(0, len(octets), size)]
    return tlv.write(tag, *pieces) if definite else indefinite(tag, *pieces)


def ber_message(der: bytes, *, fragment: int = 1000) -> bytes:
    """Return a message in the form of BouncyCastle's streams: skeleton of indefinite length, eContent in fragments."""
    parts = take_apart(der)
    content = b"" if parts.content is None else indefinite(0xA0, fragments(parts.content, fragment))
    signed_data = indefinite(
        tlv.SEQUENCE,
        tlv.integer(1),
        tlv.set_of(parts.digest_algorithms),
        indefinite(tlv.SEQUENCE, tlv.oid(parts.content_type), content),
        indefinite(0xA0, *parts.certificates),
        indefinite(tlv.SET, *(signer.der() for signer in parts.signers)),
    )
    return indefinite(tlv.SEQUENCE, tlv.oid(parts.outer_type), indefinite(0xA0, signed_data))


def ber_envelope(der: bytes, *, fragment: int = 1000) -> bytes:
    """Return an envelope in the same form."""
    parts = open_up(der)
    assert parts.ciphertext is not None
    data = indefinite(
        tlv.SEQUENCE,
        tlv.integer(parts.version),
        indefinite(tlv.SET, *(entry.der() for entry in parts.entries)),
        indefinite(
            tlv.SEQUENCE,
            tlv.oid(parts.content_type),
            parts.cipher_algorithm,
            fragments(parts.ciphertext, fragment, tag=0xA0),
        ),
    )
    return indefinite(tlv.SEQUENCE, tlv.oid(parts.outer_type), indefinite(0xA0, data))


def ber_req(*, fragment: int = 1000, **fields: object) -> bytes:
    """Return a PKCSReq that is BER inside and outside."""
    inner = parse_message(pkcs_req(**fields)).content
    assert inner is not None
    return ber_message(message(ber_envelope(inner, fragment=fragment)), fragment=fragment)


def nested(levels: int, tag: int = tlv.SEQUENCE, core: bytes = b"\x05\0") -> bytes:
    """Return definite-length elements inside each other, `levels` of them around the core."""
    der = core
    for _ in range(levels):
        der = tlv.write(tag, der)
    return der


def bombs(size: int = 262_144) -> Mapping[str, bytes]:
    """Return inputs of about that size that cost a naive parser far more than their length (threats D)."""
    body = size - 16
    return {
        "tag number": tlv.sequence(b"\x3f" + b"\xff" * (body - 8) + b"\x01\0"),
        "tag zeros": tlv.sequence(b"\x3f" + b"\x80" * (body - 8) + b"\x01\0"),
        "object identifier": tlv.sequence(tlv.write(tlv.OID, b"\xff" * (body - 8) + b"\x01")),
        "integer": tlv.sequence(tlv.write(tlv.INTEGER, b"\x7f" * (body - 8))),
        "sequences": _deep(tlv.SEQUENCE, body),
        "sets": _deep(tlv.SET, body),
        "tagged": _deep(0xA0, body),
        "indefinite": b"\x30\x80" * (size // 2),
        "indefinite closed": b"\x30\x80" * (size // 4) + b"\0\0" * (size // 4),
        "indefinite strings": b"\x24\x80" * (size // 2),
        "nulls": tlv.sequence(b"\x05\0" * (body // 2)),
        "empty sequences": tlv.sequence(b"\x30\0" * (body // 2)),
        "fragments": indefinite(0x24, b"\x04\x01a" * (body // 3)),
        "fragments definite": tlv.write(0x24, b"\x04\x01a" * (body // 3)),
        "lengths": b"\x30\x84\xff\xff\xff\xff" + bytes(body),
        "length of 126": b"\x30\xfe" + b"\x01" * 126 + bytes(body - 126),
    }


def _deep(tag: int, size: int) -> bytes:
    """Return elements nested as deeply as the size allows, in linear time."""
    headers: list[bytes] = []
    length = 0
    while length < size - 6:
        octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
        head = bytes((tag, length)) if length < 0x80 else bytes((tag, 0x80 | len(octets))) + octets
        headers.append(head)
        length += len(head)
    return b"".join(reversed(headers))
