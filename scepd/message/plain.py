"""The shape that most PKIMessages have, read without a detour: DER, one certificate, one signer whom it names.

What looks otherwise in any respect is left to the general reader, which alone decides what is refused; what is read
here, it reads alike (the tests hold one against the other).
"""

import attrs

from scepd.message import tlv
from scepd.message.attributes import KNOWN_ATTRIBUTES, MAXIMUM_ATTRIBUTES, read_values
from scepd.message.certificate import MAXIMUM_SERIAL, SignerCertificate
from scepd.message.element import Source
from scepd.message.errors import MessageError
from scepd.message.names import DATA, SIGNED_DATA
from scepd.message.scan import LIMITS, scan
from scepd.message.shape import LONG, VERSION, OtherShape, algorithm, enter, expect, last
from scepd.message.signature import Algorithm
from scepd.message.signed import Parts, SignerInfo
from scepd.message.tlv import Element

_MOST = 2 * LIMITS.elements - 2  # octets: an element takes two at least, so that these cannot be too many
_IN_BAG = attrs.evolve(LIMITS, depth=LIMITS.depth - 4)  # a certificate lies that deep
_SIGNED_DATA = tlv.oid(SIGNED_DATA)
_DATA = tlv.oid(DATA)
_TAGGED_0 = 0xA0
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


def read_plain(body: bytes) -> Parts | None:
    """Return the parts of a PKIMessage of the common shape, None for any other, sound or not."""
    if len(body) > _MOST:
        return None
    try:
        return _read(body)
    except (OtherShape, MessageError, IndexError):
        return None


def _read(body: bytes) -> Parts:
    end = len(body)
    at = last(body, 0, tlv.SEQUENCE, end)
    expect(body.startswith(_SIGNED_DATA, at))
    at = last(body, last(body, at + len(_SIGNED_DATA), _TAGGED_0, end), tlv.SEQUENCE, end)
    expect(body.startswith(VERSION, at))
    digests, at = enter(body, at + 3, tlv.SET)
    digest = algorithm(body[digests:at])
    encapsulated, bag = enter(body, at, tlv.SEQUENCE)
    expect(body.startswith(_DATA, encapsulated))
    wrapped = last(body, encapsulated + len(_DATA), _TAGGED_0, bag)
    content = body[last(body, wrapped, tlv.OCTET_STRING, bag) : bag]
    certificates, infos = enter(body, bag, _TAGGED_0)
    signer = _read_certificate(body[certificates:infos])
    info, values = _read_signer_info(body, last(body, infos, tlv.SET, end), signer)
    return Parts(frozenset((digest.oid,)), DATA, content, "", info, read_values(values), signer, "")


def _read_certificate(der: bytes) -> SignerCertificate:
    """Return the one certificate of a bag, as `certificate.read_certificate` does."""
    expect(not scan(der, _IN_BAG)[1])
    at, end = enter(der, enter(der, 0, tlv.SEQUENCE)[0], tlv.SEQUENCE)
    if der[at] == _TAGGED_0:  # version
        at = enter(der, at, _TAGGED_0)[1]
    serial, issuer = enter(der, at, tlv.INTEGER)
    expect(0 < issuer - serial <= MAXIMUM_SERIAL)
    serial_der = der[at:issuer]
    issuer = enter(der, issuer, tlv.SEQUENCE)[1]  # after the signature algorithm
    validity = enter(der, issuer, tlv.SEQUENCE)[1]
    subject = enter(der, validity, tlv.SEQUENCE)[1]
    spki = enter(der, subject, tlv.SEQUENCE)[1]
    after = enter(der, spki, tlv.SEQUENCE)[1]
    expect(after <= end)  # else the scan has seen these fields elsewhere
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
    at = last(body, start, tlv.SEQUENCE, end)
    expect(body.startswith(VERSION, at))
    sid, at = enter(body, at + 3, tlv.SEQUENCE)
    expect(body[sid:at] == signer.issuer_der + signer.serial_der)  # whose octets have been scanned
    digest, at = _short_algorithm(body, at)
    source = Source.of_der(body)
    attributes, head = at, enter(body, at, _TAGGED_0)[0]
    at = enter(body, at, _TAGGED_0)[1]
    values = _read_values(source, head, at)
    element = source.element(attributes, head, at)
    algorithm, at = _short_algorithm(body, at)
    signature = body[last(body, at, tlv.OCTET_STRING, end) :]
    return SignerInfo((signer.issuer_der, signer.serial), digest.oid, element, algorithm, signature), values


def _short_algorithm(body: bytes, start: int) -> tuple[Algorithm, int]:
    end = enter(body, start, tlv.SEQUENCE)[1]
    return algorithm(body[start:end]), end


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
            or body[at + 1] >= LONG
            or body[at + 2] != tlv.OID
            or body[at + 3] > LIMITS.oid
            or body[key] != tlv.SET
            or value + body[key + 1] != after
            or value + 2 + body[value + 1] != after
            or body[value] not in _VALUES
            or (body[value] == tlv.OID and body[value + 1] > LIMITS.oid)
        ):
            raise OtherShape
        oid = KNOWN_ATTRIBUTES.get(body[at + 2 : key])
        if oid is not None:
            expect(oid not in values)
            values[oid] = source.element(value, value + 2, after)
        at = after
        if at == end:
            return values
    raise OtherShape
