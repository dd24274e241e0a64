"""The certificate that a client presented: to our own TLS, or to that of a proxy before us (threats S-100)."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cryptography import x509
from OpenSSL import crypto

from scepd.ports import Clock
from scepd.refusal import Unavailable
from scepd.web.client_certificate import Proofs
from scepd.x509.client import ClientFault, ClientRefused, ClientTrust

if TYPE_CHECKING:
    from scepd.web.request import ScepRequest

_CLIENT_CERT_CHAIN = b"client-cert-chain"  # RFC 9440, as Client-Cert
_SSL_CLIENT_CERT = b"x-ssl-client-cert"
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]{1,43000}={0,2}):")  # RFC 8941 section 3.3.5
_MAXIMUM_CHAIN = 10
_RETRY = 60  # seconds, until an operator may have mended the proxy


class ProxyProof:
    """Whether a peer with a proxy's address is one: by the certificate that it shows of itself."""

    def __init__(self, trust: Callable[[], ClientTrust | None], clock: Clock) -> None:
        """Take the anchors of the proxies' certificates at each moment; None: never readable."""
        self._trust = trust
        self._clock = clock
        self._proofs = Proofs()

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The anchors of this moment, whose names are hinted at in the handshake."""
        trust = self._trust()
        return () if trust is None else trust.bundle.certificates

    def require(self, shown: tuple[bytes, ...]) -> None:
        """Raise `Unavailable` (proxy_certificate_missing and the like) unless that is a proxy's certificate with its chain.

        The client behind it is not to blame, so that no client is refused for it.
        """
        trust = self._trust()
        if trust is None:
            raise Unavailable("proxy_trust_unreadable", _RETRY)
        try:
            self._proofs.of(shown, trust, self._clock.now())
        except ClientRefused as refused:
            raise Unavailable(f"proxy_certificate_{refused.fault.value}", _RETRY) from None


def presented_certificates(request: "ScepRequest") -> tuple[bytes, ...]:
    """Return what the client presented, its own certificate first; untrusted input, empty where it presented none.

    From a trusted proxy it is the header's, never the certificate of the proxy itself, which proves the proxy. Raises
    `ClientRefused`, `Unavailable` for a proxy that proves nothing.
    """
    approach = request.site.approach
    if approach.certificate_header is None or not approach.is_proxy(request.peer):
        return _shown(request)
    if approach.proxy_proof is not None:
        approach.proxy_proof.require(_shown(request))
    return _forwarded(request, approach.certificate_header)


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
