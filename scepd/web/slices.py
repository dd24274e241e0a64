"""Sending a long body in slices, at the pace of the client: a thousand slow readers share one copy of a CRL (S-70)."""

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from scepd.web.request import ScepRequest

_PATIENCE = 60.0  # seconds, in which any pace will do
_SLOWEST = 8_192  # octets a second, afterwards
_SLICE = 65_536  # octets; as much as a transport takes before it says stop


@implementer(IPushProducer)
class Slices:
    """Writes a body slice by slice, whenever the connection takes more."""

    def __init__(self, request: "ScepRequest", body: bytes) -> None:
        """Send that body of that request."""
        self._request = request
        self._body = body
        self._sent = 0
        self._paused = False

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Write until the connection says stop, or all is written."""
        self._paused = False
        if self._is_too_slow():
            self._request.give_up()
            return
        while not self._paused and self._sent < len(self._body):
            start, self._sent = self._sent, self._sent + _SLICE
            self._request.channel.write(self._body[start : self._sent])  # type: ignore[no-untyped-call]
        if self._sent >= len(self._body) and self._request.producer is self:
            self._request.unregisterProducer()
            self._request.finish()

    def _is_too_slow(self) -> bool:
        # Each slice has its own deadline; a client that takes them at the last moment would stay for hours.
        elapsed = self._request.site.reactor.seconds() - self._request.started
        return bool(elapsed > _PATIENCE and self._sent < (elapsed - _PATIENCE) * _SLOWEST)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Stop for now."""
        self._paused = True

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Stop for good: the client has gone, which the request hears too."""
        self._paused = True


def stream(request: "ScepRequest", head: bytes, body: bytes) -> None:
    """Write a response whose body is too long for one piece, and finish."""
    request.startedWriting = 1
    request.sentLength = len(body)
    slices = Slices(request, body)
    request.channel.write(head)  # type: ignore[no-untyped-call]
    request.registerProducer(slices, True)  # type: ignore[no-untyped-call]
    slices.resumeProducing()
