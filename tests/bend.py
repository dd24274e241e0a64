"""The hostile client: every field of SignedData and EnvelopedData taken apart, bent and put together again."""

from collections.abc import Callable, Mapping

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.message import names, tlv
from scepd.message.algorithms import Digest
from scepd.message.request import parse_message
from scepd.message.signature import sign, write_algorithm
from scepd.message.signed import digest_content
from tests.parties import Party, PrivateKey, device
from tests.requesting import csr, envelope, message, pkcs_req

# SignedData -----------------------------------------------------------------------------------------------------


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


# EnvelopedData --------------------------------------------------------------------------------------------------


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
