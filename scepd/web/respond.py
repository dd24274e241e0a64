"""Writing an HTTP response: exact length, exact media type, nothing of the request echoed."""

from typing import TYPE_CHECKING

import attrs

from scepd.web.slices import stream

if TYPE_CHECKING:
    from scepd.web.request import ScepRequest

NO_STORE = b"no-store"
_NOT_MODIFIED = 304
WHOLE = 131_072  # octets of a body that are written in one piece
ALLOW = b"GET, HEAD, POST"
_TEXTS = {
    202: b"waits for approval, send it again later",
    400: b"bad request",
    401: b"client certificate needed",
    403: b"request refused",
    404: b"not found",
    405: b"method not allowed",
    408: b"request not complete in time",
    413: b"request body too large",
    414: b"request line too long",
    415: b"media type not supported",
    417: b"expectation not supported",
    429: b"too many requests, try again",
    431: b"request header too large",
    501: b"transfer coding not supported",
    503: b"service unavailable, try again",
    505: b"HTTP version not supported",
}
# RFC 9110 section 15.5.2 wants a challenge; no scheme is registered for what TLS has to carry.
_CHALLENGE = b"WWW-Authenticate: ClientCertificate\r\n"
# RFC 6585; Twisted would say "Unknown Status".
_PHRASES = {429: b"Too Many Requests", 431: b"Request Header Fields Too Large"}


@attrs.frozen
class Response:
    """A complete response; `content_type` goes out as it is, since clients compare it as a string."""

    body: bytes
    content_type: bytes = b"text/plain"
    status: int = 200
    cache_control: bytes = NO_STORE
    retry_after: int | None = None  # seconds
    allow: bytes | None = None
    fields: bytes = b""  # further header lines, each with its line end


def send(request: "ScepRequest", response: Response) -> None:
    """Write the response and finish the request; for a client that has gone, only account and log."""
    if request.finished:  # answered as overdue before
        return
    request.setResponseCode(response.status, _PHRASES.get(response.status))
    if request.gone:
        request.leave()
        return
    if response.status == _NOT_MODIFIED:  # its Content-Length is that of the body it leaves out (RFC 9110 section 8.6)
        request.answer(_head(request, response), b"")
    elif len(response.body) > WHOLE and request.method != b"HEAD":
        stream(request, _head(request, response), response.body)
    else:
        request.answer(_head(request, response), response.body)


# All values are ours, so that they need not be made safe one by one.
_HEAD = (
    b"%b %d %b\r\nServer: scepd\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
    b"Cache-Control: %b\r\nX-Content-Type-Options: nosniff\r\n"
)


def _head(request: "ScepRequest", response: Response) -> bytes:
    head = _HEAD % (
        request.clientproto,
        request.code,
        request.code_message,
        request.site.date(),
        response.content_type,
        len(response.body),
        response.cache_control,
    )
    if response.retry_after is not None:
        head += b"Retry-After: %d\r\n" % response.retry_after
    if response.allow is not None:
        head += b"Allow: %b\r\n" % response.allow
    head += response.fields
    if not request.persistent:
        head += b"Connection: close\r\n"
    return head + b"\r\n"


def refuse(
    request: "ScepRequest",
    status: int,
    *,
    retry_after: int | None = None,
    allow: bytes | None = None,
    text: bytes | None = None,
) -> None:
    """Answer with one line of static text and the request id, and close: nothing of the parser's opinion goes out."""
    request.persistent = False
    line = b"%s (request %s)\n" % (text or _TEXTS[status], request.origin.request_id.encode("ascii"))
    if status == 405 and allow is None:
        allow = ALLOW
    fields = _CHALLENGE if status == 401 else b""
    send(request, Response(line, status=status, retry_after=retry_after, allow=allow, fields=fields))
