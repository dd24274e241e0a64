"""The HTTP form of SCEP (RFC 8894 section 4.1): query strings to operations, and back."""

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

import attrs

from scepd.message.errors import MessageError
from scepd.message.names import Operation

_OPERATIONS = {operation.value.lower().encode(): operation for operation in Operation}
_SPELLINGS = bytes.maketrans(b" -_", b"++/")


class QueryError(MessageError):
    """A query string that asks for nothing we know, or for two things at once: HTTP 400."""


@attrs.frozen
class Query:
    """What a query string asks for; `message` is the ident as text, `raw_message` the parameter as received."""

    operation: Operation
    message: str
    raw_message: bytes


def parse_query(raw_query: bytes, method: bytes) -> Query:
    """Return operation and message of the raw octets after the `?`; raises `QueryError`.

    Operation names match in any letter case. A GET without one asks for the capabilities, a POST without one is
    PKIOperation, and no POST is anything else.
    """
    name = unquote_to_bytes(_only(raw_query, b"operation"))
    raw_message = _only(raw_query, b"message")
    post = method == b"POST"
    assumed = Operation.PKIOperation if post else Operation.GetCACaps
    operation = _OPERATIONS.get(name.lower()) if name else assumed
    if operation is None or (post and operation is not Operation.PKIOperation):
        raise QueryError("unknown operation")
    return Query(operation, unquote_to_bytes(raw_message).decode("utf-8", "replace"), raw_message)


def _only(raw_query: bytes, name: bytes) -> bytes:
    """Return the raw value of a parameter, empty when absent; raises `QueryError` for two different ones."""
    values = {value for key, value in _pairs(raw_query) if key.lower() == name}
    if len(values) > 1:
        raise QueryError(f"parameter {name.decode()} with different values")
    return values.pop() if values else b""


def _pairs(raw_query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parameters; only `&` separates, since `;` may be part of an ident."""
    for part in raw_query.split(b"&"):
        key, _, value = part.partition(b"=")
        yield key, value


def decode_message(raw_message: bytes) -> bytes:
    """Return the PKIMessage of a GET; raises `QueryError`.

    One percent layer is removed. Then all spellings in the field are read: `+` that arrived as a space (iOS 11
    through servlets), the URL-safe alphabet (micromdm 2.1.0), line breaks (Cisco, strongSwan, sscep, libscep),
    missing padding.
    """
    text = unquote_to_bytes(raw_message).translate(_SPELLINGS, b"\r\n").rstrip(b"=")
    try:
        message = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise QueryError("message is no base64") from None
    if not message:
        raise QueryError("message missing")
    return message


def build_get(message: bytes) -> str:
    """Return the query string of a GET PKIOperation, every reserved character percent-encoded."""
    return f"operation={Operation.PKIOperation.value}&message={quote(base64.b64encode(message), safe='')}"
