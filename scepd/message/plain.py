"""The shape that most PKIMessages have, read without a detour: DER, one certificate, one signer whom it names.

What looks otherwise in any respect is left to the general reader, which alone decides what is refused; what is read
here, it reads alike (the tests hold one against the other).
"""

from functools import lru_cache

import attrs

from scepd.message import tlv
from scepd.message.attributes import KNOWN_ATTRIBUTES, MAXIMUM_ATTRIBUTES, read_values
from scepd.message.certificate import MAXIMUM_SERIAL, SignerCertificate
from scepd.message.element import Source
from scepd.message.errors import MessageError
from scepd.message.names import DATA, SIGNED_DATA
from scepd.message.scan import LIMITS, TWO_OCTETS, scan
from scepd.message.signature import Algorithm, read_algorithm
from scepd.message.signed import Parts, SignerInfo
from scepd.message.tlv import Element

_MOST = 2 * LIMITS.elements - 2  # octets: an element takes two at least, so that these cannot be too many
_IN_BAG = attrs.evolve(LIMITS, depth=LIMITS.depth - 4)  # a certificate lies that deep
_DER = tlv.Limits(ber_depth=0)
_SIGNED_DATA = tlv.oid(SIGNED_DATA)
_DATA = tlv.oid(DATA)
_VERSION = b"\x02\x01"  # an INTEGER of one octet, whichever
_TAGGED_0 = 0xA0
_LONG = 0x80
_ONE_OCTET = 0x81
_SHORT = 20  # octets: an algorithm without parameters of its own
_VALUES = frozenset(
    {
        tlv.OCTET_STRING,
        tlv.OID,
        tlv.UTF8_STRING,
        tlv.PRINTABLE_STRING,
        tlv.IA5_STRING,
        tlv.UTC_TIME,
        tlv.GENERALIZED_TIME,
    }
)


class _Otherwise(Exception):  # noqa: N818 - no error: the general reader goes on
    """The message has another shape."""


def read_plain(body: bytes) -> Parts | None:
    """Return the parts of a PKIMessage of the common shape, None for any other, sound or not."""
    if len(body) > _MOST:
        return None
    try:
        return _read(body)
    except (_Otherwise, MessageError, IndexError):
        return None


def _read(body: bytes) -> Parts:
    end = len(body)
    at = _last(body, 0, tlv.SEQUENCE, end)
    _expect(body.startswith(_SIGNED_DATA, at))
    at = _last(body, _last(body, at + len(_SIGNED_DATA), _TAGGED_0, end), tlv.SEQUENCE, end)
    _expect(body.startswith(_VERSION, at))
    digests, at = _enter(body, at + 3, tlv.SET)
    digest = _algorithm(body[digests:at])
    encapsulated, bag = _enter(body, at, tlv.SEQUENCE)
    _expect(body.startswith(_DATA, encapsulated))
    wrapped = _last(body, encapsulated + len(_DATA), _TAGGED_0, bag)
    content = body[_last(body, wrapped, tlv.OCTET_STRING, bag) : bag]
    certificates, infos = _enter(body, bag, _TAGGED_0)
    signer = _read_certificate(body[certificates:infos])
    info, values = _read_signer_info(body, _last(body, infos, tlv.SET, end), signer)
    return Parts(frozenset((digest.oid,)), DATA, content, "", info, read_values(values), signer, "")


def _expect(fact: bool) -> None:
    if not fact:
        raise _Otherwise


def _enter(data: bytes, start: int, tag: int) -> tuple[int, int]:
    """Return where the contents of an element with that tag begin and end."""
    if data[start] != tag:
        raise _Otherwise
    length = data[start + 1]
    if length < _LONG:
        return start + 2, start + 2 + length
    if length == TWO_OCTETS and data[start + 2]:
        return start + 4, start + 4 + (data[start + 2] << 8 | data[start + 3])
    if length == _ONE_OCTET and data[start + 2] >= _LONG:
        return start + 3, start + 3 + data[start + 2]
    raise _Otherwise


def _last(data: bytes, start: int, tag: int, end: int) -> int:
    """Return where the contents of an element begin that must end where what holds it does."""
    head, tail = _enter(data, start, tag)
    if tail != end:
        raise _Otherwise
    return head


