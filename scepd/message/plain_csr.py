"""The shape that most PKCS#10 requests have, read without a detour: one attribute in each RDN, each attribute once.

As in `plain`, what looks otherwise is left to the general reader (the tests hold one against the other).
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from scepd.message import names, tlv
from scepd.message.csr_attributes import (
    EXTENSION_REQUESTS,
    MAXIMUM_CHALLENGE,
    Extension,
    RequestAttributes,
    extension_faults,
    read_extension,
)
from scepd.message.element import Source
from scepd.message.errors import MessageError
from scepd.message.scan import Limits
from scepd.message.shape import VERSION, OtherShape, algorithm, enter, expect, last
from scepd.message.signature import Algorithm
from scepd.message.tlv import Element
from scepd.message.universal import ENCODINGS
from scepd.records import Attribute, Name, Secret

MAXIMUM_RDNS = 32

_ATTRIBUTES = 0xA0
_CHALLENGE = tlv.oid(names.CHALLENGE_PASSWORD)
_VERSIONS: Mapping[int, int] = MappingProxyType({0: 0, 1: 1, 2: 2})
_REQUESTS = tuple(map(tlv.oid, EXTENSION_REQUESTS))


@attrs.frozen
class Layout:
    """Where things are in a request that has a challengePassword, as octets from its beginning."""

    info: int  # the contents of the CertificationRequestInfo
    attributes: int  # the whole of them
    first: int  # the first of them
    challenge: tuple[int, int]
    info_end: int

    def without_challenge(self, der: bytes) -> bytes:
        """Return the request without that attribute."""
        begin, end = self.challenge
        kept = tlv.implicit(0, der[self.first : begin] + der[end : self.info_end], constructed=True)
        return tlv.sequence(tlv.sequence(der[self.info : self.attributes], kept), der[self.info_end :])


@attrs.frozen
class PlainRequest:
    """The parts of a request of the common shape."""

    element: Element
    info_der: bytes
    version: int
    subject: Name
    subject_der: bytes
    spki_der: bytes
    wanted: RequestAttributes
    algorithm: Algorithm
    signature: bytes
    layout: Layout | None


def read_plain_csr(der: bytes, limits: Limits) -> PlainRequest | None:
    """Return the parts of a request of the common shape, None for any other, sound or not; `limits` forbid BER."""
    try:
        return _read(Source(der, limits))
    except (OtherShape, MessageError, UnicodeDecodeError, IndexError):
        return None


def _read(source: Source) -> PlainRequest:
    """Read what has been scanned, so that all lengths fit and no element is constructed that should not be."""
    der = source.data
    info, end = enter(der, 0, tlv.SEQUENCE)
    at, info_end = enter(der, info, tlv.SEQUENCE)
    expect(der.startswith(VERSION, at) and der[at + 2] in _VERSIONS)
    subject = at + 3
    spki = enter(der, subject, tlv.SEQUENCE)[1]
    attributes = enter(der, spki, tlv.SEQUENCE)[1]
    signature = enter(der, info_end, tlv.SEQUENCE)[1]
    bits = last(der, signature, tlv.BIT_STRING, end)
    expect(not der[bits])
    first = last(der, attributes, _ATTRIBUTES, info_end)
    wanted, challenge = _read_attributes(source, first, info_end)
    return PlainRequest(
        element=source.element(0, info, end),
        info_der=der[info:info_end],
        version=der[at + 2],
        subject=_read_name(der, subject),
        subject_der=der[subject:spki],
        spki_der=der[spki:attributes],
        wanted=wanted,
        algorithm=algorithm(der[info_end:signature]),
        signature=der[bits + 1 :],
        layout=Layout(at, attributes, first, challenge, info_end) if challenge else None,
    )


def _read_name(der: bytes, start: int) -> Name:
    at, end = enter(der, start, tlv.SEQUENCE)
    found: list[tuple[Attribute]] = []
    while at < end:
        rdn, at = enter(der, at, tlv.SET)
        pair = last(der, rdn, tlv.SEQUENCE, at)
        kind, value = enter(der, pair, tlv.OID)
        found.append((Attribute(tlv.decode_oid(der[kind:value]), _read_text(der, value, at), der[value]),))
    expect(len(found) <= MAXIMUM_RDNS)
    return tuple(found)


def _read_text(der: bytes, start: int, end: int) -> str:
    tag = der[start]
    encoding = ENCODINGS.get(tag)
    if encoding is None:
        raise OtherShape
    return der[last(der, start, tag, end) : end].decode(encoding)


def _read_attributes(source: Source, at: int, end: int) -> tuple[RequestAttributes, tuple[int, int] | None]:
    """Return what the attributes say, and where the challengePassword begins and ends."""
    der = source.data
    place: tuple[int, int] | None = None
    challenge: Secret | None = None
    extensions: tuple[Extension, ...] = ()
    seen: set[bytes] = set()
    while at < end:
        begin = at
        kind, at = enter(der, at, tlv.SEQUENCE)
        oid = der[kind : enter(der, kind, tlv.OID)[1]]
        value = last(der, kind + len(oid), tlv.SET, at)
        if oid == _CHALLENGE:
            text = _read_text(der, value, at)
            expect(len(text) <= MAXIMUM_CHALLENGE)
            challenge, place = Secret(text) if text else None, (begin, at)
        else:
            expect(oid in _REQUESTS)
            extensions = _read_extensions(source, value, at)
            oid = b""  # whichever of them it is: only one may be there
        expect(oid not in seen)
        seen.add(oid)
    return RequestAttributes(challenge, extensions), place


def _read_extensions(source: Source, at: int, end: int) -> tuple[Extension, ...]:
    head = last(source.data, at, tlv.SEQUENCE, end)
    extensions = tuple(read_extension(element) for element in source.elements(head, end))
    expect(all(extension.oid != names.CHALLENGE_PASSWORD for extension in extensions))
    expect(not any(extension_faults(extensions)))
    return extensions
