"""The request line and header fields of HTTP/1.x (RFC 9112), read strictly: what two readers could frame differently is refused."""

import re

import attrs

from scepd.web.limits import HttpLimits

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"{1,128}):[\t ]*([\t\x20-\x7e\x80-\xff]*)")
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,10}")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_END = b"\r\n\r\n"

# Where a second one would let two readers disagree about framing or routing.
_SINGLE = frozenset({b"content-length", b"transfer-encoding", b"host", b"expect"})
METHODS = (b"GET", b"HEAD", b"POST")


class RequestRefused(Exception):  # noqa: N818 - the outcome of a request, as Reject is for a PKIMessage
    """A request that the HTTP layer refuses: the status that it is answered with, and why (log only)."""

    def __init__(self, status: int, cause: str) -> None:
        """Keep both."""
        super().__init__(status, cause)
        self.status = status
        self.cause = cause


@attrs.frozen
class Head:
    """A request line and its header fields; `length` is None without Content-Length."""

    method: bytes
    target: bytes
    version: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None
    chunked: bool
    persistent: bool
    expects_continue: bool


def find_head(buffer: bytearray, start: int, limits: HttpLimits) -> int:
    """Return where the head ends (its last empty line excluded), or -1 while it is incomplete.

    `start` is how many octets were searched before. Raises `RequestRefused` as soon as the head cannot become valid.
    """
    while buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2: empty lines before a request are overlooked
        del buffer[:2]
        start = 0
    if buffer and not buffer[:1].isalpha() and buffer != b"\r":
        raise RequestRefused(400, "not HTTP")
    end = buffer.find(_END, max(start - 3, 0))
    if _BARE_LF.search(buffer, max(start - 1, 0), end if end >= 0 else len(buffer)):
        raise RequestRefused(400, "bare LF")
    line = buffer.find(b"\r\n", 0, limits.request_line + 2)
    if line < 0 and len(buffer) > limits.request_line:
        raise RequestRefused(414, "request line too long")
    if line >= 0 and (end if end >= 0 else len(buffer)) - line > limits.header_fields:
        raise RequestRefused(431, "header too large")
    return end


def read_head(block: bytes, limits: HttpLimits) -> Head:
    """Read a head without its last empty line; raises `RequestRefused`."""
    line, *rest = block.split(b"\r\n")
    method, target, version = _read_request_line(line)
    if len(rest) > limits.header_count:
        raise RequestRefused(431, "too many header fields")
    fields = tuple(_read_field(field) for field in rest)
    singles = _singles(fields)
    if method not in METHODS:
        raise RequestRefused(405, "method not allowed")
    return Head(
        method=method,
        target=_origin_form(target),
        version=version,
        fields=fields,
        length=_read_length(singles, limits),
        chunked=_read_coding(singles, version),
        persistent=version == b"HTTP/1.1" and not _says_close(fields),
        expects_continue=_read_expectation(singles, version),
    )


def _read_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RequestRefused(400, "request line malformed")
    if match[3] != b"1" or match[4] not in b"01":
        raise RequestRefused(505, "HTTP version")
    return match[1], match[2], b"HTTP/1." + match[4]


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    """Return name and value of one field line; folding, a space before the colon and control octets are refused."""
    match = _FIELD.fullmatch(line)
    if match is None:
        raise RequestRefused(400, "header field malformed")
    return match[1], match[2].rstrip(b"\t ")


def _singles(fields: tuple[tuple[bytes, bytes], ...]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key not in _SINGLE:
            continue
        if key in found:
            raise RequestRefused(400, "header field repeated")
        found[key] = value
    return found


def _origin_form(target: bytes) -> bytes:
    """Return path and query of a target; RFC 9112 section 3.2.2: the absolute form is accepted, its host means nothing."""
    match = _ORIGIN.match(target)
    origin = target[match.end() :] if match else target
    if match and not origin.startswith(b"/"):
        origin = b"/" + origin
    if not origin.startswith(b"/") or b"#" in origin:
        raise RequestRefused(400, "request target malformed")
    return origin


def _read_length(singles: dict[bytes, bytes], limits: HttpLimits) -> int | None:
    value = singles.get(b"content-length")
    if value is None:
        return None
    if b"transfer-encoding" in singles:
        raise RequestRefused(400, "both Content-Length and Transfer-Encoding")
    if value.isdigit() and len(value.lstrip(b"0")) > len(str(limits.body)):
        raise RequestRefused(413, "body too large")
    if _LENGTH.fullmatch(value) is None:
        raise RequestRefused(400, "Content-Length malformed")
    if int(value) > limits.body:
        raise RequestRefused(413, "body too large")
    return int(value)


def _read_coding(singles: dict[bytes, bytes], version: bytes) -> bool:
    value = singles.get(b"transfer-encoding")
    if value is None:
        return False
    if version == b"HTTP/1.0":
        raise RequestRefused(400, "Transfer-Encoding in HTTP/1.0")
    if value.lower() != b"chunked":
        raise RequestRefused(501, "transfer coding")
    return True


def _read_expectation(singles: dict[bytes, bytes], version: bytes) -> bool:
    value = singles.get(b"expect")
    if value is None or version == b"HTTP/1.0":  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
        return False
    if value.lower() != b"100-continue":
        raise RequestRefused(417, "expectation")
    return True


def _says_close(fields: tuple[tuple[bytes, bytes], ...]) -> bool:
    return any(
        word.strip(b"\t ").lower() == b"close"
        for name, value in fields
        if name.lower() == b"connection"
        for word in value.split(b",")
    )
