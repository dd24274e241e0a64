"""ASN.1 as scepd speaks it: the bounded BER/DER reader, and a DER writer."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from scepd.message.element import Element, Fields, read
from scepd.message.scan import LIMITS, Limits
from scepd.message.universal import (
    BIT_STRING,
    BMP_STRING,
    BOOLEAN,
    ENCODINGS,
    GENERALIZED_TIME,
    IA5_STRING,
    INTEGER,
    NULL,
    OCTET_STRING,
    OID,
    PRINTABLE_STRING,
    SEQUENCE,
    SET,
    TELETEX_STRING,
    UNIVERSAL_STRING,
    UTC_TIME,
    UTF8_STRING,
    decode_oid,
    encode_oid,
    write,
)

__all__ = [
    "BIT_STRING",
    "BMP_STRING",
    "BOOLEAN",
    "ENCODINGS",
    "GENERALIZED_TIME",
    "IA5_STRING",
    "INTEGER",
    "LIMITS",
    "NULL",
    "OCTET_STRING",
    "OID",
    "PRINTABLE_STRING",
    "SEQUENCE",
    "SET",
    "TELETEX_STRING",
    "UNIVERSAL_STRING",
    "UTC_TIME",
    "UTF8_STRING",
    "Element",
    "Fields",
    "Limits",
    "bit_string",
    "boolean",
    "decode_oid",
    "encode_oid",
    "explicit",
    "implicit",
    "integer",
    "null",
    "octet_string",
    "oid",
    "printable",
    "read",
    "retag",
    "sequence",
    "set_of",
    "text",
    "time",
    "utf8",
    "write",
]


_SHORT_SEQUENCES = tuple(bytes((SEQUENCE, length)) for length in range(0x80))
_NULL = write(NULL)


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of elements."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return _SHORT_SEQUENCES[length] + content
    if 0x100 <= length < 0x10000:
        return (SEQUENCE << 24 | 0x820000 | length).to_bytes(4, "big") + content
    return write(SEQUENCE, content)


def set_of(parts: Iterable[bytes], *, sort: bool = True) -> bytes:
    """Return a SET OF elements, in DER order unless their order carries meaning."""
    return write(SET, *(sorted(parts) if sort else parts))


def octet_string(value: bytes) -> bytes:
    """Return an OCTET STRING."""
    return write(OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """Return a BIT STRING of whole octets."""
    return write(BIT_STRING, b"\0", value)


@lru_cache(maxsize=512)
def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    return write(OID, encode_oid(dotted))


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    return write(INTEGER, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def boolean(value: bool) -> bytes:
    """Return a BOOLEAN."""
    return write(BOOLEAN, b"\xff" if value else b"\0")


def null() -> bytes:
    """Return a NULL."""
    return _NULL


def text(tag: int, value: str) -> bytes:
    """Return a string of one of the `ENCODINGS`; raises UnicodeEncodeError for what that type cannot say."""
    return write(tag, value.encode(ENCODINGS[tag]))


def printable(value: str) -> bytes:
    """Return a PrintableString."""
    return text(PRINTABLE_STRING, value)


def utf8(value: str) -> bytes:
    """Return a UTF8String."""
    return text(UTF8_STRING, value)


@lru_cache(maxsize=64)  # a draft carries its times and lint writes them again; in a second the next reply has the same
def time(value: datetime) -> bytes:
    """Return a UTCTime through 2049, a GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5)."""
    moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    rest = b"%02d%02d%02d%02d%02dZ" % (moment.month, moment.day, moment.hour, moment.minute, moment.second)
    if 1950 <= moment.year < 2050:
        return b"\x17\x0d%02d" % (moment.year % 100) + rest
    return b"\x18\x0f%04d" % moment.year + rest


def explicit(number: int, value: bytes) -> bytes:
    """Return an element inside an EXPLICIT context-specific tag."""
    return write(0xA0 | number, value)


def implicit(number: int, content: bytes, *, constructed: bool) -> bytes:
    """Return contents under an IMPLICIT context-specific tag."""
    return write((0xA0 if constructed else 0x80) | number, content)


def retag(tag: int, value: bytes) -> bytes:
    """Return a DER element under another identifier octet, as IMPLICIT tagging does."""
    return bytes((tag,)) + value[1:]
