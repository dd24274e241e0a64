"""The universal types of ASN.1: tags, text encodings, object identifiers, times."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from scepd.message.errors import LimitExceeded, MessageError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, TELETEX_STRING, IA5_STRING = 0x0C, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, UNIVERSAL_STRING, BMP_STRING = 0x17, 0x18, 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31

# Text types by tag number. TeletexString is read as ISO 8859-1, as every device means it.
ENCODINGS = MappingProxyType(
    {
        UTF8_STRING: "utf-8",
        0x12: "ascii",  # NumericString
        PRINTABLE_STRING: "ascii",
        TELETEX_STRING: "latin-1",
        IA5_STRING: "ascii",
        0x1A: "ascii",  # VisibleString
        UNIVERSAL_STRING: "utf-32-be",
        BMP_STRING: "utf-16-be",
    }
)

_TIME = re.compile(
    rb"([0-9]{2}|[0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})?(?:[.,][0-9]{1,9})?(?:Z|([+-][0-9]{4}))?"
)


@lru_cache(maxsize=512)
def decode_oid(content: bytes) -> str:
    """Return the dotted form of an OBJECT IDENTIFIER's content octets."""
    if not content or content[-1] & 0x80:
        raise MessageError("OBJECT IDENTIFIER cut off")
    arcs: list[int] = []
    arc = octets = 0
    for octet in content:
        if octet == 0x80 and not octets:
            raise MessageError("OBJECT IDENTIFIER arc not in its shortest form")
        arc = arc << 7 | octet & 0x7F
        octets += 1
        # Arcs under 2.25 are UUIDs of 128 bits (X.667).
        if octets > (20 if arcs[:2] == [2, 25] else 5):
            raise LimitExceeded("OBJECT IDENTIFIER arc too large")
        if octet & 0x80:
            continue
        arcs.extend((min(arc // 40, 2), arc - 40 * min(arc // 40, 2)) if not arcs else (arc,))
        arc = octets = 0
    return ".".join(map(str, arcs))


@lru_cache(maxsize=512)
def encode_oid(dotted: str) -> bytes:
    """Return the content octets of an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content.extend(reversed(groups))
    return bytes(content)


def decode_time(content: bytes, *, short: bool) -> datetime:
    """Return the moment of a UTCTime (`short`) or GeneralizedTime; seconds, fractions and zone may be missing or odd."""
    match = _TIME.fullmatch(content)
    if match is None or (len(match[1]) == 2) != short:
        raise MessageError("unreadable time")
    year, month, day, hour, minute = map(int, match.group(1, 2, 3, 4, 5))
    if short:
        year += 1900 if year >= 50 else 2000  # RFC 5280 section 4.1.2.5.1
    zone = match[7]
    try:
        value = datetime(year, month, day, hour, minute, int(match[6] or 0), tzinfo=UTC)
        if zone is None:
            return value
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        return value + offset if zone[:1] == b"-" else value - offset
    except (ValueError, OverflowError):
        raise MessageError("impossible time") from None


def write(tag: int, *parts: bytes) -> bytes:
    """Return the DER of an element with that identifier octet and the parts as its contents."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return (tag << 8 | length).to_bytes(2, "big") + content
    if length < 0x100:
        return (tag << 16 | 0x8100 | length).to_bytes(3, "big") + content
    if length < 0x10000:
        return (tag << 24 | 0x820000 | length).to_bytes(4, "big") + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
