"""EnvelopedData (RFC 5652 section 6): RSA key transport or a password, and CBC ciphers, in either direction."""

from collections.abc import Callable, Sequence

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy, KeyTransport
from scepd.message.cbc import decrypt_blocks, encrypt_blocks
from scepd.message.certificate import SignerCertificate, load_certificate
from scepd.message.errors import MessageError
from scepd.message.kinds import is_rsa
from scepd.message.names import DATA, ENVELOPED_DATA
from scepd.message.password import unwrap_password, wrap_password
from scepd.message.plain_envelope import read_plain_envelope
from scepd.message.recipients import Envelope, KeyTransRecipient, Recipient, read_recipients
from scepd.message.signature import SigningKey
from scepd.message.signed import write_content_info, write_issuer_and_serial
from scepd.message.tlv import Element
from scepd.message.transport import transport_padding, write_transport
from scepd.records import Secret
from scepd.refusal import Reason, Reject

__all__ = [
    "Envelope",
    "KeyTransRecipient",
    "Recipient",
    "can_encrypt",
    "choose_recipient",
    "decrypt",
    "decrypt_content",
    "encrypt",
    "encrypt_for_password",
    "parse_envelope",
]

_LIMITS = tlv.Limits(elements=1024)
_CIPHERS = {cipher.oid: cipher for cipher in Cipher}
# An EncryptedContentInfo up to the initialisation vector, which has a block of octets.
_BEFORE_IV = {
    cipher: (tlv.oid(DATA) + tlv.sequence(tlv.oid(cipher.oid), tlv.octet_string(bytes(cipher.block_size))))[
        : -cipher.block_size
    ]
    for cipher in Cipher
}
_VERSION_0 = tlv.integer(0)
_VERSION_3 = tlv.integer(3)  # with a password recipient (RFC 5652 section 6.1)
_TAGGED_0 = 0xA0
_TAGGED_1 = 0xA1
_ENCRYPTED_CONTENT = frozenset({0x80, 0xA0})


def parse_envelope(content: bytes | None, policy: CryptoPolicy, limits: tlv.Limits = _LIMITS) -> Envelope:
    """Return the envelope, judged by its clear data alone.

    Raises `Reject`: envelope_missing for no octets, algorithm_unsupported for a cipher that the policy does not
    list and for an envelope without any recipient of a kind that it takes (C-105), password_parameters_refused,
    envelope_invalid for anything else that is wrong.
    """
    if not content:
        raise Reject(Reason.envelope_missing)
    try:
        return read_plain_envelope(content, policy) or _read(content, policy, limits)
    except MessageError as error:
        raise Reject(Reason.envelope_invalid, error.detail) from None


def _read(content: bytes, policy: CryptoPolicy, limits: tlv.Limits = _LIMITS) -> Envelope:
    fields = _enveloped_data(tlv.read(content, limits)).fields()
    fields.take(tlv.INTEGER)
    fields.optional(_TAGGED_0)  # originatorInfo
    infos = fields.take(tlv.SET).children
    encrypted = fields.take().fields()
    fields.optional(_TAGGED_1)  # unprotectedAttrs
    fields.finish()
    if encrypted.take().oid() != DATA:
        raise MessageError("encrypted content is not id-data")
    cipher, iv = _read_cipher(encrypted.take(), policy)
    ciphertext = encrypted.take()
    encrypted.finish()
    if ciphertext.tag not in _ENCRYPTED_CONTENT:
        raise MessageError("encryptedContent of another tag")
    recipients, passwords = read_recipients(infos, policy)
    return Envelope(cipher, iv, ciphertext.joined(), recipients, passwords)


def _enveloped_data(element: Element) -> Element:
    """Return the EnvelopedData of a ContentInfo, or the bare one that goes with eContentType id-envelopedData."""
    fields = element.fields()
    first = fields.take()
    if first.tag == tlv.INTEGER:
        return element
    if first.oid() != ENVELOPED_DATA:
        raise MessageError(f"content type {first.oid()} where enveloped data is due")
    content = fields.take(_TAGGED_0).inner()
    fields.finish()
    return content


def _read_cipher(algorithm: Element, policy: CryptoPolicy) -> tuple[Cipher, bytes]:
    fields = algorithm.fields()
    oid, parameters = fields.take().oid(), fields.optional()
    fields.finish()
    cipher = _CIPHERS.get(oid)
    if cipher is None or cipher not in policy.ciphers:
        raise Reject(Reason.algorithm_unsupported, f"cipher {oid}")
    iv = b"" if parameters is None else parameters.octets()
    if len(iv) != cipher.block_size:
        raise MessageError("initialisation vector of the wrong length")
    return cipher, iv


def choose_recipient(
    envelope: Envelope, recipients: Sequence[Recipient], policy: CryptoPolicy
) -> tuple[int, KeyTransRecipient]:
    """Return which of our recipients the envelope is for, and its entry, without trying any key.

    Raises `Reject(recipient_unknown)` unless exactly one entry names one of ours (threat S-13),
    `Reject(algorithm_unsupported)` when its key transport is not in the policy.
    """
    ours = [
        (index, entry)
        for entry in envelope.recipients
        for index, recipient in enumerate(recipients)
        if entry.names(recipient)
    ]
    if len({id(entry) for _, entry in ours}) != 1:
        raise Reject(Reason.recipient_unknown, f"{len(ours)} of {len(envelope.recipients)} recipients are ours")
    index, entry = ours[0]
    if entry.transport is None or entry.transport not in policy.transports:
        raise Reject(Reason.algorithm_unsupported, f"key transport {entry.transport or 'unknown'}")
    return index, entry


