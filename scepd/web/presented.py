"""The certificate that a client presented: to our own TLS, or to that of a proxy before us (threats S-100)."""

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from OpenSSL import crypto

from scepd.refusal import Unavailable
from scepd.web.client_certificate import Gate
from scepd.x509.client import ClientFault, ClientRefused

if TYPE_CHECKING:
    from scepd.web.request import ScepRequest

_CLIENT_CERT_CHAIN = b"client-cert-chain"  # RFC 9440, as Client-Cert
_SSL_CLIENT_CERT = b"x-ssl-client-cert"
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]{1,43000}={0,2}):")  # RFC 8941 section 3.3.5
_MAXIMUM_CHAIN = 10
_RETRY = 60  # seconds, until an operator may have mended the proxy


async def presented_certificates(request: "ScepRequest") -> tuple[bytes, ...]:
    """Return what the client presented, its own certificate first; untrusted input, empty where it presented none.

    From a trusted proxy it is the header's, never the certificate of the proxy itself, which proves the proxy. Raises
    `ClientRefused`, `Unavailable` for a proxy that proves nothing.
    """
    approach = request.site.approach
    if approach.certificate_header is None or not approach.is_proxy(request.peer):
        return _shown(request)
    if approach.proxy_gate is not None:
        await _admit_proxy(approach.proxy_gate, _shown(request))
    return _forwarded(request, approach.certificate_header)


async def _admit_proxy(gate: Gate, shown: tuple[bytes, ...]) -> None:
    """Raise `Unavailable` (proxy_certificate_missing and the like) for who only has a proxy's address.

    The client behind it is not to blame, so that no client is refused for it.
    """
    try:
        await gate.admit(shown)
    except ClientRefused as refused:
        raise Unavailable(f"proxy_certificate_{refused.fault.value}", _RETRY) from None


def _shown(request: "ScepRequest") -> tuple[bytes, ...]:
    """Return what the peer showed to our own TLS."""
    transport: Any = request.transport
    own = transport.getPeerCertificate()
    if own is None:
        return ()
    # On a server the chain leaves out the peer's own certificate.
    hints = transport.getHandle().get_peer_cert_chain() or ()
    return tuple(dict.fromkeys(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in (own, *hints)))


def _forwarded(request: "ScepRequest", header: bytes) -> tuple[bytes, ...]:
    values = request.requestHeaders.getRawHeaders(header) or [b""]
    if len(values) != 1:
        raise ClientRefused(ClientFault.unreadable, "header repeated")
    if not values[0]:
        return ()
    if header == _SSL_CLIENT_CERT:
        return (_read_escaped(values[0]),)
    chain = b",".join(request.requestHeaders.getRawHeaders(_CLIENT_CERT_CHAIN) or [])
    members = [member.strip(b"\t ") for member in chain.split(b",")] if chain else []
    return tuple(_read_byte_sequence(member) for member in (values[0], *members[:_MAXIMUM_CHAIN]))


def _read_byte_sequence(value: bytes) -> bytes:
    match = _BYTE_SEQUENCE.fullmatch(value)
    if match is None:
        raise ClientRefused(ClientFault.unreadable, "header malformed")
    return _decode(match[1])


def _read_escaped(value: bytes) -> bytes:
    """Return the DER of percent-encoded PEM (nginx: $ssl_client_escaped_cert) or of bare base64 (HAProxy: ssl_c_der)."""
    text = unquote_to_bytes(value)
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    if begin not in text:
        return _decode(text)
    inside, found, rest = text.partition(begin)[2].partition(end)
    if not found or rest.strip():
        raise ClientRefused(ClientFault.unreadable, "header malformed")
    return _decode(b"".join(inside.split()))


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ClientRefused(ClientFault.unreadable, "header malformed") from None
