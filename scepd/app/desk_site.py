"""Connections of the desk's socket: who is nobody to it is sent away before a word is read, and bodies have a bound."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from scepd.app.control import peer_user

LONGEST_BODY = 8 << 20  # octets: `register.MOST_ENTITIES` of 400 each
MOST_CONNECTIONS = 32  # of one user, so that none of them keeps the others out

_STRANGER = "run as that user or as root, or as one of [tenant.NAME] administrators"


class DeskRequest(Request):
    """A request whose body ends at the bound."""

    channel: Any  # `DeskChannel`
    _received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a piece of the body, unless that makes it too long (chunked: no length was announced)."""
        self._received += len(data)
        if self._received <= LONGEST_BODY:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        else:
            self.channel.refuse_body()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 - Twisted's name
        """Answer what is whole; its type does not matter, since Twisted would read forms of their own out of the body."""
        if not self.channel.is_refused:
            self.requestHeaders.removeHeader(b"content-type")
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]


class DeskChannel(HTTPChannel):
    """One connection; `user` is the id of who made it."""

    user = -1
    is_refused = False
    site: Any
    transport: Any
    _is_counted = False

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Let in who may call."""
        self.user = peer_user(self.transport.getHandle())
        if not self.site.admits(self.user):
            self._refuse(403, "the desk is for the service's user", _STRANGER)
        elif self.site.connections[self.user] >= MOST_CONNECTIONS:
            self._refuse(503, f"you have {MOST_CONNECTIONS} connections to the desk", "end some of your commands")
        else:
            self.site.connections[self.user] += 1
            self._is_counted = True
            super().connectionMade()  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Read on where it was not refused."""
        if not self.is_refused:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:  # noqa: N802 - Twisted's name
        """Refuse a body that says that it is too long, before any of it is read."""
        if self.length is not None and self.length > LONGEST_BODY:
            self.refuse_body()
        else:
            super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        """Make room for the user's next."""
        if self._is_counted:
            self.site.connections[self.user] -= 1
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def refuse_body(self) -> None:
        """End a request whose body is too long."""
        self._refuse(413, f"a call has {LONGEST_BODY} octets at most", "enter fewer at once")

    def _refuse(self, status: int, problem: str, hint: str) -> None:
        if self.is_refused:
            return
        self.is_refused = True
        octets = json.dumps({"problem": problem, "hint": hint}).encode()
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        self.transport.write(head % (status, RESPONSES[status], len(octets)) + octets)
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        if self._is_counted:
            self.transport.unregisterProducer()
        self.transport.loseConnection()


class DeskSite(Site):
    """Makes the connections; `admits` says whether a user of this machine may call."""

    protocol: Any = DeskChannel

    def __init__(self, resource: Resource, admits: Callable[[int], bool], reactor: Any) -> None:
        """Begin without connections."""
        super().__init__(resource, DeskRequest, reactor=reactor)  # type: ignore[no-untyped-call]
        self.admits = admits
        self.connections: Counter[int] = Counter()

    def log(self, request: Any) -> None:
        """Write no line: the audit trail has what was done."""