def decrypt_content(envelope: Envelope, content_key: bytes) -> bytes:
    """Return the content; raises `Reject(decryption_failed)` whether key, length or padding is wrong."""
    block = envelope.cipher.block_size
    if len(content_key) != envelope.cipher.key_size or not envelope.ciphertext or len(envelope.ciphertext) % block:
        raise Reject(Reason.decryption_failed, "content key or ciphertext of the wrong length")
    padded = decrypt_blocks(envelope.cipher, content_key, envelope.iv, envelope.ciphertext)
    length, bad = _padding(padded, block)
    content = padded[: len(padded) - length]
    if bad:
        raise Reject(Reason.decryption_failed, "padding")
    return content


def _padding(padded: bytes, block: int) -> tuple[int, int]:
    """Return the length of the padding (RFC 5652 section 6.3) and non-zero when it is wrong, whatever the octets."""
    length = padded[-1]
    bad = (length - 1) >> 8 | (block - length) >> 8
    for index in range(1, block + 1):
        inside = (index - length - 1) >> 8  # all ones while the octet belongs to the padding
        bad |= inside & (padded[-index] ^ length)
    return length, bad


def can_encrypt(public_key: object) -> bool:
    """Return whether a content key can be encrypted to that public key (RFC 8894 section 3.1)."""
    return is_rsa(public_key)


def encrypt(
    plaintext: bytes,
    certificate: bytes | SignerCertificate,
    *,
    cipher: Cipher,
    transport: KeyTransport,
    random: Callable[[int], bytes],
    password: Secret | None = None,
) -> bytes:
    """Return a ContentInfo with EnvelopedData for one certificate: by its RSA key, else by the password.

    Raises `Reject`: reply_unprotectable for a key that cannot encrypt where there is no password (C-257),
    signer_key_refused for one too small; `MessageError` for an unreadable certificate.
    """
    recipient = load_certificate(certificate) if isinstance(certificate, bytes) else certificate
    key = recipient.public_key()
    if not is_rsa(key):
        if not password:
            raise Reject(Reason.reply_unprotectable, "the key cannot encrypt, and there is no password")
        return encrypt_for_password(plaintext, password, cipher=cipher, random=random)
    content_key, iv = random(cipher.key_size), random(cipher.block_size)
    try:
        encrypted_key = key.encrypt(content_key, transport_padding(transport))
    except ValueError:
        raise Reject(Reason.signer_key_refused, f"key too small for {transport}") from None
    info = tlv.sequence(
        _VERSION_0,
        write_issuer_and_serial(recipient),
        write_transport(transport),
        tlv.octet_string(encrypted_key),
    )
    return _write(info, _VERSION_0, _write_content(plaintext, cipher, content_key, iv))


def encrypt_for_password(
    plaintext: bytes, password: Secret, *, cipher: Cipher, random: Callable[[int], bytes]
) -> bytes:
    """Return a ContentInfo with EnvelopedData whose content key is under the password (RFC 8894 section 3.1)."""
    content_key, iv = random(cipher.key_size), random(cipher.block_size)
    info = wrap_password(content_key, password, cipher=cipher, random=random)
    return _write(info, _VERSION_3, _write_content(plaintext, cipher, content_key, iv))


def _write(info: bytes, version: bytes, encrypted: bytes) -> bytes:
    return write_content_info(ENVELOPED_DATA, tlv.sequence(version, tlv.write(tlv.SET, info), encrypted))


def _write_content(plaintext: bytes, cipher: Cipher, content_key: bytes, iv: bytes) -> bytes:
    """Return an EncryptedContentInfo of id-data."""
    padding = cipher.block_size - len(plaintext) % cipher.block_size
    ciphertext = encrypt_blocks(cipher, content_key, iv, plaintext + bytes((padding,)) * padding)
    return tlv.sequence(_BEFORE_IV[cipher], iv, tlv.implicit(0, ciphertext, constructed=False))


def decrypt(
    content: bytes | None,
    certificate_der: bytes,
    key: SigningKey,
    policy: CryptoPolicy,
    *,
    password: Secret | None = None,
    limits: tlv.Limits = _LIMITS,
) -> bytes:
    """Return the content of an envelope with a key in memory or a password: the client's side; raises `Reject`.

    The key comes first where the envelope names its certificate.
    """
    envelope = parse_envelope(content, attrs.evolve(policy, passwords=password is not None), limits)
    recipient = Recipient.from_certificate(certificate_der)
    if password is None or not envelope.passwords or any(entry.names(recipient) for entry in envelope.recipients):
        return decrypt_content(envelope, _decrypt_key(envelope, recipient, key, policy))
    content_key = unwrap_password(envelope.passwords[0], password, envelope.cipher.key_size)
    if content_key is None:
        raise Reject(Reason.password_unknown, "encrypted with another password")
    return decrypt_content(envelope, content_key)


def _decrypt_key(envelope: Envelope, recipient: Recipient, key: SigningKey, policy: CryptoPolicy) -> bytes:
    _, entry = choose_recipient(envelope, (recipient,), policy)
    assert entry.transport is not None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Reject(Reason.decryption_failed, "the key cannot decrypt")
    try:
        return key.decrypt(entry.encrypted_key, transport_padding(entry.transport))
    except ValueError:
        raise Reject(Reason.decryption_failed, "content key") from None
