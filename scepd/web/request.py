"""One HTTP request as the resources see it: a `twisted.web` request whose body is bytes in memory and never a form."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, resource
from twisted.web.server import NOT_DONE_YET

from scepd.records import Origin
from scepd.web.head import Head
from scepd.web.respond import refuse

if TYPE_CHECKING:
    from scepd.web.channel import ScepChannel
    from scepd.web.site import ScepSite


class ScepRequest(http.Request):
    """A request read by `ScepChannel`; resources find the raw query in `query` and the whole body in `body`.

    `prepath` and `postpath` hold raw octets: nothing is percent-decoded, since a route matches exactly or not at all.
    """

    log = Logger()

    def __init__(self, channel: "ScepChannel", site: "ScepSite", *, request_id: str, started: float) -> None:
        """Start with nothing read: an error before the head is complete is answered through this object too."""
        super().__init__(channel)
        self.site = site
        self.started = started
        self.peer: str = channel.address  # of the connection: a proxy's where one speaks for the client
        self.origin = Origin(channel.address, request_id)
        self.clientproto = b"HTTP/1.1"
        self.method = b"-"
        self.uri = self.path = b"-"
        self.query = b""
        self.body = b""
        self.held = 0  # octets of the process's budget
        self.held_reply = 0
        self.gone = False  # the client closed before it was answered
        self.persistent = False
        self.entry: dict[str, Any] = {}

    def begin(self, head: Head) -> None:
        """Take over the request line and the header fields."""
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.path, _, self.query = head.target.partition(b"?")
        self.persistent = head.persistent
        self.args = {}
        self.prepath: list[bytes] = []
        self.postpath = self.path[1:].split(b"/")
        address = self.site.approach.client_of(self.origin.address, head.fields)
        if address != self.origin.address:
            self.origin = attrs.evolve(self.origin, address=address)
        for name, value in head.fields:
            self.requestHeaders.addRawHeader(name, value)

    def note(self, **fields: Any) -> None:
        """Keep fields for the request's log line."""
        self.entry.update(fields)

    def process(self) -> None:
        """Let the resource tree answer; whatever escapes it is our fault: 503, with the cause in the log only."""
        self.content = BytesIO(self.body)
        try:
            body = resource.getChildForRequest(self.site.root, self).render(self)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - the request boundary
            self.failed(Failure())  # type: ignore[no-untyped-call]
            return
        if body is not NOT_DONE_YET:
            self.setHeader(b"Content-Length", b"%d" % len(body))  # type: ignore[no-untyped-call]
            self.write(body)  # type: ignore[no-untyped-call]
            self.finish()  # type: ignore[no-untyped-call]

    def answer(self, head: bytes, body: bytes) -> None:
        """Write a whole response in one piece (over TLS: one record) and finish; `head` with its empty line."""
        self.startedWriting = 1
        self.sentLength = len(body)
        self.channel.write(head if self.method == b"HEAD" else head + body)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]

    def failed(self, failure: Failure) -> None:
        """Answer an unexpected error and log it with its stack."""
        self.log.failure("request failed", failure=failure, event="unexpected_error", request_id=self.origin.request_id)
        self.note(outcome="unavailable", reason="internal_error")
        refuse(self, 503, retry_after=5)

    def overdue(self) -> None:
        """Answer in place of a resource that took too long; what it says later is dropped."""
        self.persistent = False
        self.note(outcome="unavailable", reason="overdue")
        refuse(self, 503, retry_after=5)

    def give_up(self) -> None:
        """End a connection whose client does not take its answer."""
        self.channel.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Remember that nobody waits for the answer any more; one that is on its way in slices ends here."""
        self.gone = True
        if self.producer is not None:
            self.leave()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        """Account and log, in place of `finish`, for a client that has gone."""
        self.close_account()
        self.site.log(self)

    def close_account(self) -> None:
        """Give the octets of the body back to the process's budget."""
        self.site.occupancy.give(self.held)
        self.site.occupancy.give_reply(self.held_reply)
        self.held = self.held_reply = 0

    def hold_reply(self, octets: int) -> bool:
        """Reserve octets for a long reply of its own; return whether there was room."""
        taken = self.site.occupancy.take_reply(octets)
        self.held_reply = octets if taken else 0
        return taken

    def __repr__(self) -> str:
        """Show the request without its query, which may hold a message."""
        return f"<ScepRequest {self.origin.request_id} {self.method!r} {self.path!r}>"
