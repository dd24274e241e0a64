"""A connection that speaks HTTP/1.x: one request at a time, in order, within bounds of size and time.

The reading is ours (`head`, `body`); writing, flow control and the request object are Twisted's.
"""

import enum
import math
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from scepd.web.body import Body, ChunkedBody, LengthBody
from scepd.web.head import RequestRefused, find_head, read_head
from scepd.web.request import ScepRequest
from scepd.web.respond import refuse

if TYPE_CHECKING:
    from scepd.web.site import ScepSite

_DISCARD_MAXIMUM = 1_048_576  # octets read and dropped after an error, so that the client gets to read it


class Phase(enum.Enum):
    """What the connection waits for."""

    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()
    CLOSE = enum.auto()


@implementer(IHalfCloseableProtocol)
class ScepChannel(http.HTTPChannel):
    """One connection; `deadline` is the reactor time at which the site calls `expire`."""

    timeOut = None
    transport: Any  # TCP or TLS over it: both have more than ITransport says
    _networkProducer: Any

    def __init__(self, site: "ScepSite", *, address: str, network: str) -> None:
        """Serve the resources of that site to the client at that address; `network` is what the connection counts under."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.factory = site
        self.address = address
        self.network = network
        self.deadline = math.inf
        self._site = site
        self._limits = site.limits
        self._phase = Phase.HEAD
        self._received = bytearray()
        self._searched = 0  # octets of the buffer that hold no end of a head
        self._body: Body = LengthBody(0)
        self._between = False  # a request was answered, and nothing of the next has come
        self._advancing = False
        self._lingers = False
        self._discarded = 0
        self._ended = False  # the client has sent all that it will

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Start the first deadline; for TLS it covers the handshake."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._site.opened(self)
        self._wait(self._limits.head)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Read on, or keep a little of what a pipelining client sends ahead."""
        if self._phase is Phase.CLOSE:
            self._discard(len(data))
            return
        self._received += data
        if self._phase is not Phase.ANSWER and not self._waitingForTransport:
            self._advance()
        elif len(self._received) > self._limits.read_ahead:
            self._networkProducer.pauseProducing()

    def requestDone(self, request: http.Request) -> None:  # noqa: N802 - Twisted's name
        """Go on with the next request, or close."""
        assert isinstance(request, ScepRequest)
        self.requests.remove(request)
        request.close_account()
        self._handlingRequest = False
        if not request.persistent or self._site.draining:
            self._hang_up()
            return
        self._phase = Phase.HEAD
        self._between = True
        if not self._waitingForTransport:
            self._wait(self._limits.idle)
            if not self._ended:
                self._networkProducer.resumeProducing()
            self._advance()
            self._leave_if_ended()

    def readConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """Answer what was asked before the client closed its side: old HTTP/1.0 clients do so after the request."""
        self._ended = True
        self._leave_if_ended()

    def writeConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: our own side was closed, and what still comes is dropped."""

    def _leave_if_ended(self) -> None:
        if self._ended and self._phase is Phase.CLOSE:
            self.transport.loseConnection()
        elif self._ended and self._phase is not Phase.ANSWER and not self._waitingForTransport:
            self._lingers = False
            self.loseConnection()  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Stop while the client does not read what it was sent."""
        super().pauseProducing()  # type: ignore[no-untyped-call]
        self._wait(self._limits.write)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Go on: the client has read."""
        super().resumeProducing()  # type: ignore[no-untyped-call]
        self._wait(self._limits.answer if self._phase is Phase.ANSWER else self._limits.idle)
        self._advance()
        self._leave_if_ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        """Tell the request in progress, and leave."""
        incomplete = self._phase is Phase.BODY
        self._phase = Phase.CLOSE
        self.deadline = math.inf
        self._received.clear()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        if incomplete:
            request = self.requests[0]
            request.note(outcome="malformed", reason="incomplete")
            request.close_account()
            self._site.log(request)
        self._site.closed(self)

    def expire(self) -> None:
        """End a phase that took too long."""
        if self._phase is Phase.CLOSE or self._waitingForTransport:
            self.transport.abortConnection()
        elif self._phase is Phase.ANSWER:
            self.requests[0].overdue()
        elif self._phase is Phase.HEAD and not self._received:
            self._hang_up()
        else:
            self._refuse(RequestRefused(408, "request not complete in time"))

    def drain(self) -> None:
        """Close between two requests; who has connected and not asked yet, perhaps amid its handshake, gets one answer."""
        if self._phase is Phase.HEAD and self._between and not self._received:
            self._hang_up()

    def _wait(self, seconds: float) -> None:
        self.deadline = self._site.reactor.seconds() + seconds

    def _advance(self) -> None:
        """Take steps while there are any; a request that is answered at once must not nest into the next."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self._waitingForTransport and self._step():
                pass
        except RequestRefused as refusal:
            self._refuse(refusal)
        finally:
            self._advancing = False

    def _step(self) -> bool:
        if self._phase is Phase.HEAD and self._received:
            return self._read_head()
        return self._phase is Phase.BODY and self._read_body()

    def _read_head(self) -> bool:
        if self._between:
            self._between = False
            self._wait(self._limits.head)
        end = find_head(self._received, self._searched, self._limits)
        if end < 0:
            self._searched = len(self._received)
            return False
        self._searched = 0
        head = read_head(bytes(self._received[:end]), self._limits)
        del self._received[: end + 4]
        request = self._site.make_request(self)
        request.begin(head)
        self.requests.append(request)
        self._body = ChunkedBody(self._limits.body) if head.chunked else LengthBody(head.length or 0)
        self._phase = Phase.BODY
        self._wait(self._limits.content)
        if head.expects_continue and (head.chunked or head.length) and not self._received:
            self._send100Continue()  # type: ignore[no-untyped-call]
        return True

    def _read_body(self) -> bool:
        request: ScepRequest = self.requests[0]
        before = len(self._body.data)
        complete = self._body.feed(self._received)
        received = len(self._body.data) - before
        if not self._site.occupancy.take(received):
            raise RequestRefused(503, "too many octets in flight")
        request.held += received
        if not complete:
            return False
        request.body = bytes(self._body.data)
        self._body = LengthBody(0)
        self._phase = Phase.ANSWER
        self._handlingRequest = True
        self._wait(self._limits.answer)
        request.process()
        return True

    def _refuse(self, refusal: RequestRefused) -> None:
        """Answer an HTTP error and close; what the client still sends is read for a moment and dropped."""
        if not self.requests:
            self.requests.append(self._site.make_request(self))
        request: ScepRequest = self.requests[0]
        self._phase = Phase.ANSWER
        self._lingers = True
        self._body = LengthBody(0)
        if refusal.status == 503:
            request.note(outcome="unavailable", reason="overload", detail=refusal.cause)
            refuse(request, 503, retry_after=5)
        else:
            request.note(outcome="malformed", reason="malformed_http", detail=refusal.cause)
            refuse(request, refusal.status)

    def _hang_up(self) -> None:
        """Close once everything is written; after an error let the client read it before its own writing fails."""
        self._phase = Phase.CLOSE
        self._received.clear()
        self._wait(self._limits.write)
        if self._lingers and IHalfCloseableDescriptor.providedBy(self.transport) and not self.isSecure():  # type: ignore[no-untyped-call]
            self._wait(self._limits.linger)
            self._networkProducer.unregisterProducer()
            self._networkProducer.resumeProducing()
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()  # type: ignore[no-untyped-call]

    def _discard(self, octets: int) -> None:
        self._discarded += octets
        if self._discarded > _DISCARD_MAXIMUM:
            self.transport.abortConnection()
