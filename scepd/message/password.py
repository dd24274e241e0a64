"""PasswordRecipientInfo (RFC 5652 section 6.2.4): a content key under a password, by PBKDF2 and the wrap of RFC 3211."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from typing import NoReturn

import attrs

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.message.cbc import decrypt_blocks, encrypt_blocks
from scepd.message.errors import MessageError
from scepd.message.signature import write_algorithm
from scepd.message.tlv import Element, Fields
from scepd.records import Secret
from scepd.refusal import Reason, Reject

MINIMUM_ITERATIONS = 1_000
MAXIMUM_ITERATIONS = 1_000_000  # about half a second
MINIMUM_SALT = 8  # octets
MAXIMUM_SALT = 64

_PBKDF2 = "1.2.840.113549.1.5.12"  # RFC 8018 appendix A.2
_PWRI_KEK = "1.2.840.113549.1.9.16.3.9"  # RFC 3211 section 2.3
_PRFS = {
    "1.2.840.113549.2.7": Digest.SHA1,  # HMAC does not need its digest to be free of collisions
    "1.2.840.113549.2.9": Digest.SHA256,
    "1.2.840.113549.2.10": Digest.SHA384,
    "1.2.840.113549.2.11": Digest.SHA512,
}
_HMAC_SHA256 = "1.2.840.113549.2.9"
_CIPHERS = {cipher.oid: cipher for cipher in Cipher}
_PASSWORD_RECIPIENT = 0xA3
_TAGGED_0 = 0xA0
_HEAD = 4  # octets before the content key: its length, and its first three octets inverted
_MAXIMUM_WRAPPED = 288  # octets: more than the length octet can count

# Profiles that take passwords have generated challenges of 128 bits and more (C-256): nobody guesses one, however fast,
# and the lane that makes the reply has other work.
_ITERATIONS = 10_000
_SALT = 16  # octets


@attrs.frozen
class PasswordRecipient:
    """A PasswordRecipientInfo whose parameters have passed the limits; nothing is derived.

    `cipher` and `iv` wrap the content key, under a key that PBKDF2 derives with HMAC over the digest `prf`.
    """

    prf: Digest
    salt: bytes
    iterations: int
    cipher: Cipher
    iv: bytes
    encrypted_key: bytes

    @property
    def cost(self) -> int:
        """How many times the PRF runs for one password: once for each iteration and each of its outputs."""
        return self.iterations * _outputs(self.cipher, self.prf)


def _outputs(cipher: Cipher, prf: Digest) -> int:
    """Return of how many outputs of the PRF a key is made."""
    return -(-cipher.key_size // prf.size)


def read_password_recipient(info: Element, policy: CryptoPolicy) -> PasswordRecipient:
    """Return a PasswordRecipientInfo.

    Raises `Reject(password_parameters_refused)` for parameters beyond our limits (C-254, C-259), `MessageError` for
    what has another form.
    """
    fields = info.fields(_PASSWORD_RECIPIENT)
    fields.take(tlv.INTEGER)
    derivation = fields.optional(_TAGGED_0)
    encryption = fields.take()
    wrapped = fields.take().octets()
    fields.finish()
    if derivation is None:
        _refuse("no key derivation")  # without it, the parties share a key that SCEP does not know (RFC 5652)
    try:
        cipher, iv = _read_encryption(encryption, policy)
        prf, salt, iterations = _read_derivation(Fields(derivation.children), cipher)
    except MessageError as error:
        _refuse(error.detail)
    if len(wrapped) > _MAXIMUM_WRAPPED or len(wrapped) < 2 * cipher.block_size or len(wrapped) % cipher.block_size:
        _refuse(f"wrapped key of {len(wrapped)} octets")
    return PasswordRecipient(prf, salt, iterations, cipher, iv, wrapped)


def _refuse(detail: str) -> NoReturn:
    raise Reject(Reason.password_parameters_refused, detail) from None


def _read_encryption(algorithm: Element, policy: CryptoPolicy) -> tuple[Cipher, bytes]:
    """Return cipher and IV of an id-alg-PWRI-KEK, whose parameters are the AlgorithmIdentifier of a block cipher."""
    fields = algorithm.fields()
    oid = fields.take().oid()
    if oid != _PWRI_KEK:
        _refuse(f"key wrap {oid}")
    inner = fields.take().fields()
    fields.finish()
    oid, iv = inner.take().oid(), inner.take().octets()
    inner.finish()
    cipher = _CIPHERS.get(oid)
    if cipher is None or cipher not in policy.ciphers or len(iv) != cipher.block_size:
        _refuse(f"key wrap with cipher {oid} and IV of {len(iv)} octets")
    return cipher, iv


def _read_derivation(fields: Fields, cipher: Cipher) -> tuple[Digest, bytes, int]:
    """Return PRF, salt and iterations of a PBKDF2 (RFC 8018 appendix A.2)."""
    oid = fields.take().oid()
    if oid != _PBKDF2:
        _refuse(f"key derivation {oid}")
    parameters = fields.take().fields()
    fields.finish()
    salt = parameters.take().octets()
    iterations = parameters.take().integer()
    length = parameters.optional(tlv.INTEGER)
    prf = _read_prf(parameters.optional(tlv.SEQUENCE))
    parameters.finish()
    if not MINIMUM_SALT <= len(salt) <= MAXIMUM_SALT:
        _refuse(f"salt of {len(salt)} octets")
    if not MINIMUM_ITERATIONS <= iterations <= MAXIMUM_ITERATIONS:
        _refuse(f"iterations, a number of {iterations.bit_length()} bits, outside the limits")
    if length is not None and length.integer() != cipher.key_size:
        _refuse(f"keyLength that is not that of {cipher.name}")
    if iterations * _outputs(cipher, prf) > MAXIMUM_ITERATIONS:
        _refuse(f"{iterations} iterations for each of the key's parts")
    return prf, salt, iterations


def _read_prf(algorithm: Element | None) -> Digest:
    if algorithm is None:
        return Digest.SHA1
    fields = algorithm.fields()
    oid = fields.take().oid()
    fields.optional(tlv.NULL)
    fields.finish()
    prf = _PRFS.get(oid)
    if prf is None:
        _refuse(f"pseudo-random function {oid}")
    return prf


def unwrap_password(entry: PasswordRecipient, password: Secret, length: int) -> bytes | None:
    """Return the content key of `length` octets; None for a wrong password, by the check octets of RFC 3211.

    One wrong password in 2 ** 32 passes them; the content then does not decrypt, which ends in the same answer.
    """
    wrapped, block = entry.encrypted_key, entry.cipher.block_size
    if len(wrapped) < _HEAD + length:
        return None  # in clear view: no password could be right
    key = _derive(entry.prf, password, entry.salt, entry.iterations, entry.cipher)
    # RFC 3211 section 2.3.2: the outer pass began with the last block of the inner one, which comes first therefore.
    last = decrypt_blocks(entry.cipher, key, wrapped[-2 * block : -block], wrapped[-block:])
    inner = decrypt_blocks(entry.cipher, key, last, wrapped)
    formatted = decrypt_blocks(entry.cipher, key, entry.iv, inner)
    bad = formatted[0] ^ length
    for index in range(1, _HEAD):
        bad |= formatted[index] ^ formatted[index + _HEAD - 1] ^ 0xFF
    content_key = formatted[_HEAD : _HEAD + length]
    return None if bad else content_key


def unwrap_by_any(entry: PasswordRecipient, passwords: Sequence[Secret], length: int) -> tuple[Secret, bytes] | None:
    """Return the first password that fits, and the content key.

    All of them together cost no more than one password at the limits, so that a message costs the same however many
    challenges wait: those beyond are not tried.
    """
    for password in passwords[: MAXIMUM_ITERATIONS // entry.cost]:
        content_key = unwrap_password(entry, password, length)
        if content_key is not None:
            return password, content_key
    return None


def wrap_password(content_key: bytes, password: Secret, *, cipher: Cipher, random: Callable[[int], bytes]) -> bytes:
    """Return a PasswordRecipientInfo as DER, with PBKDF2 by HMAC-SHA-256 and the cipher of the content."""
    salt, iv = random(_SALT), random(cipher.block_size)
    key = _derive(Digest.SHA256, password, salt, _ITERATIONS, cipher)
    head = bytes((len(content_key), *(octet ^ 0xFF for octet in content_key[: _HEAD - 1])))
    filled = max(2, -(-(_HEAD + len(content_key)) // cipher.block_size)) * cipher.block_size
    formatted = head + content_key + random(filled - _HEAD - len(content_key))
    inner = encrypt_blocks(cipher, key, iv, formatted)
    wrapped = encrypt_blocks(cipher, key, inner[-cipher.block_size :], inner)
    derivation = tlv.sequence(tlv.octet_string(salt), tlv.integer(_ITERATIONS), write_algorithm(_HMAC_SHA256))
    encryption = tlv.sequence(tlv.oid(cipher.oid), tlv.octet_string(iv))
    return tlv.write(
        _PASSWORD_RECIPIENT,
        tlv.integer(0),
        tlv.write(_TAGGED_0, tlv.oid(_PBKDF2), derivation),
        tlv.sequence(tlv.oid(_PWRI_KEK), encryption),
        tlv.octet_string(wrapped),
    )


def _derive(prf: Digest, password: Secret, salt: bytes, iterations: int, cipher: Cipher) -> bytes:
    """Return the key-encryption key. This implementation lets other threads run meanwhile (C-255)."""
    text = unicodedata.normalize("NFC", password.reveal()).encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac(prf.name, text, salt, iterations, cipher.key_size)
