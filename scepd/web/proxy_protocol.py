"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), on listeners where every connection begins so.

It is read from trusted proxies alone and never guessed: without the header nothing is served (threats S-78).
"""

import re
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from scepd.profile.networks import read_address
from scepd.web.client_address import Approach, peer_host

_DEADLINE = 5.0  # seconds for the whole header
_TOLD_EVERY = 60.0  # seconds between two log lines about refused connections
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD = 16  # octets of version 2 up to its addresses
_LONGEST_V1 = 107  # octets, CRLF included
_LONGEST_V2 = 4_096  # octets of addresses and TLVs; the protocol would allow 65,535
_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21

Source = IPv4Address | IPv6Address


class ProxyHeaderInvalid(ValueError):  # noqa: N818 - as `RequestRefused`
    """What a connection began with is no PROXY header that we take."""


def read_proxy_header(buffer: bytes) -> tuple[int, Source | None] | None:
    """Return the octets of the header and the client; None while it is incomplete.

    The client is None where the proxy speaks for itself (LOCAL, UNKNOWN: health checks). Raises `ProxyHeaderInvalid` as
    soon as the octets cannot become a header.
    """
    if buffer[: len(_SIGNATURE)] == _SIGNATURE[: len(buffer)]:
        return _read_v2(buffer) if len(buffer) >= _HEAD else None
    if buffer[:6] == b"PROXY "[: len(buffer)]:
        return _read_v1(buffer)
    raise ProxyHeaderInvalid("no PROXY header")


def _read_v1(buffer: bytes) -> tuple[int, Source | None] | None:
    end = buffer.find(b"\r\n", 0, _LONGEST_V1) + 2
    if end < 2:
        if len(buffer) >= _LONGEST_V1:
            raise ProxyHeaderInvalid("line too long")
        return None
    line = buffer[:end]
    if line.startswith((b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ")):
        return end, None
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProxyHeaderInvalid("line malformed")
    family = socket.AF_INET if match[1] == b"TCP4" else socket.AF_INET6
    try:
        octets = socket.inet_pton(family, match[2].decode("ascii"))
        socket.inet_pton(family, match[3].decode("ascii"))
    except OSError:
        raise ProxyHeaderInvalid("address malformed") from None
    port = int(match[4])
    if port > 0xFFFF or int(match[5]) > 0xFFFF:
        raise ProxyHeaderInvalid("port malformed")
    return end, _source(family, octets, port)


def _read_v2(buffer: bytes) -> tuple[int, Source | None] | None:
    command, family = buffer[12], buffer[13]
    length = int.from_bytes(buffer[14:_HEAD], "big")
    if command not in {_LOCAL, _PROXY} or length > _LONGEST_V2:
        raise ProxyHeaderInvalid("version, command or length")
    if len(buffer) < _HEAD + length:
        return None
    end, addresses = _HEAD + length, buffer[_HEAD : _HEAD + length]
    if command == _LOCAL or family == _UNSPECIFIED:
        return end, None
    if family == _TCP4 and length >= 12:
        return end, _source(socket.AF_INET, addresses[:4], int.from_bytes(addresses[8:10], "big"))
    if family == _TCP6 and length >= 36:
        return end, _source(socket.AF_INET6, addresses[:16], int.from_bytes(addresses[32:34], "big"))
    raise ProxyHeaderInvalid("no TCP over IPv4 or IPv6")


def _source(family: int, octets: bytes, port: int) -> Source:
    address = read_address(socket.inet_ntop(family, octets))
    if address is None:  # the system wrote it
        raise ProxyHeaderInvalid("address malformed")
    return (IPv4Address if address.version == 4 else IPv6Address)("TCP", str(address), port)


class ProxyProtocol(Protocol):
    """Reads the header, then leaves the connection to the protocol that was meant."""

    transport: Any

    def __init__(self, factory: "ProxyProtocolFactory") -> None:
        """Begin with nothing read."""
        self._owner = factory
        self._buffer = b""
        self._timer: Any = None

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Start the deadline."""
        self._timer = self._owner.reactor.callLater(_DEADLINE, self._give_up, "no header in time")

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Collect the header, whose length is bounded; close the connection where it is none."""
        self._buffer += data
        try:
            found = read_proxy_header(self._buffer)
        except ProxyHeaderInvalid as fault:
            self._give_up(str(fault))
            return
        if found is not None:
            end, source = found
            self._hand_over(source or self.transport.getPeer(), self._buffer[end:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Stop waiting."""
        self._stop_waiting()

    def _hand_over(self, client: Any, rest: bytes) -> None:
        self._stop_waiting()
        protocol = self._owner.wrapped.buildProtocol(client)
        # From here on the connection is that protocol's own, with its half closes and its flow control.
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        if rest:
            protocol.dataReceived(rest)

    def _give_up(self, problem: str) -> None:
        self._stop_waiting()
        self._owner.refused(peer_host(self.transport.getPeer()), problem)
        self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class ProxyProtocolFactory(Factory):
    """Around a listener's factory, which then sees the client's address as the peer's."""

    noisy = False
    _logger = Logger(namespace="scepd.web")

    def __init__(self, wrapped: Any, approach: Approach, reactor: Any) -> None:
        """Serve `wrapped` to the clients of trusted proxies."""
        self.wrapped = wrapped
        self.reactor = reactor
        self._approach = approach
        self._refused = 0
        self._told = -_TOLD_EVERY

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # noqa: N802 - Twisted's name
        """Take the connection of a trusted proxy; any other is closed unread."""
        peer = peer_host(addr)
        if not self._approach.is_proxy(peer):
            self.refused(peer, "no trusted proxy")
            return None
        return ProxyProtocol(self)

    def refused(self, peer: str, problem: str) -> None:
        """Count a refused connection; the log hears of the first, and then once a minute how many there were."""
        self._refused += 1
        now = self.reactor.seconds()
        if now - self._told >= _TOLD_EVERY:
            self._logger.emit(LogLevel.warn, event="proxy_refused", peer=peer, problem=problem, count=self._refused)
            self._told, self._refused = now, 0
