"""The requests of the load generator, DER and BER, and the check of what comes back."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from scepd.message import tlv
from scepd.message.algorithms import PKCS1V15, Cipher, CryptoPolicy, Digest
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.csr import build_csr
from scepd.message.enveloped import decrypt, encrypt
from scepd.message.errors import MessageError
from scepd.message.names import MessageType, PkiStatus
from scepd.message.signed import build_message
from scepd.records import Attribute
from scepd.refusal import Reject

COMMON_NAME = "2.5.4.3"

# Whatever a server under test answers with is read: this program judges speed and sense, not taste.
ANYTHING = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher))
OK = 200
_FRAGMENT = 1000  # octets of an OCTET STRING's pieces, as Bouncy Castle (jscep) makes them
_INDEFINITE = 0x80
_CONSTRUCTED_OCTETS = 0x24
_TAGGED_0 = 0xA0


@attrs.frozen
class Prepared:
    """A finished PKCSReq with what is needed to judge its reply."""

    body: bytes
    key: rsa.RSAPrivateKey
    certificate_der: bytes  # the signer's, to which the reply is encrypted
    name: str
    transaction_id: str
    nonce: bytes


def recipient(certificates: Sequence[bytes]) -> bytes:
    """Return the certificate to encrypt for: an RA's for keyEncipherment before a CA's, else the first."""
    found = []
    for der in certificates:
        certificate = x509.load_der_x509_certificate(der)
        values = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
        usage, constraints = values.get("2.5.29.15"), values.get("2.5.29.19")
        if isinstance(usage, x509.KeyUsage) and usage.key_encipherment:
            found.append((isinstance(constraints, x509.BasicConstraints) and constraints.ca, der))
    return min(found, default=(False, certificates[0]))[1]


def self_signed(key: rsa.RSAPrivateKey, name: str, now: datetime) -> bytes:
    """Return the certificate that a client signs its request with (RFC 8894 section 2.3)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(secrets.randbits(64) | 1).not_valid_before(now).not_valid_after(now + timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def prepare(
    *, key: rsa.RSAPrivateKey, name: str, challenge: str | None, recipient_der: bytes, now: datetime, ber: bool = False
) -> Prepared:
    """Return a PKCSReq with SHA-256 and AES-128-CBC, its own transactionID and its own name.

    `ber`: with indefinite lengths and OCTET STRINGs in pieces, inside the envelope and outside.
    """
    csr = build_csr(subject=((Attribute(COMMON_NAME, name),),), private_key=key, challenge=challenge)
    envelope = encrypt(csr, recipient_der, cipher=Cipher.AES128, transport=PKCS1V15, random=secrets.token_bytes)
    certificate_der = self_signed(key, name, now)
    nonce, transaction_id = secrets.token_bytes(16), secrets.token_hex(16)
    body = build_message(
        message_type=MessageType.PKCSReq,
        transaction_id=transaction_id,
        sender_nonce=nonce,
        content=envelope_as_ber(envelope) if ber else envelope,
        signer=(certificate_der, key),
        digest=Digest.SHA256,
        signing_time=datetime.now(UTC),
    )
    return Prepared(message_as_ber(body) if ber else body, key, certificate_der, name, transaction_id, nonce)


def message_as_ber(message_der: bytes) -> bytes:
    """Return a PKIMessage with everything around the signed attributes and the certificate in indefinite lengths."""
    content_type, explicit = tlv.read(message_der).children
    version, digests, encapsulated, certificates, signer_infos = explicit.inner().children
    kind, content = encapsulated.children
    return _content_info(
        content_type.der,
        version.der,
        digests.der,
        _indefinite(tlv.SEQUENCE, kind.der, _indefinite(_TAGGED_0, _pieces(_CONSTRUCTED_OCTETS, content.inner()))),
        _indefinite(_TAGGED_0, certificates.content),
        signer_infos.der,
    )


def envelope_as_ber(envelope_der: bytes) -> bytes:
    """Return an EnvelopedData with indefinite lengths and its encrypted content in pieces."""
    content_type, explicit = tlv.read(envelope_der).children
    version, recipients, encrypted = explicit.inner().children
    kind, algorithm, content = encrypted.children
    return _content_info(
        content_type.der,
        version.der,
        recipients.der,
        _indefinite(tlv.SEQUENCE, kind.der, algorithm.der, _pieces(_TAGGED_0, content)),
    )


def _content_info(content_type_der: bytes, *parts: bytes) -> bytes:
    content = _indefinite(_TAGGED_0, _indefinite(tlv.SEQUENCE, *parts))
    return _indefinite(tlv.SEQUENCE, content_type_der, content)


def _indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes((tag, _INDEFINITE)) + b"".join(parts) + bytes(2)


def _pieces(tag: int, octets: tlv.Element) -> bytes:
    whole = octets.content
    return _indefinite(tag, *(tlv.octet_string(whole[at : at + _FRAGMENT]) for at in range(0, len(whole), _FRAGMENT)))


def verify(request: Prepared, status: int, body: bytes, ca: Sequence[bytes]) -> str | None:
    """Return what is wrong with a reply: it must be a SUCCESS that holds a certificate for the request's key."""
    if status != OK:
        return f"HTTP {status}: {body[:80]!r}"
    try:
        return _verify(request, body, ca)
    except (MessageError, Reject, ValueError) as error:
        return f"unreadable: {error!r}"


def _verify(request: Prepared, body: bytes, ca: Sequence[bytes]) -> str | None:
    reply = read_certrep(body, trusted=ca, policy=ANYTHING)
    if reply.status != PkiStatus.SUCCESS:
        reason = "" if reply.fail_info is None else f", {reply.fail_info.name}"
        return f"{reply.status.name}{reason}, {reply.fail_info_text or 'no words'}"
    if reply.recipient_nonce != request.nonce or reply.transaction_id != request.transaction_id:
        return "the answer to another request"
    certificates = read_certs_only(decrypt(reply.content, request.certificate_der, request.key, ANYTHING))
    for der in certificates:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.public_key() == request.key.public_key():
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return None if [name.value for name in names] == [request.name] else "a certificate for another name"
    return "no certificate for the key"
