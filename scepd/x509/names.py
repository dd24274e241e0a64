"""Distinguished names between values, text (RFC 4514) and DER; the rules for what a name may hold (RFC 5280)."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.name import _ASN1Type

from scepd.message import tlv
from scepd.records import Attribute, Name
from scepd.refusal import OperatorError, Reason, Reject
from scepd.x509.general_names import from_x509_general_name, general_names_from_extension, to_x509_general_name
from scepd.x509.strings import REFUSED_CATEGORIES, unsafe

__all__ = [
    "COMMON_NAME",
    "OIDS",
    "SHORT_NAMES",
    "check_attribute",
    "common_name",
    "encode",
    "from_text",
    "from_x509",
    "from_x509_general_name",
    "general_names_from_extension",
    "to_text",
    "to_x509",
    "to_x509_general_name",
]

COMMON_NAME = "2.5.4.3"
SERIAL_NUMBER = "2.5.4.5"
COUNTRY = "2.5.4.6"
UNSTRUCTURED_NAME = "1.2.840.113549.1.9.2"
EMAIL_ADDRESS = "1.2.840.113549.1.9.1"
DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25"
ORGANIZATIONAL_UNIT = "2.5.4.11"

# Short name -> (OID, most characters). Bounds: RFC 5280 appendix A.1; RFC 2985 for the PKCS#9 ones; RFC 4519's UID.
_ATTRIBUTES = {
    "CN": (COMMON_NAME, 64),
    "SN": ("2.5.4.4", 64),
    "serialNumber": (SERIAL_NUMBER, 64),
    "C": (COUNTRY, 2),
    "L": ("2.5.4.7", 128),
    "ST": ("2.5.4.8", 128),
    "STREET": ("2.5.4.9", 128),
    "O": ("2.5.4.10", 64),
    "OU": (ORGANIZATIONAL_UNIT, 64),
    "title": ("2.5.4.12", 64),
    "GN": ("2.5.4.42", 64),
    "initials": ("2.5.4.43", 64),
    "generationQualifier": ("2.5.4.44", 64),
    "dnQualifier": ("2.5.4.46", 64),
    "pseudonym": ("2.5.4.65", 128),
    "UID": ("0.9.2342.19200300.100.1.1", 256),
    "DC": (DOMAIN_COMPONENT, 63),
    "emailAddress": (EMAIL_ADDRESS, 255),
    "unstructuredName": (UNSTRUCTURED_NAME, 255),
    "unstructuredAddress": ("1.2.840.113549.1.9.8", 255),
}
OIDS: Mapping[str, str] = MappingProxyType({short: oid for short, (oid, _) in _ATTRIBUTES.items()})
SHORT_NAMES: Mapping[str, str] = MappingProxyType({oid: short for short, oid in OIDS.items()})
_BOUNDS = dict(_ATTRIBUTES.values())
_BY_LOWER_CASE = {short.lower(): oid for short, oid in OIDS.items()} | {
    "s": OIDS["ST"],
    "e": EMAIL_ADDRESS,
    "email": EMAIL_ADDRESS,
    "street": OIDS["STREET"],
}

PRINTABLE_STRING = 19
UTF8_STRING = 12
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
# RFC 5280 appendix A.1: these two are IA5String, those three PrintableString, the rest a DirectoryString.
_IA5 = frozenset({EMAIL_ADDRESS, DOMAIN_COMPONENT})
_PRINTABLE_ONLY = frozenset({COUNTRY, SERIAL_NUMBER, OIDS["dnQualifier"]})
_COUNTRY = re.compile("[A-Z]{2}")
_PLAIN = re.compile(r"[A-Za-z0-9._:@/-]+")  # nothing to escape, as in most names
_ESCAPED = frozenset('"+,;<>\\=')
# Attributes that a name may hold more than once; any other twice is a trick (threats S-53).
REPEATABLE = frozenset({ORGANIZATIONAL_UNIT, DOMAIN_COMPONENT})
_IDENTIFIERS = {oid: x509.ObjectIdentifier(oid) for oid in SHORT_NAMES}
_DOTTED = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,18})){1,30}")


def common_name(name: Name) -> str | None:
    """Return the first common name."""
    for attributes in name:
        for attribute in attributes:
            if attribute.oid == COMMON_NAME:
                return attribute.value
    return None


def to_x509(name: Name) -> x509.Name:
    """Return cryptography's form of a name; Reject(subject_refused) where RFC 5280 forbids it (C-286)."""
    return x509.Name(
        [x509.RelativeDistinguishedName([_to_attribute(attribute) for attribute in attributes]) for attributes in name]
    )


def _to_attribute(attribute: Attribute) -> x509.NameAttribute[str]:
    check_attribute(attribute)
    return x509.NameAttribute(_IDENTIFIERS[attribute.oid], attribute.value, _string_type(attribute))


