"""SignedData (RFC 5652 section 5): the one signer of a message, the certificates around it."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import attrs

from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.message.attributes import Attributes, read_attributes, write_attributes
from scepd.message.certificate import SignerCertificate, load_certificate, read_certificate
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.names import DATA, SIGNED_DATA
from scepd.message.signature import Algorithm, SigningKey, read_algorithm, sign, write_algorithm
from scepd.message.tlv import Element

MAXIMUM_CERTIFICATES = 8

_TAGGED_0 = 0xA0
_TAGGED_1 = 0xA1
_KEY_IDENTIFIER = 0x80

_VERSION_1 = tlv.integer(1)
_DATA = tlv.oid(DATA)
_NO_CONTENT = tlv.sequence(_DATA)


@attrs.frozen
class SignerInfo:
    """A SignerInfo; `sid` is (issuer DER, serial) or a subjectKeyIdentifier, `attributes` the signedAttrs as received."""

    sid: tuple[bytes, int] | bytes
    digest_oid: str
    attributes: Element | None
    signature_algorithm: Algorithm
    signature: bytes

    def names(self, certificate: SignerCertificate) -> bool:
        """Return whether the sid is that certificate's."""
        if isinstance(self.sid, bytes):
            return certificate.key_identifier == self.sid
        return (certificate.issuer_der, certificate.serial) == self.sid


@attrs.frozen
class SignedData:
    """A SignedData; `content` is None when eContent is absent, or no OCTET STRING (then `content_fault` says so)."""

    digest_oids: frozenset[str]
    content_type: str
    content: bytes | None
    content_fault: str
    certificates: tuple[Element, ...]
    crls: tuple[Element, ...]
    signer_infos: tuple[Element, ...]


@attrs.frozen
class Parts:
    """The parts of SignedData with one SignerInfo, as a PKIMessage needs them."""

    digest_oids: frozenset[str]
    content_type: str
    content: bytes | None
    content_fault: str
    signer_info: SignerInfo
    attributes: Attributes
    signer: SignerCertificate | None
    signer_fault: str


def read_content_info(body: bytes, content_type: str, limits: tlv.Limits = tlv.LIMITS) -> Element:
    """Return the content of a ContentInfo of that type; raises `MessageError`."""
    fields = tlv.read(body, limits).fields()
    found = fields.take().oid()
    if found != content_type:
        raise MessageError(f"content type {found} where {content_type} is due")
    content = fields.take(_TAGGED_0).inner()
    fields.finish()
    return content


def write_content_info(content_type: str, content: bytes) -> bytes:
    """Return a ContentInfo."""
    return tlv.sequence(tlv.oid(content_type), tlv.explicit(0, content))


def read_signed_data(body: bytes, limits: tlv.Limits = tlv.LIMITS) -> SignedData:
    """Return the parts of a ContentInfo with SignedData; nothing is verified here. Raises `MessageError`."""
    fields = read_content_info(body, SIGNED_DATA, limits).fields()
    fields.take(tlv.INTEGER)  # version: follows from the rest, and devices get it wrong
    digests = fields.take(tlv.SET).children
    encapsulated = fields.take().fields()
    content_type = encapsulated.take().oid()
    content, fault = _read_content(encapsulated.optional(_TAGGED_0))
    encapsulated.finish()
    certificates = fields.optional(_TAGGED_0)
    crls = fields.optional(_TAGGED_1)
    signer_infos = fields.take(tlv.SET).children
    fields.finish()
    return SignedData(
        digest_oids=frozenset(read_algorithm(digest).oid for digest in digests),
        content_type=content_type,
        content=content,
        content_fault=fault,
        certificates=() if certificates is None else tuple(c for c in certificates.children if c.tag == tlv.SEQUENCE),
        crls=() if crls is None else tuple(c for c in crls.children if c.tag == tlv.SEQUENCE),
        signer_infos=signer_infos,
    )


def read_parts(body: bytes, limits: tlv.Limits = tlv.LIMITS) -> Parts:
    """Return the parts of SignedData with one SignerInfo that has signed attributes; raises `MessageError`."""
    data = read_signed_data(body, limits)
    if len(data.signer_infos) != 1:
        raise MessageError(f"{len(data.signer_infos)} SignerInfos where one is due")
    info = read_signer_info(data.signer_infos[0])
    if info.attributes is None:
        raise MessageError("no signed attributes")  # a signature over the content alone can be forged (threat S-17)
    attributes = read_attributes(info.attributes)
    signer, fault = find_signer(info, data.certificates)
    return Parts(data.digest_oids, data.content_type, data.content, data.content_fault, info, attributes, signer, fault)


def _read_content(wrapper: Element | None) -> tuple[bytes | None, str]:
    """Return eContent, and why there is none although something is there."""
    if wrapper is None:
        return None, ""
    try:
        return wrapper.inner().octets(), ""
    except LimitExceeded:
        raise
    except MessageError as error:
        return None, f"eContent: {error.detail}"


