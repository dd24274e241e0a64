"""Give an inherited socket to the reactor, plain or under TLS."""

import os
import socket
from contextlib import suppress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from scepd.app.parcel import Inherited
from scepd.config.settings import TlsSettings

_OWNER_ONLY = 0o600

_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

# TLS 1.2 as BCP 195 (RFC 9325 section 4.2) wants it. Windows before 10 has GCM with ECDSA certificates only, hence CBC
# with SHA-2 beside it.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+SHA384:ECDHE+SHA256:!aNULL:!eNULL:!SHA1:!MD5"


def tls_context(settings: TlsSettings) -> SSL.Context:
    """Return the server context of a listener: TLS 1.2 or 1.3 up, no renegotiation, no compression, http/1.1 only."""
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
    return context


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    # A client that names other protocols only is served without ALPN: it may still speak HTTP/1.
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


@implementer(IOpenSSLServerConnectionCreator)
class _Connections:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, _protocol: Any) -> SSL.Connection:  # noqa: N802 - Twisted's name
        return SSL.Connection(self._context, None)


def with_tls(settings: TlsSettings, factory: Any) -> TLSMemoryBIOFactory:
    """Put a factory under TLS: memory BIOs, since the socket belongs to the supervisor."""
    connections: Any = _Connections(tls_context(settings))
    return TLSMemoryBIOFactory(connections, isClient=False, wrappedFactory=factory)


class UnixPort(unix.Port):
    """A listening Unix socket that belongs to somebody else: it keeps its mode and its name when this port closes."""

    # shutdown(2) would close the ear of every process that shares the socket; tcp.Port knows that, unix.Port does not.
    _shouldShutdown = False

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Close the descriptor; `unix.Port` would unlink the name, which the next process listens on."""
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call]


def adopt(reactor: Any, inherited: Inherited, factory: Any) -> Any:
    """Listen on an inherited, non-blocking socket; its descriptor is taken over. Returns the IListeningPort."""
    if inherited.family == socket.AF_UNIX:
        # As adoptStreamPort does it, which knows no other class and would open the socket to everybody.
        port: Any = UnixPort._fromListeningDescriptor(reactor, inherited.descriptor, factory)  # type: ignore[no-untyped-call]  # noqa: SLF001
        port.mode = _OWNER_ONLY
        port.startListening()
    else:
        port = reactor.adoptStreamPort(inherited.descriptor, inherited.family, factory)
    os.close(inherited.descriptor)
    return port
