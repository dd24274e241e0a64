"""A listener's factory: connections within bounds, their deadlines, and one log line per request."""

import math
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, ISSLTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger, LogLevel
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from zope.interface import implementer

from scepd.records.networks import network_of
from scepd.web.channel import ScepChannel
from scepd.web.client_address import Approach, peer_host
from scepd.web.limits import HttpLimits, Occupancy
from scepd.web.request import ScepRequest

_SWEEP = 1.0  # seconds between two looks at the deadlines: one timer for all connections
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

# The keys of the log line, in their order; fields without a value are left out.
# fmt: off
KEYS = (
    "outcome", "reason", "fail_info", "profile", "op", "type", "txn", "ip", "proxy", "method", "cn", "ms", "request_id",
    "status",
)
# fmt: on


class TurnedAway(Protocol):
    """A connection beyond the bounds: told so where that is cheap, then closed."""

    transport: Any

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Close at once; before a TLS handshake there is nothing to say."""
        if ISSLTransport.providedBy(self.transport):
            self.transport.abortConnection()
            return
        self.transport.write(_BUSY)
        self.transport.loseConnection()


@implementer(IProtocolNegotiationFactory)
class ScepSite(ServerFactory):
    """Serves a `twisted.web` resource over HTTP/1.x; wrap it in `TLSMemoryBIOFactory` for HTTPS."""

    noisy = False

    def __init__(
        self,
        root: IResource,
        reactor: Any,
        *,
        random: Callable[[int], bytes],
        occupancy: Occupancy,
        limits: HttpLimits | None = None,
        approach: Approach | None = None,
    ) -> None:
        """Keep the parts; `occupancy` is shared by all sites of the process, `random` makes request ids.

        `approach` says how clients come here; None: directly.
        """
        self.root = root
        self.reactor = reactor
        self.occupancy = occupancy
        self.limits = limits or HttpLimits()
        self.approach = approach or Approach()
        self.draining = False
        self._random = random
        self._logger = Logger(namespace="scepd.web")
        self._channels: set[ScepChannel] = set()
        self._sweeper: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None
        self._told = 0
        self._date = (-1, b"")

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: N802 - Twisted's name
        """Take a connection, or turn it away."""
        address = peer_host(addr)
        network = network_of(address)
        self._sweep_later()
        # All clients behind a proxy share its address.
        bounded = not self.approach.is_proxy(address)
        if self.draining or not self.occupancy.admit(network, bounded=bounded):
            return TurnedAway()
        return ScepChannel(self, address=address, network=network)

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802 - Twisted's name
        """Offer HTTP/1 alone in ALPN: no HTTP/2 here, and none of its floods."""
        return [b"http/1.1", b"http/1.0"]

    def opened(self, channel: ScepChannel) -> None:
        """Watch a connection's deadlines."""
        self._channels.add(channel)

    def closed(self, channel: ScepChannel) -> None:
        """Forget a connection."""
        self._channels.discard(channel)
        self.occupancy.leave(channel.network)
        if self._drained is not None and not self._channels:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """Close idle connections now, busy and fresh ones after their answer; fires when none is left."""
        self.draining = True
        self._drained = Deferred()
        drained = self._drained
        for channel in tuple(self._channels):
            channel.drain()
        if not self._channels:
            self._drained = None
            drained.callback(None)
        return drained

    def make_request(self, channel: ScepChannel) -> ScepRequest:
        """Return a request with an id of its own."""
        return ScepRequest(channel, self, request_id=self._random(8).hex(), started=self.reactor.seconds())

    def date(self) -> bytes:
        """Return the Date header's value, made once a second."""
        now = int(time.time())  # the reactor counts from anywhere
        if self._date[0] != now:
            self._date = (now, datetimeToString(now))  # type: ignore[no-untyped-call]
        return self._date[1]

    def log(self, request: ScepRequest) -> None:
        """Write the request's one log line (Twisted calls this when it is finished)."""
        entry = request.entry
        entry["ip"] = request.origin.address
        if self.approach.is_proxy(request.origin.address):
            entry["proxy"] = True  # which did not say for whom it spoke: nobody should be banned for it
        if request.method in (b"GET", b"HEAD") and entry.get("outcome") != "served":
            entry["method"] = request.method.decode("ascii")  # any web page can have its visitors send that
        entry["ms"] = math.ceil((self.reactor.seconds() - request.started) * 1000)
        entry["request_id"] = request.origin.request_id
        entry["status"] = request.code
        fields = {key: entry[key] for key in KEYS if key in entry}
        if len(fields) < len(entry):
            fields.update((key, value) for key, value in entry.items() if key not in fields)
        if request.gone:
            fields["gone"] = True
        self._logger.info(event="scep_request", **fields)

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = self.reactor.callLater(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self.reactor.seconds()
        for channel in tuple(self._channels):
            if channel.deadline <= now:
                channel.expire()
        turned_away = self.occupancy.turned_away
        if turned_away != self._told:
            self._logger.emit(LogLevel.warn, event="connections_refused", count=turned_away - self._told)
            self._told = turned_away
        if self._channels:
            self._sweep_later()
