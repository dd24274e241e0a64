"""The generator over HTTP: `POST /api/v1/challenges[/PROFILE]` on the listeners that serve challenges (threats S-37)."""

import math
import re
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.admin.generator import Asked, Declined, GeneratorReply, decline
from scepd.records.networks import network_of
from scepd.refusal import Unavailable
from scepd.web.gcra import RateLimit
from scepd.web.request import ScepRequest
from scepd.web.respond import Response, refuse, send

_PATH = re.compile(rb"/api/v1/challenges(?:/([A-Za-z0-9_-]{1,64}))?")
_MOST_WAITING = 64  # calls
_REASONS = {
    400: "malformed_call",
    401: "token_unknown",
    403: "token_not_for_this",
    405: "method_not_allowed",
    413: "malformed_call",
    415: "malformed_call",
    429: "rate",
}


class GeneratorResource(Resource):
    """The tree below /api of a public listener, as one leaf: nothing but the generator is in it.

    A call with a token that nobody has costs its network one of `failures`; past that it is refused before the store
    is asked.
    """

    isLeaf = True

    def __init__(self, answer: Callable[[Asked], Deferred[GeneratorReply]], failures: RateLimit) -> None:
        """Take what answers a call, in a thread where it may wait for the store."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._answer = answer
        self._failures = failures
        self._waiting = 0

    def render(self, request: ScepRequest) -> int:
        """Answer one call, now or when the store has."""
        path = _PATH.fullmatch(request.path)
        if path is None:
            request.note(outcome="rejected", reason="not_found")
            refuse(request, 404)
            return NOT_DONE_YET
        request.note(op="challenge")
        wait = self._failures.wait(network_of(request.origin.address))
        if wait:
            retry = ("Retry-After", str(math.ceil(wait)))
            self._send(decline(Declined(429, "too many calls without a good token", retry)), request)
        elif self._waiting >= _MOST_WAITING:
            _excuse(request, "overload", 1)
        else:
            self._ask(request, None if path[1] is None else path[1].decode("ascii"))
        return NOT_DONE_YET

    def _ask(self, request: ScepRequest, profile: str | None) -> None:
        self._waiting += 1
        method = request.method.decode("ascii", "replace")
        answering = self._answer(Asked(method, profile, _headers(request), request.body))
        answering.addBoth(self._answered)
        answering.addCallback(self._send, request)
        answering.addErrback(_failed, request)

    def _answered(self, result: object) -> object:
        self._waiting -= 1
        return result

    def _send(self, reply: GeneratorReply, request: ScepRequest) -> None:
        if reply.status == 401:
            self._failures.take(network_of(request.origin.address))
        fields = b"".join(
            b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in reply.headers if name != "Cache-Control"
        )
        if reply.status == 200:
            request.note(outcome="served")
        else:
            request.persistent = False
            request.note(outcome="limited" if reply.status == 429 else "rejected", reason=_REASONS[reply.status])
        told = {"profile": reply.profile, "token": reply.token}
        request.note(**{name: value for name, value in told.items() if value is not None})
        # Every response is no-store unless it says otherwise.
        send(request, Response(reply.body, reply.content_type.encode(), status=reply.status, fields=fields))


def _headers(request: ScepRequest) -> dict[str, str]:
    """Return the header fields by lower-case names; one that came twice is good for nothing, and still there."""
    lines = request.requestHeaders.getAllRawHeaders()
    return {name.decode("latin-1").lower(): b", ".join(values).decode("latin-1") for name, values in lines}


def _failed(failure: Failure, request: ScepRequest) -> None:
    trouble = failure.value
    if isinstance(trouble, Unavailable):
        _excuse(request, trouble.cause, trouble.retry_after)
    else:
        request.failed(failure)


def _excuse(request: ScepRequest, cause: str, seconds: int) -> None:
    request.note(outcome="unavailable", reason=cause)
    refuse(request, 503, retry_after=seconds)
