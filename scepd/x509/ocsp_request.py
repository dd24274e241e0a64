"""OCSP requests, read within bounds; signatures and requestor names are passed over (RFC 6960 section 4.1, RFC 5019)."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from scepd.message import tlv
from scepd.message.errors import MessageError
from scepd.message.tlv import Element

MOST_CERTIFICATES = 16  # of one request
LONGEST_NONCE = 128  # octets (RFC 9654 section 2.1)

_LIMITS = tlv.Limits(size=16_384, elements=1_024, depth=16, ber_depth=0)
_LONGEST_SERIAL = 20  # octets (RFC 5280 section 4.1.2.2)
_NONCE = "1.3.6.1.5.5.7.48.1.2"
# Extensions of a request that change no answer of ours, so that even a critical one is understood: acceptable response
# types (one is known), preferred signature algorithms, service locator.
_UNDERSTOOD = frozenset({_NONCE, "1.3.6.1.5.5.7.48.1.4", "1.3.6.1.5.5.7.48.1.8", "1.3.6.1.5.5.7.48.1.7"})
_EXPLICIT_0, _EXPLICIT_1, _EXPLICIT_2 = 0xA0, 0xA1, 0xA2

# hashAlgorithm of a CertID -> octets of its hashes.
SHA1, SHA256 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1"
_SIZES: Mapping[str, int] = MappingProxyType({SHA1: 20, SHA256: 32})


@attrs.frozen
class CertId:
    """Which certificate is asked about: its octets as received, which the answer repeats, and what they say.

    `algorithm` is the dotted identifier of the hash; one that is neither SHA-1 nor SHA-256 names no issuer of ours.
    """

    der: bytes
    algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@attrs.frozen
class OcspRequest:
    """The certificates that a request asks about, in its order, and its nonce."""

    certificates: tuple[CertId, ...]
    nonce: bytes | None = None


def parse_ocsp_request(der: bytes) -> OcspRequest:
    """Return what an OCSPRequest asks; raises `MessageError` for anything but DER of that structure within bounds."""
    fields = tlv.read(der, _LIMITS).fields()
    request = fields.take(tlv.SEQUENCE)
    fields.optional(_EXPLICIT_0)  # C-311: a signature proves nothing that we ask for
    fields.finish()
    return _read_body(request)


def write_cert_id(algorithm: str, name_hash: bytes, key_hash: bytes, serial: int) -> bytes:
    """Return a CertID (RFC 6960 section 4.1.1) as OpenSSL writes it, with NULL parameters."""
    return tlv.sequence(
        tlv.sequence(tlv.oid(algorithm), tlv.null()),
        tlv.octet_string(name_hash),
        tlv.octet_string(key_hash),
        tlv.integer(serial),
    )


def _read_body(request: Element) -> OcspRequest:
    fields = request.fields()
    version = fields.optional(_EXPLICIT_0)
    if version is not None and version.inner().integer() != 0:
        raise MessageError("an OCSP request of another version")
    fields.optional(_EXPLICIT_1)  # C-311: requestorName
    listed = fields.take(tlv.SEQUENCE).children
    extensions = fields.optional(_EXPLICIT_2)
    fields.finish()
    if not 1 <= len(listed) <= MOST_CERTIFICATES:
        raise MessageError(f"{len(listed)} certificates in one OCSP request")
    certificates = tuple(map(_read_single, listed))
    return OcspRequest(certificates, None if extensions is None else _read_extensions(extensions))


def _read_single(single: Element) -> CertId:
    fields = single.fields()
    cert_id, extensions = fields.take(tlv.SEQUENCE), fields.optional(_EXPLICIT_0)
    fields.finish()
    if extensions is not None:
        _read_extensions(extensions)
    return _read_cert_id(cert_id)


def _read_cert_id(element: Element) -> CertId:
    fields = element.fields()
    algorithm = _read_algorithm(fields.take(tlv.SEQUENCE))
    name_hash, key_hash = fields.take(tlv.OCTET_STRING).octets(), fields.take(tlv.OCTET_STRING).octets()
    serial = fields.take(tlv.INTEGER)
    fields.finish()
    size = _SIZES.get(algorithm)
    if size is not None and not len(name_hash) == len(key_hash) == size:
        raise MessageError("a hash of another length than its algorithm's")
    number = serial.integer()
    if len(serial.content) > _LONGEST_SERIAL or serial.der != tlv.integer(number):
        raise MessageError("serial number too long or not in its shortest form")
    return CertId(element.der, algorithm, name_hash, key_hash, number)


def _read_algorithm(element: Element) -> str:
    fields = element.fields()
    algorithm, parameters = fields.take(tlv.OID).oid(), fields.optional(tlv.NULL)
    fields.finish()
    if parameters is not None and parameters.content:
        raise MessageError("a NULL with contents")
    return algorithm


def _read_extensions(wrapped: Element) -> bytes | None:
    """Return the nonce of Extensions in their EXPLICIT tag; what is critical must be understood (RFC 6960 section 4.4)."""
    nonce = None
    for extension in wrapped.inner().parts():
        fields = extension.fields()
        oid, critical, value = fields.take(tlv.OID).oid(), fields.optional(tlv.BOOLEAN), fields.take(tlv.OCTET_STRING)
        fields.finish()
        if oid == _NONCE:
            if nonce is not None:
                raise MessageError("two nonces")
            nonce = _read_nonce(value.octets())
        elif oid not in _UNDERSTOOD and critical is not None and critical.boolean():
            raise MessageError(f"critical extension {oid}")
    return nonce


def _read_nonce(value: bytes) -> bytes:
    """Return the nonce inside its OCTET STRING; RFC 9654 section 2.1 bounds it."""
    nonce = tlv.read(value, _LIMITS).octets()
    if not 1 <= len(nonce) <= LONGEST_NONCE:
        raise MessageError(f"a nonce of {len(nonce)} octets")
    return nonce