def check_attribute(attribute: Attribute) -> None:
    """Raise Reject(subject_refused) for an attribute that no certificate may carry: type, length, characters.

    Lengths are counted in octets of UTF-8 for the common name (what OpenSSL-based and Windows readers agree on is
    64 octets), in characters otherwise.
    """
    bound = _BOUNDS.get(attribute.oid)
    if bound is None:
        raise Reject(Reason.subject_refused, f"attribute type {attribute.oid} is not known")
    short, value = SHORT_NAMES[attribute.oid], attribute.value
    fault = unsafe(value)
    if fault is not None:
        raise Reject(Reason.subject_refused, f"{short} {fault}")
    length = len(value.encode()) if attribute.oid == COMMON_NAME else len(value)
    if length > bound:
        raise Reject(Reason.subject_refused, f"{short} is longer than {bound}")
    if attribute.oid == COUNTRY and not _COUNTRY.fullmatch(value):
        raise Reject(Reason.subject_refused, "C is no two-letter country code")
    if attribute.oid in _PRINTABLE_ONLY and not _PRINTABLE.fullmatch(value):
        raise Reject(Reason.subject_refused, f"{short} is no PrintableString")
    if attribute.oid in _IA5 and not value.isascii():
        raise Reject(Reason.subject_refused, f"{short} is not ASCII")


def _string_type(attribute: Attribute) -> _ASN1Type:
    if attribute.oid in _IA5:
        return _ASN1Type.IA5String
    # Cisco IOS looks for the very subject that it sent: a PrintableString stays one.
    if attribute.oid in _PRINTABLE_ONLY or (
        attribute.tag == PRINTABLE_STRING and _PRINTABLE.fullmatch(attribute.value)
    ):
        return _ASN1Type.PrintableString
    return _ASN1Type.UTF8String


def encode(name: Name) -> bytes:
    """Return the DER of a name: UTF8String and PrintableString (IA5String where RFC 5280 demands it), bounds kept."""
    return tlv.sequence(*map(_encode_rdn, name))


def _encode_rdn(rdn: tuple[Attribute, ...]) -> bytes:
    if len({(attribute.oid, attribute.value) for attribute in rdn}) != len(rdn) or not rdn:
        raise Reject(Reason.subject_refused, "a part of the subject without attributes, or with one twice")
    return tlv.set_of([_encode_attribute(attribute) for attribute in rdn])


def _encode_attribute(attribute: Attribute) -> bytes:
    check_attribute(attribute)
    tag = _string_type(attribute).value
    return tlv.sequence(tlv.oid(attribute.oid), tlv.text(tag, attribute.value))


def from_x509(name: x509.Name) -> Name:
    """Return our form of cryptography's name; values that are octets become hex."""
    return tuple(
        tuple(
            Attribute(
                attribute.oid.dotted_string,
                attribute.value if isinstance(attribute.value, str) else attribute.value.hex(),
                attribute._type.value,  # noqa: SLF001 - the string type has no public name
            )
            for attribute in rdn
        )
        for rdn in name.rdns
    )


def to_text(name: Name) -> str:
    """Return the RFC 4514 text: the most specific RDN first, "CN=r1,O=Example"."""
    return ",".join("+".join(_to_pair(attribute) for attribute in attributes) for attributes in reversed(name))


def _to_pair(attribute: Attribute) -> str:
    return f"{SHORT_NAMES.get(attribute.oid, attribute.oid)}={_escape(attribute.value)}"


def _escape(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    last = len(value) - 1
    return "".join(
        _escape_character(character, edge=index in {0, last}, first=index == 0) for index, character in enumerate(value)
    )


def _escape_character(character: str, *, edge: bool, first: bool) -> str:
    if character in _ESCAPED or (character == " " and edge) or (character == "#" and first):
        return "\\" + character
    if unicodedata.category(character) in REFUSED_CATEGORIES:
        # A log line or a terminal must not be steered by a device's name.
        return "".join(f"\\{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))
    return character


def from_text(text: str) -> Name:
    """Return the name that an RFC 4514 text spells; short names are case-blind, dotted OIDs are taken too.

    Raises OperatorError: such texts come from the configuration and the command line.
    """
    if not text.strip():
        return ()
    return tuple(tuple(_from_pair(pair) for pair in rdn) for rdn in reversed(list(_split(text))))


def _split(text: str) -> Iterator[list[str]]:
    """Yield the RDNs as lists of raw pairs: commas and plus signs split unless escaped."""
    pairs, start, index = [], 0, 0
    while index < len(text):
        if text[index] == "\\":
            index += 2
            continue
        if text[index] in ",+":
            pairs.append(text[start:index])
            start = index + 1
            if text[index] == ",":
                yield pairs
                pairs = []
        index += 1
    pairs.append(text[start:])
    yield pairs


def _from_pair(pair: str) -> Attribute:
    word, equals, raw = pair.partition("=")
    word = word.strip()
    oid = _BY_LOWER_CASE.get(word.lower(), word)
    if not equals or not _DOTTED.fullmatch(oid):
        raise OperatorError(f"{pair.strip()!r} is no attribute of a name", 'write "CN=r1,O=Example,C=CH"')
    attribute = Attribute(oid, _unescape(raw))
    if oid in SHORT_NAMES:
        try:
            check_attribute(attribute)
        except Reject as refusal:
            raise OperatorError(f"in {pair.strip()!r}: {refusal.detail}", 'write "CN=r1,O=Example,C=CH"') from None
    return attribute


_ESCAPE_SEQUENCES = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)


def _unescape(raw: str) -> str:
    stripped = raw.lstrip(" ")
    while stripped.endswith(" ") and not stripped.endswith("\\ "):
        stripped = stripped[:-1]

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return bytes.fromhex(match[1].replace("\\", "")).decode("utf-8", "replace")
        return match[2]

    return _ESCAPE_SEQUENCES.sub(replace, stripped)
