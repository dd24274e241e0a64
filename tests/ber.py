"""BER as streaming libraries write it, and inputs that cost a naive parser more than their length."""

from collections.abc import Mapping

from scepd.message import tlv
from scepd.message.request import parse_message
from tests.bend import open_up, take_apart
from tests.requesting import message, pkcs_req


def indefinite(tag: int, *parts: bytes) -> bytes:
    """Return an element of indefinite length."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def fragments(octets: bytes, size: int, *, tag: int = 0x24, definite: bool = False) -> bytes:
    """Return a constructed OCTET STRING (or [0]) of fragments."""
    pieces = [tlv.octet_string(octets[i : i + size]) for i in range(0, len(octets), size)]
    return tlv.write(tag, *pieces) if definite else indefinite(tag, *pieces)


def ber_message(der: bytes, *, fragment: int = 1000) -> bytes:
    """Return a message in the form of BouncyCastle's streams: skeleton of indefinite length, eContent in fragments."""
    parts = take_apart(der)
    content = b"" if parts.content is None else indefinite(0xA0, fragments(parts.content, fragment))
    signed_data = indefinite(
        tlv.SEQUENCE,
        tlv.integer(1),
        tlv.set_of(parts.digest_algorithms),
        indefinite(tlv.SEQUENCE, tlv.oid(parts.content_type), content),
        indefinite(0xA0, *parts.certificates),
        indefinite(tlv.SET, *(signer.der() for signer in parts.signers)),
    )
    return indefinite(tlv.SEQUENCE, tlv.oid(parts.outer_type), indefinite(0xA0, signed_data))


def ber_envelope(der: bytes, *, fragment: int = 1000) -> bytes:
    """Return an envelope in the same form."""
    parts = open_up(der)
    assert parts.ciphertext is not None
    data = indefinite(
        tlv.SEQUENCE,
        tlv.integer(parts.version),
        indefinite(tlv.SET, *(entry.der() for entry in parts.entries)),
        indefinite(
            tlv.SEQUENCE,
            tlv.oid(parts.content_type),
            parts.cipher_algorithm,
            fragments(parts.ciphertext, fragment, tag=0xA0),
        ),
    )
    return indefinite(tlv.SEQUENCE, tlv.oid(parts.outer_type), indefinite(0xA0, data))


def ber_req(*, fragment: int = 1000, **fields: object) -> bytes:
    """Return a PKCSReq that is BER inside and outside."""
    inner = parse_message(pkcs_req(**fields)).content
    assert inner is not None
    return ber_message(message(ber_envelope(inner, fragment=fragment)), fragment=fragment)


def nested(levels: int, tag: int = tlv.SEQUENCE, core: bytes = b"\x05\0") -> bytes:
    """Return definite-length elements inside each other, `levels` of them around the core."""
    der = core
    for _ in range(levels):
        der = tlv.write(tag, der)
    return der


def bombs(size: int = 262_144) -> Mapping[str, bytes]:
    """Return inputs of about that size that cost a naive parser far more than their length (threats D)."""
    body = size - 16
    return {
        "tag number": tlv.sequence(b"\x3f" + b"\xff" * (body - 8) + b"\x01\0"),
        "tag zeros": tlv.sequence(b"\x3f" + b"\x80" * (body - 8) + b"\x01\0"),
        "object identifier": tlv.sequence(tlv.write(tlv.OID, b"\xff" * (body - 8) + b"\x01")),
        "integer": tlv.sequence(tlv.write(tlv.INTEGER, b"\x7f" * (body - 8))),
        "sequences": _deep(tlv.SEQUENCE, body),
        "sets": _deep(tlv.SET, body),
        "tagged": _deep(0xA0, body),
        "indefinite": b"\x30\x80" * (size // 2),
        "indefinite closed": b"\x30\x80" * (size // 4) + b"\0\0" * (size // 4),
        "indefinite strings": b"\x24\x80" * (size // 2),
        "nulls": tlv.sequence(b"\x05\0" * (body // 2)),
        "empty sequences": tlv.sequence(b"\x30\0" * (body // 2)),
        "fragments": indefinite(0x24, b"\x04\x01a" * (body // 3)),
        "fragments definite": tlv.write(0x24, b"\x04\x01a" * (body // 3)),
        "lengths": b"\x30\x84\xff\xff\xff\xff" + bytes(body),
        "length of 126": b"\x30\xfe" + b"\x01" * 126 + bytes(body - 126),
    }


def _deep(tag: int, size: int) -> bytes:
    """Return elements nested as deeply as the size allows, in linear time."""
    headers: list[bytes] = []
    length = 0
    while length < size - 6:
        octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
        head = bytes((tag, length)) if length < 0x80 else bytes((tag, 0x80 | len(octets))) + octets
        headers.append(head)
        length += len(head)
    return b"".join(reversed(headers))
