"""Connections to services outside: resolved once, filtered, metered, through a proxy where there is one (threats S-83)."""

import base64
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import gaierror
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from scepd.records import Secret

_MOST_ADDRESSES = 4
_PROXY_ANSWER = 8_192  # octets of a proxy's head

Address = IPv4Address | IPv6Address


@attrs.frozen
class Proxy:
    """An HTTP proxy that is asked to CONNECT; `login` is "user:password"."""

    host: str
    port: int
    login: Secret | None = None


class Refused(ConnectError):  # noqa: N818 - a connection that we do not want
    """The connection was given up for what was found on the way."""

    def __init__(self, problem: str) -> None:
        """Keep what was found."""
        super().__init__(problem)  # type: ignore[no-untyped-call]
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class Meter:
    """Counts what one service sends; past the bound the connection is cut off."""

    def __init__(self, most: int) -> None:
        """Take the bound in octets, of head and body together."""
        self.left = most
        self.is_exceeded = False
        self.connection: Any = None

    def abort(self) -> None:
        """Cut the connection off, whatever state it is in."""
        if self.connection is not None:
            self.connection.abortConnection()

    def factory(self, wrapped: Any) -> WrappingFactory:
        """Return a factory whose connections are metered."""
        factory = WrappingFactory(wrapped)  # type: ignore[no-untyped-call]
        factory.protocol = lambda *arguments: _Metered(self, *arguments)
        return factory


class _Metered(ProtocolWrapper):
    transport: Any

    def __init__(self, meter: Meter, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._meter = meter

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self._meter.connection = self.transport
        super().connectionMade()  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._meter.left -= len(data)
        if self._meter.left < 0:
            self._meter.is_exceeded = True
            self._meter.abort()
            return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


@implementer(IStreamClientEndpoint)
class Direct:
    """Resolves a host once and connects to one of its addresses.

    An address literal, or localhost, is what the operator meant. A name that leads to our own machine or to a
    link-local address is refused: there cloud machines keep their credentials.
    """

    def __init__(self, reactor: Any, host: str, port: int, *, timeout: float, anywhere: bool = False) -> None:
        """Take seconds for each address; `anywhere` lets the name lead to any."""
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout
        self._anywhere = anywhere or host == "localhost"

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect the factory's protocol."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        addresses = await self._addresses()
        for last, address in enumerate(addresses, 1 - len(addresses)):
            endpoint = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
            try:
                return await endpoint(self._reactor, str(address), self._port, timeout=self._timeout).connect(factory)
            except ConnectError:
                if last == 0:
                    raise
        raise DNSLookupError(f"{self._host} has no address")

    async def _addresses(self) -> list[Address]:
        literal = _literal(self._host)
        if literal is not None:
            return [literal]
        found = _Addresses()
        self._reactor.nameResolver.resolveHostName(found, self._host, self._port)
        addresses = await found.complete
        if not self._anywhere and any(map(_is_near, addresses)):
            raise Refused(f"{self._host} leads to an address of this machine or link")
        return addresses[:_MOST_ADDRESSES]


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self) -> None:
        self.complete: Deferred[list[Address]] = Deferred()
        self._found: list[Address] = []

    def resolutionBegan(self, resolution: Any) -> None:  # noqa: N802 - Twisted's name
        """Begin."""

    def addressResolved(self, address: Any) -> None:  # noqa: N802 - Twisted's name
        """Keep one."""
        found = _literal(address.host)
        if found is not None and found not in self._found:
            self._found.append(found)

    def resolutionComplete(self) -> None:  # noqa: N802 - Twisted's name
        """Hand them over."""
        if not self.complete.called:  # whoever asked may have given up
            self.complete.callback(self._found)


@implementer(IStreamClientEndpoint)
class Tunnel:
    """A connection through a proxy that was asked to CONNECT (RFC 9110 section 9.3.6)."""

    def __init__(self, proxy: Any, login: Secret | None, host: str, port: int) -> None:
        """Take the proxy's endpoint; the host is resolved there."""
        self._proxy = proxy
        self._login = login
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect the factory's protocol once the proxy has let us through."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        head = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._login is not None:
            credentials = base64.b64encode(self._login.reveal().encode()).decode()
            head.append(f"Proxy-Authorization: Basic {credentials}")
        tunnelled = await self._proxy.connect(_Tunnels(factory))
        return await tunnelled.open("\r\n".join((*head, "", "")).encode("ascii"))


class _Tunnels(Factory):
    noisy = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        return _Tunnelled(self._inner, addr)


class _Tunnelled(Protocol):
    """Speaks to the proxy, then hands every octet to the protocol inside."""

    transport: Any

    def __init__(self, factory: Any, address: Any) -> None:
        self._factory = factory
        self._address = address
        self._head = b""
        self._inner: Any = None
        self._opened: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())

    def open(self, head: bytes) -> Deferred[Any]:
        self.transport.write(head)
        return self._opened

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and len(self._head) <= _PROXY_ANSWER:
            return
        status = self._head.split(b"\r\n", 1)[0].split(b" ")
        # Nothing may follow: until we speak, the other end has nothing to say.
        if end + 4 != len(self._head) or not status[0].startswith(b"HTTP/1.") or status[1:2] != [b"200"]:
            self._fail(f"the proxy did not let us through: {_printable(self._head)}")
            return
        self._inner = self._factory.buildProtocol(self._address)
        self._inner.makeConnection(self.transport)
        self._opened.callback(self._inner)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted's name
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._fail("the proxy closed the connection")

    def _fail(self, problem: str) -> None:
        self.transport.abortConnection()
        if not self._opened.called:
            self._opened.errback(Refused(problem))


def _printable(head: bytes) -> str:
    line = head.split(b"\r\n", 1)[0][:80].decode("ascii", "replace")
    return "".join(character if character.isprintable() else "?" for character in line)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, as an address or as localhost."""
    address = _literal(host)
    return host == "localhost" if address is None else address.is_loopback


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_near(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    judged = mapped or address
    return judged.is_loopback or judged.is_link_local or judged.is_unspecified or judged.is_multicast


# gaierror: an address literal with a zone that this machine does not have.
FAULTS = (ConnectError, ConnectionClosed, DNSLookupError, gaierror)
