"""The shape that most envelopes have, read without a detour: DER, one recipient by key transport, named by its issuer.

As in `plain`, what looks otherwise is left to the general reader (the tests hold one against the other).
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import attrs

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy
from scepd.message.errors import MessageError
from scepd.message.names import DATA, ENVELOPED_DATA
from scepd.message.recipients import Envelope, KeyTransRecipient
from scepd.message.scan import LIMITS
from scepd.message.shape import VERSION, OtherShape, algorithm, enter, expect, last
from scepd.message.signed import read_issuer_and_serial
from scepd.message.transport import read_transport

_ENVELOPED_DATA = tlv.oid(ENVELOPED_DATA)
_DATA = tlv.oid(DATA)
_TAGGED_0 = 0xA0
_CIPHERTEXT = 0x80  # encryptedContent in one piece
# A ContentInfo may hold 1,024 elements: what is around a name are two dozen, and the name lies six deep.
_IN_SID = attrs.evolve(LIMITS, elements=512, depth=LIMITS.depth - 6, ber_depth=0)
_LONGEST_SID = 1024  # octets, since they are remembered
# A contentEncryptionAlgorithm up to the octets of its initialisation vector.
_CIPHERS: Mapping[bytes, Cipher] = MappingProxyType(
    {tlv.oid(cipher.oid) + bytes((tlv.OCTET_STRING, cipher.block_size)): cipher for cipher in Cipher}
)


def read_plain_envelope(content: bytes, policy: CryptoPolicy) -> Envelope | None:
    """Return an envelope of the common shape, None for any other, sound or not."""
    try:
        return _read(content, policy)
    except (OtherShape, MessageError, IndexError):
        return None


def _read(content: bytes, policy: CryptoPolicy) -> Envelope:
    end = len(content)
    at = last(content, 0, tlv.SEQUENCE, end)
    expect(content.startswith(_ENVELOPED_DATA, at))
    at = last(content, last(content, at + len(_ENVELOPED_DATA), _TAGGED_0, end), tlv.SEQUENCE, end)
    expect(content.startswith(VERSION, at))
    infos, encrypted = enter(content, at + 3, tlv.SET)
    recipient = _read_recipient(content, last(content, infos, tlv.SEQUENCE, encrypted), encrypted)
    at = last(content, encrypted, tlv.SEQUENCE, end)
    expect(content.startswith(_DATA, at))
    cipher_begin, cipher_end = enter(content, at + len(_DATA), tlv.SEQUENCE)
    ciphertext = content[last(content, cipher_end, _CIPHERTEXT, end) :]
    cipher, iv = _read_cipher(content[cipher_begin:cipher_end])
    expect(cipher in policy.ciphers)
    return Envelope(cipher, iv, ciphertext, (recipient,))


def _read_recipient(content: bytes, at: int, end: int) -> KeyTransRecipient:
    expect(content.startswith(VERSION, at))
    named = enter(content, at + 3, tlv.SEQUENCE)[1]
    expect(named - at < _LONGEST_SID)
    issuer_der, serial = _issuer_and_serial(content[at + 3 : named])
    begun = enter(content, named, tlv.SEQUENCE)[1]
    transport = read_transport(algorithm(content[named:begun]))
    encrypted_key = content[last(content, begun, tlv.OCTET_STRING, end) : end]
    return KeyTransRecipient(issuer_der, serial, None, transport, encrypted_key)


@lru_cache(maxsize=256)  # few name anything but the RA certificates of this service
def _issuer_and_serial(der: bytes) -> tuple[bytes, int]:
    return read_issuer_and_serial(tlv.read(der, _IN_SID))


def _read_cipher(der: bytes) -> tuple[Cipher, bytes]:
    """Return cipher and initialisation vector, which has a block of octets, 16 or 8."""
    for size in (16, 8):
        cipher = _CIPHERS.get(der[:-size])
        if cipher is not None and cipher.block_size == size:
            return cipher, der[-size:]
    raise OtherShape
