"""The fields of a TBSCertificate as octets, where byte-for-byte equality is the rule."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from scepd.message.scan import LIMITS, header

# What cryptography raises on a certificate that it cannot read, when loading it or its key or extensions.
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_SEQUENCE = 0x30
_VERSION = 0xA0
_HIGH_TAG = 0x1F
_LONG = 0x80


def elements(content: bytes) -> list[bytes]:
    """Return the elements that octets consist of, each whole; ValueError when they do not fit."""
    found, position, size = [], 0, len(content)
    try:
        while position < size:
            length = content[position + 1]
            if length < _LONG and content[position] & _HIGH_TAG != _HIGH_TAG:  # as `header`, which costs a call
                end = position + 2 + length
            else:
                head, length = header(content, position, LIMITS)
                if length < 0:
                    raise ValueError("indefinite length")
                end = head + length
            found.append(content[position:end])
            position = end
    except IndexError:
        raise ValueError("cut off") from None
    if position != size:
        raise ValueError("cut off")
    return found


def tbs_fields(tbs: bytes) -> list[bytes]:
    """Return version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo and what follows.

    The version of a version 1 certificate, which the encoding leaves out, is returned as empty (RFC 5280 section 4.1).
    """
    if not tbs or tbs[0] != _SEQUENCE:
        raise ValueError("no TBSCertificate")
    fields = elements(contents(tbs))
    if fields and fields[0][0] != _VERSION:
        fields.insert(0, b"")
    if len(fields) < 7:
        raise ValueError("no TBSCertificate")
    return fields


def contents(element: bytes) -> bytes:
    """Return the content octets of one whole element."""
    return element[header(element, 0, LIMITS)[0] :]
