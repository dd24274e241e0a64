"""The requests of the load generator, and the check of what comes back."""

import secrets
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from scepd.message.algorithms import PKCS1V15, Cipher, Digest
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.csr import build_csr
from scepd.message.enveloped import decrypt_content, encrypt, parse_envelope
from scepd.message.algorithms import CryptoPolicy
from scepd.message.names import MessageType, PkiStatus
from scepd.message.signed import build_message
from scepd.records import Attribute

COMMON_NAME = "2.5.4.3"


@attrs.frozen
class Prepared:
    """A finished PKCSReq with what is needed to judge its reply."""

    body: bytes
    key: rsa.RSAPrivateKey
    name: str
    nonce: bytes


def recipient(certificates: list[bytes]) -> bytes:
    """Return the certificate to encrypt for: the one whose key usage is keyEncipherment, else the first."""
    for der in certificates:
        try:
            usage = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if usage.key_encipherment:
            return der
    return certificates[0]


def self_signed(key: rsa.RSAPrivateKey, name: str, now: datetime) -> bytes:
    """Return the certificate that a client signs its request with (RFC 8894 section 2.3)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(secrets.randbits(64) | 1).not_valid_before(now).not_valid_after(now + timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def prepare(*, key: rsa.RSAPrivateKey, name: str, challenge: str, ca: list[bytes], now: datetime) -> Prepared:
    """Return a PKCSReq with SHA-256 and AES-128-CBC, its own transactionID and its own name."""
    csr = build_csr(subject=((Attribute(COMMON_NAME, name),),), private_key=key, challenge=challenge)
    envelope = encrypt(csr, recipient(ca), cipher=Cipher.AES128, transport=PKCS1V15, random=secrets.token_bytes)
    nonce = secrets.token_bytes(16)
    body = build_message(
        message_type=MessageType.PKCSReq,
        transaction_id=secrets.token_hex(16),
        sender_nonce=nonce,
        content=envelope,
        signer=(self_signed(key, name, now), key),
        digest=Digest.SHA256,
        signing_time=datetime.now(UTC),
    )
    return Prepared(body, key, name, nonce)


def verify(request: Prepared, status: int, body: bytes, ca: list[bytes]) -> str | None:
    """Return what is wrong with a reply: it must be a SUCCESS that holds a certificate for the request's key."""
    if status != 200:
        return f"HTTP {status}"
    reply = read_certrep(body, trusted=ca)
    if reply.status != PkiStatus.SUCCESS or reply.content is None:
        return f"pkiStatus {reply.status} {reply.fail_info_text}"
    if reply.recipient_nonce != request.nonce:
        return "the nonce is not ours"
    envelope = parse_envelope(reply.content, CryptoPolicy())
    content_key = request.key.decrypt(envelope.recipients[0].encrypted_key, padding.PKCS1v15())
    certificate = x509.load_der_x509_certificate(read_certs_only(decrypt_content(envelope, content_key))[0])
    if certificate.public_key() != request.key.public_key():
        return "the certificate is for another key"
    return None
