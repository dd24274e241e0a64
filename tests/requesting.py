"""The well-behaved client: PKCS#10, envelope, PKIMessage."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime

from scepd.message import names, tlv
from scepd.message.algorithms import PKCS1V15, Cipher, Digest, KeyTransport
from scepd.message.csr import Extension, build_csr, write_name
from scepd.message.enveloped import encrypt
from scepd.message.names import MessageType
from scepd.message.signed import build_message
from scepd.records import Name
from tests.parties import NONCE, NOW, TRANSACTION, Party, PrivateKey, device, name, ra


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
