"""What CertPoll, GetCert and GetCRL carry: IssuerAndSubject and IssuerAndSerialNumber (RFC 8894 sections 3.3.3, 3.3.4)."""

from scepd.message import tlv
from scepd.message.certificate import MAXIMUM_SERIAL
from scepd.message.errors import MessageError
from scepd.message.tlv import Element
from scepd.refusal import Reason, Reject

_LIMITS = tlv.Limits(size=16_384, elements=512, ber_depth=0)


def build_issuer_and_subject(issuer_der: bytes, subject_der: bytes) -> bytes:
    """Return an IssuerAndSubject of two encoded names (RFC 8894 section 3.3.3)."""
    return tlv.sequence(issuer_der, subject_der)


def build_issuer_and_serial(issuer_der: bytes, serial: int) -> bytes:
    """Return an IssuerAndSerialNumber of an encoded name and a serial number (RFC 5652 section 10.2.4)."""
    return tlv.sequence(issuer_der, tlv.integer(serial))


def parse_issuer_and_serial(plaintext: bytes) -> tuple[bytes, int]:
    """Return issuer DER and serial of an IssuerAndSerialNumber.

    Raises `Reject(lookup_unreadable)` for anything else: other structures, octets left over, BER and integers that
    are not in their shortest form, serials below zero or longer than a certificate's.
    """
    try:
        return _read(tlv.read(plaintext, _LIMITS))
    except MessageError as error:
        raise Reject(Reason.lookup_unreadable, f"issuer and serial number: {error.detail}") from None


def _read(element: Element) -> tuple[bytes, int]:
    fields = element.fields()
    issuer, number = fields.take(tlv.SEQUENCE), fields.take(tlv.INTEGER)
    fields.finish()
    if any(rdn.tag != tlv.SET for rdn in issuer.children):
        raise MessageError("issuer that is no name")
    serial = number.integer()
    if serial < 0 or len(number.content) > MAXIMUM_SERIAL or number.der != tlv.integer(serial):
        raise MessageError("serial number negative, too long or not in its shortest form")
    return issuer.der, serial
