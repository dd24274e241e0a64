"""subjectAltNames between DER, values and cryptography's classes (RFC 5280 section 4.2.1.6)."""

import ipaddress

from cryptography import x509

from scepd.message import tlv
from scepd.message.errors import MessageError
from scepd.records import GeneralName
from scepd.refusal import Reason, Reject
from scepd.x509.strings import is_absolute_uri, is_host_name, is_mailbox, unsafe

UPN = "1.3.6.1.4.1.311.20.2.3"  # [MS-WCCE] section 2.2.2.7.5

# What an operator or a service may write; directory names and registered identifiers no certificate of ours gets.
NAME_KINDS = ("dns", "ip", "email", "uri", "upn")

_MAXIMUM_NAMES = 100
_STRICT = tlv.Limits(size=65_536, elements=2_048, depth=16, ber_depth=0)
# GeneralName's context tags.
_OTHER, _EMAIL, _DNS, _DIRECTORY, _URI, _IP, _REGISTERED = 0xA0, 0x81, 0x82, 0xA4, 0x86, 0x87, 0x88


def general_names_from_extension(value_der: bytes) -> tuple[GeneralName, ...]:
    """Return the names in a subjectAltName extension value; host names in lower case.

    Reject(name_refused) for anything but well-formed names of the known kinds (threats S-54, S-56).
    """
    try:
        elements = tlv.read(value_der, _STRICT).expect(tlv.SEQUENCE).children
        if not 0 < len(elements) <= _MAXIMUM_NAMES:
            raise Reject(Reason.name_refused, f"{len(elements)} alternative names")
        return tuple(_read(element) for element in elements)
    except (MessageError, UnicodeDecodeError) as error:
        raise Reject(Reason.name_refused, f"unreadable alternative name: {error}") from None


def _read(element: tlv.Element) -> GeneralName:
    tag = element.tag
    if tag == _IP:
        return GeneralName("ip", _address(element.content))
    if tag in {_DNS, _EMAIL, _URI}:
        return _read_text(tag, element.content.decode("ascii"))
    if tag == _OTHER:
        return GeneralName("upn", _principal(element))
    if tag == _DIRECTORY:
        return GeneralName("directory", element.inner().der.hex())
    if tag == _REGISTERED:
        return GeneralName("registered_id", tlv.decode_oid(element.content))
    raise Reject(Reason.name_refused, f"alternative name of type {tag & 0x1F}")


def _address(octets: bytes) -> str:
    try:
        return str(ipaddress.ip_address(octets))
    except ValueError:
        raise Reject(Reason.name_refused, f"IP address of {len(octets)} octets") from None


def _read_text(tag: int, text: str) -> GeneralName:
    if tag == _DNS and is_host_name(text):
        return GeneralName("dns", text.lower())
    if tag == _EMAIL and is_mailbox(text):
        local, _, host = text.rpartition("@")
        return GeneralName("email", f"{local}@{host.lower()}")
    if tag == _URI and is_absolute_uri(text):
        return GeneralName("uri", text)
    raise Reject(Reason.name_refused, f"alternative name {text[:100]!r} is malformed")


def _principal(element: tlv.Element) -> str:
    """Return the user principal name of an otherName (a UTF8String); no other otherName is known."""
    fields = tlv.Fields(element.children)
    kind, value = fields.take().oid(), fields.take(0xA0).inner()
    fields.finish()
    if kind != UPN or value.tag != tlv.UTF8_STRING:
        raise Reject(Reason.name_refused, f"otherName of type {kind}")
    text = value.text()
    fault = unsafe(text)
    if fault is not None:
        raise Reject(Reason.name_refused, f"user principal name {fault}")
    return text


def to_x509_general_name(name: GeneralName) -> x509.GeneralName:
    """Return cryptography's form; Reject(name_refused) for a kind that is never certified (directory names)."""
    if name.kind == "dns":
        return x509.DNSName(name.value)
    if name.kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(name.value))
    if name.kind == "email":
        return x509.RFC822Name(name.value)
    if name.kind == "uri":
        return x509.UniformResourceIdentifier(name.value)
    if name.kind == "upn":
        return x509.OtherName(x509.ObjectIdentifier(UPN), tlv.utf8(name.value))
    if name.kind == "registered_id":
        return x509.RegisteredID(x509.ObjectIdentifier(name.value))
    raise Reject(Reason.name_refused, f"{name.kind} names are not certified")


def general_name_from_text(text: str) -> GeneralName | None:
    """Return a name in words ("dns:host") as a certificate would have it; None for what is none."""
    kind, _, value = text.partition(":")
    if kind not in NAME_KINDS:
        return None
    try:
        written = x509.SubjectAlternativeName([to_x509_general_name(GeneralName(kind, value))]).public_bytes()
        return general_names_from_extension(written)[0]
    except (ValueError, Reject):
        return None


def general_names_of(certificate: x509.Certificate) -> tuple[GeneralName, ...]:
    """Return the names of a certificate, as they are written there; ValueError for a kind that we never certify."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(map(from_x509_general_name, extension.value))


def from_x509_general_name(name: x509.GeneralName) -> GeneralName:
    """Return our form of a name that cryptography has read; ValueError for a kind that we never certify."""
    if isinstance(name, x509.DNSName):
        return GeneralName("dns", name.value)
    if isinstance(name, x509.IPAddress):
        return GeneralName("ip", str(name.value))
    if isinstance(name, x509.RFC822Name):
        return GeneralName("email", name.value)
    if isinstance(name, x509.UniformResourceIdentifier):
        return GeneralName("uri", name.value)
    if isinstance(name, x509.RegisteredID):
        return GeneralName("registered_id", name.value.dotted_string)
    if isinstance(name, x509.OtherName) and name.type_id.dotted_string == UPN:
        return GeneralName("upn", tlv.read(name.value, _STRICT).text())
    raise ValueError(f"{type(name).__name__} is not certified")
