"""Who takes part in a test: keys, made once a run, and certificates with every odd thing a device may put in them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.message import tlv
from scepd.message.algorithms import ED25519, Digest
from scepd.message.csr import Extension, write_name
from scepd.message.signature import sign, write_algorithm
from scepd.records import Attribute, Name

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NONCE = bytes(range(16))
TRANSACTION = "F4A5C0FFEE0123456789ABCDEF012345"
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k256": ec.SECP256K1}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


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
    """Return the key of that name and kind: rsa<bits>, p256, p384, p521, k256, ed25519."""
    return _key(name, kind)


@cache
def _key(_name: str, kind: str) -> PrivateKey:
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
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
    digest, algorithm = _signing(signing_key)
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
    return tlv.sequence(tbs, algorithm, tlv.bit_string(sign(signing_key, tbs, digest, pss=False)[1]))


def _signing(signing_key: PrivateKey) -> tuple[Digest, bytes]:
    if isinstance(signing_key, ed25519.Ed25519PrivateKey):
        return Digest.SHA512, tlv.sequence(tlv.oid(ED25519))
    if isinstance(signing_key, ec.EllipticCurvePrivateKey):
        return Digest.SHA256, tlv.sequence(tlv.oid("1.2.840.10045.4.3.2"))
    return Digest.SHA256, write_algorithm("1.2.840.113549.1.1.11")


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