def read_signer_info(element: Element) -> SignerInfo:
    """Return a SignerInfo; raises `MessageError`. Unsigned attributes are passed over."""
    fields = element.fields()
    fields.take(tlv.INTEGER)
    sid = fields.take()
    if sid.tag == _KEY_IDENTIFIER:
        named: tuple[bytes, int] | bytes = sid.content
    else:
        named = read_issuer_and_serial(sid)
    digest = read_algorithm(fields.take())
    attributes = fields.optional(_TAGGED_0)
    algorithm = read_algorithm(fields.take())
    signature = fields.take().octets()
    fields.optional(_TAGGED_1)
    fields.finish()
    return SignerInfo(named, digest.oid, attributes, algorithm, signature)


def read_issuer_and_serial(element: Element) -> tuple[bytes, int]:
    """Return issuer DER and serial of an IssuerAndSerialNumber; raises `MessageError`."""
    fields = element.fields()
    issuer, serial = fields.take(tlv.SEQUENCE), fields.take(tlv.INTEGER)
    fields.finish()
    return issuer.normalise(), serial.integer()


def write_issuer_and_serial(certificate: SignerCertificate) -> bytes:
    """Return the IssuerAndSerialNumber that names a certificate, its serial octet for octet."""
    return tlv.sequence(certificate.issuer_der, certificate.serial_der)


def find_signer(signer_info: SignerInfo, certificates: Sequence[Element]) -> tuple[SignerCertificate | None, str]:
    """Return the one certificate that the sid names, or None and why (none or several: C-074, C-076)."""
    if len(certificates) > MAXIMUM_CERTIFICATES:
        raise LimitExceeded("too many certificates")
    found = []
    for element in certificates:
        try:
            certificate = read_certificate(element)
        except MessageError:
            continue  # an odd certificate beside the signer's is nobody's business
        if signer_info.names(certificate):
            found.append(certificate)
    if len(found) == 1:
        return found[0], ""
    return None, f"{len(found)} of {len(certificates)} certificates are the signer's"


def build_message(  # noqa: PLR0913 - one argument for each field of the message
    *,
    message_type: int,
    transaction_id: str,
    sender_nonce: bytes,
    content: bytes | None,
    signer: tuple[bytes, SigningKey],
    digest: Digest,
    signing_time: datetime | None,
    recipient_nonce: bytes | None = None,
    pki_status: int | None = None,
    fail_info: int | None = None,
    fail_info_text: str | None = None,
    certificates: Sequence[bytes] | None = None,
    pss: bool = False,
) -> bytes:
    """Return a signed PKIMessage as DER: attributes sorted, one private-key operation.

    `content` None leaves eContent out, b"" writes it with no octets. `signer` is the certificate DER and its key;
    `certificates` is the bag, the signer's alone by default. Raises ValueError for values that SCEP cannot carry.
    """
    attributes = Attributes(
        transaction_id=transaction_id,
        message_type=message_type,
        sender_nonce=sender_nonce,
        recipient_nonce=recipient_nonce,
        pki_status=pki_status,
        fail_info=fail_info,
        fail_info_text=fail_info_text,
        signing_time=signing_time,
        content_type=DATA,
        message_digest=digest_content(digest, content),
    )
    bag = (signer[0],) if certificates is None else certificates
    signed_attributes = write_attributes(attributes)
    signature_algorithm, signature = sign(signer[1], signed_attributes, digest, pss=pss)
    digest_algorithms, before_attributes = _write_constants(signer[0], digest)
    signer_info = tlv.sequence(
        before_attributes,
        tlv.retag(_TAGGED_0, signed_attributes),
        signature_algorithm,
        tlv.octet_string(signature),
    )
    signed_data = tlv.sequence(
        digest_algorithms,
        write_encapsulated(content),
        tlv.write(_TAGGED_0, *bag),
        tlv.write(tlv.SET, signer_info),
    )
    return write_content_info(SIGNED_DATA, signed_data)


@lru_cache(maxsize=64)  # few certificates sign here: those of the RAs, with the digest of the request
def _write_constants(certificate_der: bytes, digest: Digest) -> tuple[bytes, bytes]:
    """Return the contents of a SignedData up to digestAlgorithms, and of its SignerInfo up to digestAlgorithm."""
    algorithm = write_algorithm(digest.oid)
    named = write_issuer_and_serial(load_certificate(certificate_der))
    # Version 1 of a SignerInfo, since the sid is issuer and serial (RFC 5652 section 5.3).
    return _VERSION_1 + tlv.write(tlv.SET, algorithm), _VERSION_1 + named + algorithm


def write_encapsulated(content: bytes | None) -> bytes:
    """Return an EncapsulatedContentInfo of id-data; None leaves eContent out."""
    if content is None:
        return _NO_CONTENT
    return tlv.sequence(_DATA, tlv.explicit(0, tlv.octet_string(content)))


def digest_content(digest: Digest, content: bytes | None) -> bytes:
    """Return the digest of the eContent octets; an absent eContent counts as empty."""
    return digest.hasher(content or b"", usedforsecurity=False).digest()