def _algorithm(der: bytes) -> Algorithm:
    if len(der) > _SHORT:
        raise _Otherwise
    return _read_algorithm(der)


@lru_cache(maxsize=64)
def _read_algorithm(der: bytes) -> Algorithm:
    return read_algorithm(tlv.read(der, _DER))


def _read_certificate(der: bytes) -> SignerCertificate:
    """Return the one certificate of a bag, as `certificate.read_certificate` does."""
    _expect(not scan(der, _IN_BAG)[1])
    at, end = _enter(der, _enter(der, 0, tlv.SEQUENCE)[0], tlv.SEQUENCE)
    if der[at] == _TAGGED_0:  # version
        at = _enter(der, at, _TAGGED_0)[1]
    serial, issuer = _enter(der, at, tlv.INTEGER)
    _expect(0 < issuer - serial <= MAXIMUM_SERIAL)
    serial_der = der[at:issuer]
    issuer = _enter(der, issuer, tlv.SEQUENCE)[1]  # after the signature algorithm
    validity = _enter(der, issuer, tlv.SEQUENCE)[1]
    subject = _enter(der, validity, tlv.SEQUENCE)[1]
    spki = _enter(der, subject, tlv.SEQUENCE)[1]
    after = _enter(der, spki, tlv.SEQUENCE)[1]
    _expect(after <= end)  # else the scan has seen these fields elsewhere
    return SignerCertificate(
        der=der,
        issuer_der=der[issuer:validity],
        serial=int.from_bytes(serial_der[2:], "big", signed=True),
        serial_der=serial_der,
        subject_der=der[subject:spki],
        spki_der=der[spki:after],
    )


def _read_signer_info(body: bytes, start: int, signer: SignerCertificate) -> tuple[SignerInfo, dict[str, Element]]:
    """Return the one SignerInfo, which must name the certificate, and the values of its known attributes."""
    end = len(body)
    at = _last(body, start, tlv.SEQUENCE, end)
    _expect(body.startswith(_VERSION, at))
    sid, at = _enter(body, at + 3, tlv.SEQUENCE)
    _expect(body[sid:at] == signer.issuer_der + signer.serial_der)  # whose octets have been scanned
    digest, at = _short_algorithm(body, at)
    source = Source.of_der(body)
    attributes, head = at, _enter(body, at, _TAGGED_0)[0]
    at = _enter(body, at, _TAGGED_0)[1]
    values = _read_values(source, head, at)
    element = source.element(attributes, head, at)
    algorithm, at = _short_algorithm(body, at)
    signature = body[_last(body, at, tlv.OCTET_STRING, end) :]
    return SignerInfo((signer.issuer_der, signer.serial), digest.oid, element, algorithm, signature), values


def _short_algorithm(body: bytes, start: int) -> tuple[Algorithm, int]:
    end = _enter(body, start, tlv.SEQUENCE)[1]
    return _algorithm(body[start:end]), end


def _read_values(source: Source, at: int, end: int) -> dict[str, Element]:
    """Return the one value of each known attribute: all lengths in one octet, all values primitive."""
    body = source.data
    values: dict[str, Element] = {}
    for _ in range(MAXIMUM_ATTRIBUTES):
        after = at + 2 + body[at + 1]
        key = at + 4 + body[at + 3]  # the end of the type
        value = key + 2
        if (
            body[at] != tlv.SEQUENCE
            or body[at + 1] >= _LONG
            or body[at + 2] != tlv.OID
            or body[at + 3] > LIMITS.oid
            or body[key] != tlv.SET
            or value + body[key + 1] != after
            or value + 2 + body[value + 1] != after
            or body[value] not in _VALUES
            or (body[value] == tlv.OID and body[value + 1] > LIMITS.oid)
        ):
            raise _Otherwise
        oid = KNOWN_ATTRIBUTES.get(body[at + 2 : key])
        if oid is not None:
            _expect(oid not in values)
            values[oid] = source.element(value, value + 2, after)
        at = after
        if at == end:
            return values
    raise _Otherwise
