"""Give an inherited socket to the reactor: plain, under TLS, behind a proxy."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from scepd.app.gates import make_proxy_gate
from scepd.app.parcel import Inherited
from scepd.config.listener_settings import ClientCertificates, ListenerSettings, TlsSettings
from scepd.ports import Clock
from scepd.profile.networks import read_networks
from scepd.refusal import OperatorError
from scepd.web.client_address import Approach, nobody
from scepd.web.proxy_protocol import ProxyProtocolFactory
from scepd.web.watched import Watched

_OWNER_ONLY = 0o600

_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

# TLS 1.2 as BCP 195 (RFC 9325 section 4.2) wants it. Windows before 10 has GCM with ECDSA certificates only, hence CBC
# with SHA-2 beside it.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+SHA384:ECDHE+SHA256:!aNULL:!eNULL:!SHA1:!MD5"


_ASKING = {"optional": SSL.VERIFY_PEER, "required": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT}
_HINTS_MAXIMUM = 100  # names of CAs in a handshake; none at all means any

Hints = Callable[[], tuple[x509.Certificate, ...]]


def no_hints() -> tuple[x509.Certificate, ...]:
    """Name no CA in the handshake."""
    return ()


def tls_context(
    settings: TlsSettings, certificates: ClientCertificates = "off", hints: tuple[x509.Certificate, ...] = ()
) -> SSL.Context:
    """Return the server context of a listener: TLS 1.2 or 1.3 up, no renegotiation, no compression, http/1.1 only.

    Sessions are never resumed: a resumed one would carry a certificate that nobody presented (threats S-96). `hints`
    are the CAs that a client may choose its certificate by.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_MINIMUM[settings.minimum])
    context.set_options(
        SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(_CIPHERS)
    # MemoryDenyWriteExecute= leaves no room for the callback: without ALPN clients speak HTTP/1.1 all the same.
    with suppress(MemoryError):
        context.set_alpn_select_callback(_choose_protocol)
    certificate, *chain = x509.load_pem_x509_certificates(settings.certificate_pem)
    context.use_certificate(certificate)
    for above in chain:
        context.add_extra_chain_cert(above)
    key: Any = load_pem_private_key(settings.key_pem.reveal().encode(), None)
    context.use_privatekey(key)
    context.check_privatekey()
    if certificates != "off":
        _ask_certificate(context, certificates, hints)
    return context


def _ask_certificate(
    context: SSL.Context, certificates: ClientCertificates, hints: tuple[x509.Certificate, ...]
) -> None:
    """Have TLS prove that the client holds the key of its certificate; whom that lets in, the profile's gate decides."""
    try:
        context.set_verify(_ASKING[certificates], _accept)
    except MemoryError:
        raise OperatorError(
            "client certificates need a callback, for which MemoryDenyWriteExecute= leaves no room",
            "cp etc/systemd/drop-ins/client-certificates.conf /etc/systemd/system/scepd.service.d/; "
            "systemctl daemon-reload; systemctl restart scepd",
        ) from None
    for anchor in hints if len(hints) <= _HINTS_MAXIMUM else ():
        context.add_client_ca(anchor)


def _accept(*_judgement: object) -> bool:
    # OpenSSL's opinion of the chain; the proof of possession, which is no opinion, comes after it and does not ask here.
    return True


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    # A client that names other protocols only is served without ALPN: it may still speak HTTP/1.
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


@implementer(IOpenSSLServerConnectionCreator)
class _Connections:
    """Makes connections from one context, and a new context when the hints have changed."""

    def __init__(self, make: Callable[[tuple[x509.Certificate, ...]], SSL.Context], hints: Hints) -> None:
        self._make = make
        self._hints = hints
        self._hinted = hints()
        self._context = make(self._hinted)

    def serverConnectionForTLS(self, _protocol: Any) -> SSL.Connection:  # noqa: N802 - Twisted's name
        hinted = self._hints()
        if hinted != self._hinted:
            self._hinted, self._context = hinted, self._make(hinted)
        return SSL.Connection(self._context, None)


def with_tls(
    settings: TlsSettings, site: Any, certificates: ClientCertificates = "off", hints: Hints = no_hints
) -> TLSMemoryBIOFactory:
    """Put a site under TLS: memory BIOs, since the socket belongs to the supervisor."""
    connections: Any = _Connections(lambda anchors: tls_context(settings, certificates, anchors), hints)
    return TLSMemoryBIOFactory(connections, isClient=False, wrappedFactory=site, clock=site.reactor)


def approach_of(listener: ListenerSettings, clock: Clock, seconds: Callable[[], float] = time.monotonic) -> Approach:
    """Return how clients come to a listener."""
    proxies = nobody
    if listener.trusted_proxies is not None:
        networks = Watched(listener.trusted_proxies, read_networks, seconds=seconds)
        proxies = lambda: networks.value  # noqa: E731 - a function of the file's state
    asks = listener.client_certificates != "off" or listener.client_certificate_header is not None
    # A proxy that speaks the PROXY protocol passes octets on: every header in them is the client's own.
    certificate_header = None if listener.proxy_protocol else listener.client_certificate_header
    return Approach(
        proxies=proxies,
        address_header=_header(listener.client_address_header),
        certificate_header=_header(certificate_header),
        asks_certificate=asks and listener.tls is not None,  # never on plain HTTP
        proxy_gate=None if listener.proxy_trust is None else make_proxy_gate(listener.proxy_trust, clock, seconds),
    )


def _header(name: str | None) -> bytes | None:
    return None if name is None else name.lower().encode("ascii")


def check_listener(listener: ListenerSettings) -> None:
    """Raise OperatorError for a listener whose TLS this process cannot serve."""
    if listener.tls is not None:
        tls_context(listener.tls, listener.asks)


def make_factory(listener: ListenerSettings, site: Any, hints: Hints = no_hints) -> Any:
    """Return what a listener's sockets are served by: its site under TLS, after the PROXY header, as it says.

    Raises OperatorError where TLS cannot ask for certificates.
    """
    factory = site
    if listener.tls is not None:
        factory = with_tls(listener.tls, site, listener.asks, _with_proxies(hints, site.approach))
    return ProxyProtocolFactory(factory, site.approach, site.reactor) if listener.proxy_protocol else factory


def _with_proxies(hints: Hints, approach: Approach) -> Hints:
    """Return hints that name the CAs of the proxies too: some clients show no certificate of another CA."""
    gate = approach.proxy_gate
    return hints if gate is None else lambda: tuple(dict.fromkeys((*hints(), *gate.anchors)))


class UnixPort(unix.Port):
    """A listening Unix socket that belongs to somebody else: it keeps its mode and its name when this port closes."""

    # shutdown(2) would close the ear of every process that shares the socket; tcp.Port knows that, unix.Port does not.
    _shouldShutdown = False

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Close the descriptor; `unix.Port` would unlink the name, which the next process listens on."""
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call]


def adopt(reactor: Any, inherited: Inherited, factory: Any, *, mode: int = _OWNER_ONLY) -> Any:
    """Listen on an inherited, non-blocking socket; its descriptor is taken over. Returns the IListeningPort.

    A Unix socket gets that mode: who may connect to it.
    """
    if inherited.family == socket.AF_UNIX:
        # As adoptStreamPort does it, which knows no other class and would open the socket to everybody.
        port: Any = UnixPort._fromListeningDescriptor(reactor, inherited.descriptor, factory)  # type: ignore[no-untyped-call]  # noqa: SLF001
        port.mode = mode
        port.startListening()
    else:
        port = reactor.adoptStreamPort(inherited.descriptor, inherited.family, factory)
    os.close(inherited.descriptor)
    return port
