"""A site on a clock that tests wind, and clients whose transports are memory."""

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from scepd.web.limits import HttpLimits, Occupancy
from scepd.web.respond import Response, send
from scepd.web.site import ScepSite


class Echo(Resource):
    """Answers with method, path and body, and remembers what it was asked; /later waits until `release`."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.asked = []
        self.waiting = []

    def render(self, request):
        self.asked.append((request.method, request.uri, request.body))
        request.note(outcome="served")
        if request.path == b"/later":
            self.waiting.append(request)
        elif request.path == b"/fails":
            raise ValueError("canary-in-an-exception-text")
        else:
            self.answer(request)
        return NOT_DONE_YET

    def release(self):
        for request in self.waiting:
            self.answer(request)
        self.waiting.clear()

    @staticmethod
    def answer(request):
        send(request, Response(b"%s %s %s" % (request.method, request.uri, request.body)))


@attrs.frozen
class Reply:
    status: int
    headers: dict
    body: bytes
    version: bytes = b"HTTP/1.1"


def read_replies(data, *, head=False):
    """Split what a server wrote into replies, by their Content-Length."""
    replies = []
    while data:
        block, _, data = data.partition(b"\r\n\r\n")
        line, *fields = block.split(b"\r\n")
        headers = dict(field.split(b": ", 1) for field in fields)
        version, status, _ = line.split(b" ", 2)
        length = 0 if head else int(headers.get(b"Content-Length", b"0"))
        replies.append(Reply(int(status), headers, data[:length], version))
        assert len(data) >= length
        data = data[length:]
    return replies


@implementer(ISSLTransport)
class SecureTransport(StringTransportWithDisconnection):
    """Memory that says it is TLS."""

    def setTcpNoDelay(self, enabled):
        """What sockets can."""


class Client:
    """One connection to a site."""

    def __init__(self, site, host="192.0.2.7", *, tls=False):
        address = IPv4Address("TCP", host, 40000)
        self.transport = (SecureTransport if tls else StringTransportWithDisconnection)(peerAddress=address)
        self.transport.connected = True
        self.protocol = site.buildProtocol(address)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data):
        if self.transport.connected:
            self.protocol.dataReceived(data)
        return self

    def trickle(self, data):
        for octet in data:
            self.send(bytes([octet]))
        return self

    def close(self):
        self.transport.loseConnection()

    @property
    def received(self):
        return self.transport.value()

    @property
    def replies(self):
        return read_replies(self.received)

    @property
    def closed(self):
        return not self.transport.connected


class Setting:
    """A clock, a resource, and the site that serves it."""

    def __init__(self, root=None, **limits):
        self.clock = Clock()
        self.root = root if root is not None else Echo()
        self.occupancy = Occupancy(
            connections=limits.pop("connections", 1000),
            per_network=limits.pop("per_network", 0),
            octets=limits.pop("octets", 64 << 20),
        )
        self.counter = 0
        self.site = ScepSite(
            self.root, self.clock, random=self._random, occupancy=self.occupancy, limits=HttpLimits(**limits)
        )

    def _random(self, size):
        self.counter += 1
        return self.counter.to_bytes(size, "big")

    def client(self, host="192.0.2.7", *, tls=False):
        return Client(self.site, host, tls=tls)

    def pass_time(self, seconds):
        """Let time pass in half seconds, as the sweep sees it."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
