"""The signed attributes of a PKIMessage (RFC 8894 section 3.2.1, RFC 5652 section 11)."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import attrs

from scepd.message import names, tlv
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.tlv import Element
from scepd.refusal import FailInfo

MAXIMUM_ATTRIBUTES = 16
MAXIMUM_TRANSACTION_ID = 255  # characters
MAXIMUM_NONCE = 64  # octets
MAXIMUM_FAIL_INFO_TEXT = 256  # octets

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,2})", re.ASCII)
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]{1,255}", re.ASCII)
_TRANSACTION_ID_TAGS = frozenset({tlv.PRINTABLE_STRING, tlv.UTF8_STRING, tlv.IA5_STRING})
KNOWN_ATTRIBUTES: Mapping[bytes, str] = {  # by the DER of the OID
    tlv.oid(oid): oid
    for oid in (
        names.CONTENT_TYPE,
        names.MESSAGE_DIGEST,
        names.SIGNING_TIME,
        names.MESSAGE_TYPE,
        names.PKI_STATUS,
        names.FAIL_INFO,
        names.SENDER_NONCE,
        names.RECIPIENT_NONCE,
        names.TRANSACTION_ID,
        names.FAIL_INFO_TEXT,
    )
}


@attrs.frozen
class Attributes:
    """What the signed attributes say; those that a reader may do without are None when absent or unreadable."""

    transaction_id: str
    message_type: int
    sender_nonce: bytes = b""
    recipient_nonce: bytes | None = None
    pki_status: int | None = None
    fail_info: int | None = None
    fail_info_text: str | None = None
    signing_time: datetime | None = None
    content_type: str | None = None
    message_digest: bytes | None = None


def read_attributes(element: Element) -> Attributes:
    """Return the attributes; raises `MessageError` unless each is there at most once, with one value.

    transactionID and messageType must be there and well-formed; a missing senderNonce is tolerated.
    """
    return read_values(_values(element))


def read_values(values: Mapping[str, Element]) -> Attributes:
    """Return the attributes from the one value of each by its OID; raises as `read_attributes` does."""
    return Attributes(
        transaction_id=_transaction_id(values.get(names.TRANSACTION_ID)),
        message_type=_message_type(values.get(names.MESSAGE_TYPE)),
        sender_nonce=_sender_nonce(values.get(names.SENDER_NONCE)),
        recipient_nonce=_octets(values.get(names.RECIPIENT_NONCE)),
        pki_status=_number(values.get(names.PKI_STATUS)),
        fail_info=_number(values.get(names.FAIL_INFO)),
        fail_info_text=_text(values.get(names.FAIL_INFO_TEXT)),
        signing_time=_time(values.get(names.SIGNING_TIME)),
        content_type=_oid(values.get(names.CONTENT_TYPE)),
        message_digest=_octets(values.get(names.MESSAGE_DIGEST)),
    )


def write_attributes(attributes: Attributes) -> bytes:
    """Return the attributes as a DER SET, the octets that are signed; raises ValueError for what SCEP cannot say."""
    if not _PRINTABLE.fullmatch(attributes.transaction_id):
        raise ValueError("transactionID is no PrintableString of 1 to 255 characters")
    said = [
        _write_value(names.TRANSACTION_ID, tlv.PRINTABLE_STRING, attributes.transaction_id.encode("ascii")),
        _write_number(names.MESSAGE_TYPE, attributes.message_type),
        _write_value(names.SENDER_NONCE, tlv.OCTET_STRING, attributes.sender_nonce),
    ]
    if attributes.recipient_nonce is not None:
        said.append(_write_value(names.RECIPIENT_NONCE, tlv.OCTET_STRING, attributes.recipient_nonce))
    if attributes.pki_status is not None:
        said.append(_write_number(names.PKI_STATUS, attributes.pki_status))
    if attributes.fail_info is not None:
        said.append(_write_number(names.FAIL_INFO, FailInfo(attributes.fail_info)))
    if attributes.fail_info_text is not None:
        said.append(_write(names.FAIL_INFO_TEXT, tlv.utf8(_bounded(attributes.fail_info_text))))
    if attributes.signing_time is not None:
        time = tlv.time(attributes.signing_time)
        said.append(_write_value(names.SIGNING_TIME, time[0], time[2:]))
    if attributes.content_type is not None:
        said.append(_write_oid(names.CONTENT_TYPE, attributes.content_type))
    if attributes.message_digest is not None:
        said.append(_write_value(names.MESSAGE_DIGEST, tlv.OCTET_STRING, attributes.message_digest))
    return tlv.set_of(said)


def _write(oid: str, value: bytes) -> bytes:
    return tlv.sequence(tlv.oid(oid), tlv.write(tlv.SET, value))


def _write_value(oid: str, tag: int, value: bytes) -> bytes:
    return _head(oid, tag, len(value)) + value


@lru_cache(maxsize=512)  # of each attribute few lengths; of the transactionID at most 255
def _head(oid: str, tag: int, length: int) -> bytes:
    """Return an attribute of one value up to that value's octets."""
    whole = _write(oid, tlv.write(tag, bytes(length)))
    return whole[: len(whole) - length]


