"""EnvelopedData (RFC 5652 section 6) with RSA key transport and CBC ciphers, in either direction."""

from collections.abc import Callable, Sequence

import attrs
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from scepd.message import tlv
from scepd.message.algorithms import MODERN_CIPHERS, Cipher, CryptoPolicy, KeyTransport
from scepd.message.certificate import SignerCertificate, load_certificate
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.names import DATA, ENVELOPED_DATA
from scepd.message.signature import read_algorithm
from scepd.message.signed import read_issuer_and_serial, write_content_info, write_issuer_and_serial
from scepd.message.tlv import Element
from scepd.message.transport import read_transport, transport_padding, write_transport
from scepd.refusal import Reason, Reject

MAXIMUM_RECIPIENTS = 16

_LIMITS = tlv.Limits(elements=1024)
_CIPHERS = {cipher.oid: cipher for cipher in Cipher}
_VERSION_0 = tlv.integer(0)
_TAGGED_0 = 0xA0
_TAGGED_1 = 0xA1
_KEY_IDENTIFIER = 0x80
_ENCRYPTED_CONTENT = frozenset({0x80, 0xA0})


@attrs.frozen
class Recipient:
    """One of our certificates, as a RecipientInfo names it."""

    issuer_der: bytes
    serial: int
    key_identifier: bytes | None

    @classmethod
    def from_certificate(cls, der: bytes) -> "Recipient":
        """Return the names of a DER certificate; raises `MessageError`."""
        certificate = load_certificate(der)
        return cls(certificate.issuer_der, certificate.serial, certificate.key_identifier)


@attrs.frozen
class KeyTransRecipient:
    """A KeyTransRecipientInfo: whom it names, how (`transport` None = unknown to us) and the encrypted content key."""

    issuer_der: bytes | None
    serial: int | None
    key_identifier: bytes | None
    transport: KeyTransport | None
    encrypted_key: bytes

    def names(self, recipient: Recipient) -> bool:
        """Return whether this entry is for that recipient."""
        if self.key_identifier is not None:
            return self.key_identifier == recipient.key_identifier
        return (self.issuer_der, self.serial) == (recipient.issuer_der, recipient.serial)


@attrs.frozen
class Envelope:
    """An EnvelopedData whose clear parts have passed the policy; nothing is decrypted."""

    cipher: Cipher
    iv: bytes
    ciphertext: bytes
    recipients: tuple[KeyTransRecipient, ...]


def parse_envelope(content: bytes | None, policy: CryptoPolicy) -> Envelope:
    """Return the envelope, judged by its clear data alone.

    Raises `Reject`: envelope_missing for no octets, algorithm_unsupported for a cipher that the policy does not
    list and for an envelope without any key transport (C-105), envelope_invalid for anything else that is wrong.
    """
    if not content:
        raise Reject(Reason.envelope_missing)
    try:
        return _read(content, policy)
    except MessageError as error:
        raise Reject(Reason.envelope_invalid, error.detail) from None


def _read(content: bytes, policy: CryptoPolicy) -> Envelope:
    fields = _enveloped_data(tlv.read(content, _LIMITS)).fields()
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
    return Envelope(cipher, iv, ciphertext.joined(), _read_recipients(infos))


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


def _read_recipients(infos: Sequence[Element]) -> tuple[KeyTransRecipient, ...]:
    """Return the key transport entries; other kinds are never looked into (threat S-15)."""
    if len(infos) > MAXIMUM_RECIPIENTS:
        raise LimitExceeded("too many recipients")
    recipients = tuple(_read_recipient(info) for info in infos if info.tag == tlv.SEQUENCE)
    if infos and not recipients:
        raise Reject(Reason.algorithm_unsupported, "no recipient by key transport")
    return recipients


def _read_recipient(info: Element) -> KeyTransRecipient:
    fields = info.fields()
    fields.take(tlv.INTEGER)
    rid = fields.take()
    issuer, serial = (None, None) if rid.tag == _KEY_IDENTIFIER else read_issuer_and_serial(rid)
    transport = read_transport(read_algorithm(fields.take()))
    encrypted_key = fields.take().octets()
    fields.finish()
    return KeyTransRecipient(issuer, serial, rid.content if issuer is None else None, transport, encrypted_key)


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
    decryptor = _cipher(envelope.cipher, content_key, envelope.iv).decryptor()
    padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
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


def encrypt(
    plaintext: bytes,
    certificate: bytes | SignerCertificate,
    *,
    cipher: Cipher,
    transport: KeyTransport,
    random: Callable[[int], bytes],
) -> bytes:
    """Return a ContentInfo with EnvelopedData for one RSA certificate, named by issuer and serial (version 0).

    Raises `Reject(signer_key_refused)` for a key that cannot encrypt or is too small, `MessageError` for an unreadable certificate.
    """
    recipient = load_certificate(certificate) if isinstance(certificate, bytes) else certificate
    key = recipient.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Reject(Reason.signer_key_refused, "no encryption method for this key")
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
    encrypted = tlv.sequence(
        tlv.oid(DATA),
        tlv.sequence(tlv.oid(cipher.oid), tlv.octet_string(iv)),
        tlv.implicit(0, _encrypt_content(plaintext, cipher, content_key, iv), constructed=False),
    )
    return write_content_info(ENVELOPED_DATA, tlv.sequence(_VERSION_0, tlv.write(tlv.SET, info), encrypted))


def _encrypt_content(plaintext: bytes, cipher: Cipher, content_key: bytes, iv: bytes) -> bytes:
    padding = cipher.block_size - len(plaintext) % cipher.block_size
    encryptor = _cipher(cipher, content_key, iv).encryptor()
    return encryptor.update(plaintext + bytes((padding,)) * padding) + encryptor.finalize()


def decrypt(content: bytes | None, certificate_der: bytes, key: rsa.RSAPrivateKey, policy: CryptoPolicy) -> bytes:
    """Return the content of an envelope with a key in memory: the client's side; raises `Reject`."""
    envelope = parse_envelope(content, policy)
    _, entry = choose_recipient(envelope, (Recipient.from_certificate(certificate_der),), policy)
    assert entry.transport is not None
    try:
        content_key = key.decrypt(entry.encrypted_key, transport_padding(entry.transport))
    except ValueError:
        raise Reject(Reason.decryption_failed, "content key") from None
    return decrypt_content(envelope, content_key)


def _cipher(cipher: Cipher, content_key: bytes, iv: bytes) -> ciphers.Cipher[CBC]:
    """Return the CBC cipher; single DES is triple DES with its key three times."""
    if cipher in MODERN_CIPHERS:
        return ciphers.Cipher(AES(content_key), CBC(iv))
    return ciphers.Cipher(TripleDES(content_key * 3 if cipher is Cipher.DES else content_key), CBC(iv))
