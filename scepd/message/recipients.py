"""The RecipientInfos of an EnvelopedData (RFC 5652 section 6.2): by key transport, and by password where that is taken."""

from collections.abc import Sequence

import attrs

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy, KeyTransport
from scepd.message.certificate import load_certificate
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.password import PasswordRecipient, read_password_recipient
from scepd.message.signature import read_algorithm
from scepd.message.signed import read_issuer_and_serial
from scepd.message.tlv import Element
from scepd.message.transport import read_transport
from scepd.refusal import Reason, Reject

MAXIMUM_RECIPIENTS = 16

_PASSWORD_RECIPIENT = 0xA3
_KEY_IDENTIFIER = 0x80


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
    """An EnvelopedData whose clear parts have passed the policy; nothing is decrypted or derived.

    `passwords` holds the one entry by password where the policy takes such (a tuple as there is none otherwise).
    """

    cipher: Cipher
    iv: bytes
    ciphertext: bytes
    recipients: tuple[KeyTransRecipient, ...]
    passwords: tuple[PasswordRecipient, ...] = ()


def read_recipients(
    infos: Sequence[Element], policy: CryptoPolicy
) -> tuple[tuple[KeyTransRecipient, ...], tuple[PasswordRecipient, ...]]:
    """Return the entries by key transport and by password; other kinds are never looked into (threat S-15).

    Raises `Reject` (algorithm_unsupported, password_parameters_refused) and `MessageError`.
    """
    if len(infos) > MAXIMUM_RECIPIENTS:
        raise LimitExceeded("too many recipients")
    recipients = tuple(_read_recipient(info) for info in infos if info.tag == tlv.SEQUENCE)
    secret = [info for info in infos if policy.passwords and info.tag == _PASSWORD_RECIPIENT]
    if infos and not recipients and not secret:
        raise Reject(Reason.algorithm_unsupported, "no recipient of a kind that is taken")
    try:
        return recipients, _read_passwords(secret, policy)
    except (Reject, MessageError):
        if not recipients:
            raise
        return recipients, ()  # what stands beside an entry that we can read is nobody's business


def _read_passwords(infos: Sequence[Element], policy: CryptoPolicy) -> tuple[PasswordRecipient, ...]:
    if len(infos) > 1:  # each costs a derivation for each password that it may be
        raise Reject(Reason.password_parameters_refused, f"{len(infos)} recipients by password")
    return tuple(read_password_recipient(info, policy) for info in infos)


def _read_recipient(info: Element) -> KeyTransRecipient:
    fields = info.fields()
    fields.take(tlv.INTEGER)
    rid = fields.take()
    issuer, serial = (None, None) if rid.tag == _KEY_IDENTIFIER else read_issuer_and_serial(rid)
    transport = read_transport(read_algorithm(fields.take()))
    encrypted_key = fields.take().octets()
    fields.finish()
    return KeyTransRecipient(issuer, serial, rid.content if issuer is None else None, transport, encrypted_key)