@lru_cache(maxsize=64)
def _write_number(oid: str, number: int) -> bytes:
    """Return an attribute of a decimal number; the replies of a server know a dozen of them."""
    return _write(oid, tlv.printable(str(int(number))))


@lru_cache(maxsize=8)
def _write_oid(oid: str, value: str) -> bytes:
    return _write(oid, tlv.oid(value))


def _values(element: Element) -> dict[str, Element]:
    """Return the one value of each known attribute by its OID; unknown attributes are passed over."""
    attributes = element.children
    if len(attributes) > MAXIMUM_ATTRIBUTES:
        raise LimitExceeded("too many signed attributes")
    values: dict[str, Element] = {}
    for attribute in attributes:
        parts = attribute.parts()
        if len(parts) != 2:
            raise MessageError("signed attribute not of two parts")
        key, value = parts
        oid = KNOWN_ATTRIBUTES.get(key.der)
        if oid is None:
            key.expect(tlv.OID)
            continue
        if oid in values:
            raise MessageError(f"signed attribute {oid} twice")
        values[oid] = value.expect(tlv.SET).inner()
    return values


def _transaction_id(value: Element | None) -> str:
    """Return the transactionID: 1 to 255 characters of PrintableString, in whatever string type (C-083)."""
    if value is None:
        raise MessageError("transactionID missing")
    if value.tag not in _TRANSACTION_ID_TAGS:
        raise MessageError("transactionID is no PrintableString")
    text = value.text()
    if not _PRINTABLE.fullmatch(text):
        raise MessageError("transactionID is not 1 to 255 characters of PrintableString")
    return text


def _message_type(value: Element | None) -> int:
    """Return the messageType, a decimal PrintableString; an INTEGER is tolerated (C-085)."""
    if value is None:
        raise MessageError("messageType missing")
    number = _number(value)
    if number is None:
        raise MessageError("messageType unreadable")
    return number


def _sender_nonce(value: Element | None) -> bytes:
    nonce = b"" if value is None else value.octets()
    if len(nonce) > MAXIMUM_NONCE:
        raise MessageError("senderNonce too long")
    return nonce


def _number(value: Element | None) -> int | None:
    """Return a number of up to three digits, None for anything else (threat S-130: never a bare int())."""
    if value is None or value.tag not in {tlv.PRINTABLE_STRING, tlv.INTEGER}:
        return None
    if value.tag == tlv.INTEGER:
        number = int.from_bytes(value.content, "big", signed=True) if len(value.content) in {1, 2} else -1
        return number if 0 <= number <= 999 else None
    text = value.content.decode("latin-1")
    return int(text) if _DECIMAL.fullmatch(text) else None


def _octets(value: Element | None) -> bytes | None:
    return value.content if value is not None and value.tag == tlv.OCTET_STRING else None


def _oid(value: Element | None) -> str | None:
    try:
        return None if value is None else value.oid()
    except MessageError:
        return None


def _time(value: Element | None) -> datetime | None:
    try:
        return None if value is None else value.time()
    except MessageError:
        return None


def _text(value: Element | None) -> str | None:
    try:
        return None if value is None else _bounded(value.text())
    except ValueError:
        return None


def _bounded(text: str) -> str:
    if len(text.encode()) > MAXIMUM_FAIL_INFO_TEXT:
        raise ValueError("failInfoText too long")
    return text
